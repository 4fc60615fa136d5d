// SPDX-License-Identifier: Apache-2.0
//
// Mounts a repository as a read-only FUSE file system and serves it; takes such a mount away.
// Not the namespace (namespace.h) and not the translation of requests (ops.h): this is session,
// threads, signals and mount table. One mount per process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/base/clock.h"
#include "store/base/result.h"
#include "store/repository.h"

namespace bygone::fs {

struct MountOptions {
  std::string mountpoint;  // an existing folder
  // Other users may look in (each file's own permissions hold). Root's mounts always allow it.
  bool allow_other = false;
  std::size_t chunk_cache_bytes = 32u << 20;  // decoded file data
  // Paths besides the repository that serving needs (an index folder elsewhere): the mount must
  // not cover them.
  std::vector<std::string> needed_paths;
  // Called once, from another thread, when the mount answers.
  std::function<void()> on_ready;
  Clock clock = system_now;  // for ages such as 2h-ago
};

// Checks that a mount can stand at `mountpoint`: an existing folder that is neither inside
// `repository_path` nor above it (or above one of `needed_paths`) and holds no live mount of ours.
// A dead mount there is logged, detached and forgiven. Errors: not_found, invalid, busy, denied.
[[nodiscard]] Result<void> prepare_mountpoint(const std::string& mountpoint,
                                              const std::string& repository_path,
                                              const std::vector<std::string>& needed_paths = {});

// Prepares the mountpoint, mounts `repository` and serves until somebody unmounts it or SIGTERM,
// SIGINT or SIGHUP arrives; then nothing is left at the mountpoint. Takes over these signals while
// it runs. When handlers hang after a signal, a watchdog detaches the mount and ends the process.
// Starts threads: fork before, not after. Errors: those of prepare_mountpoint(); unavailable when
// there is no /dev/fuse; denied when the system refuses the mount.
[[nodiscard]] Result<void> serve_mount(store::Repository& repository, const MountOptions& options);

enum class Unmounted {
  done,    // gone, and its server ends
  lazily,  // in use: detached from the tree, served until the last user leaves
};
// Takes the bygone mount at `mountpoint` away, alive or dead, and waits until it is gone.
// Errors: not_found when nothing of ours is mounted there; denied.
[[nodiscard]] Result<Unmounted> unmount(const std::string& mountpoint);

}  // namespace bygone::fs
