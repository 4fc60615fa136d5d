// SPDX-License-Identifier: Apache-2.0
//
// Restore: writes captured trees to a folder, straight from the store, with everything a copy
// needs: hard links, holes, owners, modes, nanosecond times, ACLs and extended attributes, devices.
// Works relative to folder descriptors, so that paths may be longer than PATH_MAX and a symbolic
// link that stands in the target is replaced, never followed. Knows no instants and no command
// line. One restore() runs on a few threads of its own; the callbacks come from any of them, one
// at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "store/base/result.h"
#include "store/node.h"
#include "store/tree_reader.h"

namespace bygone::fs {

// What to do with something that stands in the target under a name of the snapshot.
enum class Overwrite {
  always,      // replace it
  if_changed,  // keep the content of a file with the same type, size and mtime; replace the rest
  if_newer,    // replace it only when the snapshot's is newer
  never,       // leave it as it is
};

enum class RestoreAction { created, replaced, kept, removed };

// A tree (or a single file) to restore.
struct RestoreRoot {
  std::string name;    // its name in the target; empty for a folder that becomes the target itself
  store::Entry entry;  // of the snapshot; its own name is not looked at
};

struct RestoreOptions {
  Overwrite overwrite = Overwrite::always;
  bool delete_extra = false;  // remove what stands in the target and not in the snapshot
  bool dry_run = false;       // only report; the target is not touched
  bool verify = false;        // read everything back afterwards and compare it with the store
  unsigned threads = 0;       // 0: by the number of processors, 2 to 4
  // Neither inside nor, with delete_extra, above this folder may the target lie; empty: anywhere.
  std::string repository_path = {};
};

// How far it is; read from any thread while restore() runs. Verification counts once more.
struct RestoreProgress {
  std::atomic<std::uint64_t> files_total{0}, bytes_total{0};
  std::atomic<std::uint64_t> files_done{0}, bytes_done{0};
  std::atomic<bool> verifying{false};
};

// Paths are relative to the target, raw bytes; "." is the target itself.
struct RestoreEvents {
  std::function<void(RestoreAction, const std::string& path)> action;
  std::function<void(const std::string& path, const Error&)> failed;
  // Something that cannot be restored here (an owner without root, attributes on a file system
  // without them): once of a kind, in words.
  std::function<void(const std::string& text)> limited;
};

struct RestoreSummary {
  std::uint64_t created = 0, replaced = 0, kept = 0, removed = 0;  // names of any type
  std::uint64_t folders = 0;                                       // of the snapshot, new or not
  std::uint64_t bytes = 0;                                         // written, holes included
  std::uint64_t failed = 0;    // names that are not as in the snapshot; each went to events.failed
  std::uint64_t limited = 0;   // names restored without something that this user or place forbids
  std::uint64_t verified = 0;  // files read back and found equal
};

// Restores `roots` to the folder `target`, which is created when it is absent. Content goes under
// a temporary name when something stands in its place, and replaces it at once: killed at any
// moment, every old file is whole or already new. Peak memory is some MiB beside the caches of
// `trees` and `chunks`. Not synced to the disk. A name that fails is reported and counted, the
// rest goes on. Errors: invalid for a forbidden target; cancelled when `cancel` became true (the
// target is then partly restored); the file system's for the target itself.
[[nodiscard]] Result<RestoreSummary> restore(store::TreeReader& trees, store::ChunkSource& chunks,
                                             const std::vector<RestoreRoot>& roots,
                                             const std::string& target,
                                             const RestoreOptions& options,
                                             const RestoreEvents& events, RestoreProgress& progress,
                                             const std::atomic<bool>& cancel);

}  // namespace bygone::fs
