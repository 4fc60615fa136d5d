// SPDX-License-Identifier: Apache-2.0
//
// The intent journal of snapshots by the file system: names each one before it is made, so that
// whoever finds the journal of a dead process deletes exactly those. One thread at a time; several
// processes may use one folder.
//
//   bygone snapshot journal 2
//   time <nanoseconds since 1970>
//   snapshot <file system> <folder> <name> <deleted in> <uuid of its origin>     one line each
//   end <number of snapshots>
//
// Fields are written by escape_field(). In version 1 "deleted in" is missing.
//
// To force the commit that makes a deletion durable costs the writers of a busy file system half a
// second. So a journal stays, with the number of the transaction, until others show that it is
// durable (btrfs::is_committed()): a snapshot that a power cut brings back is deleted once more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/intent_journal.h"
#include "store/base/clock.h"
#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

// The folder for snapshots on a btrfs, mode 0700; no walk enters one.
constexpr const char* kSnapshotFolder = ".bygone-snapshots";

struct SnapshotRecord {
  struct Snapshot {
    std::string file_system;  // its id, hex
    std::string folder;       // path of the kSnapshotFolder
    std::string name;         // in it
    std::string origin;       // uuid of the subvolume, hex
    // The transaction of the file system that it stays deleted with; 0: it may be there.
    std::uint64_t deleted_in = 0;
  };
  Nanoseconds time = 0;
  std::vector<Snapshot> snapshots;
};

[[nodiscard]] std::string encode(const SnapshotRecord& record);
// Errors: unsupported for another version; corrupt for anything else that encode() does not make.
Result<SnapshotRecord> decode_snapshot_record(std::string_view text);

// Where the journals are.
[[nodiscard]] std::string snapshot_journals(const std::string& state_folder);

// Opens a kSnapshotFolder. Errors: not_found; denied when it is a link or somebody else's.
Result<Fd> open_snapshot_folder(const std::string& path);

// Deletes one, or finds that it is not there; sets its `deleted_in`, or leaves 0 when it is deleted
// for good. Errors: denied when what has its name is not a read-only snapshot of its origin;
// unavailable when the file system is not there; io.
Result<void> delete_snapshot(SnapshotRecord::Snapshot& snapshot);

// Whether there is a journal that nobody holds, be it one that cannot be read. Cheap.
[[nodiscard]] bool has_dead_snapshots(const std::string& state_folder);
// Deletes the snapshots of processes that died, and the journals of what is deleted for good: the
// paths of those that were there. Errors: the first of any journal, which stays then; all others
// are seen to. What was deleted before an error is in its message.
Result<std::vector<std::string>> delete_dead_snapshots(const std::string& state_folder);

}  // namespace bygone::ingest
