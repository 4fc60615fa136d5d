// SPDX-License-Identifier: Apache-2.0
//
// The lock files of a repository (FORMAT.md section 11): flock only, so the kernel releases them
// when a process dies. Callable from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/files.h"

namespace bygone::store {

// That the folders of the locks are no links: lock files are made and written to, and who has the
// storage must not choose where. Each of the calls below looks, but for lock_exclusively(), and
// none opens a link. One that is missing is for them to find. Errors: invalid when one is a link;
// those of the file system.
[[nodiscard]] Result<void> expect_lock_folders(Files& files, const std::string& repository);

// Takes the shared lock on the newest generation: until the returned file is closed, no prune
// deletes a pack that was there when it was taken. `repository` is the repository's folder.
// Errors: busy while a prune finishes that very generation; those of the file system.
[[nodiscard]] Result<Fd> lock_generation(Files& files, const std::string& repository);

// Takes the exclusive lock of prune, repair and key changes: one of them at a time.
// Errors: busy while another one runs; those of the file system.
[[nodiscard]] Result<Fd> lock_prune(Files& files, const std::string& repository);

// Takes the exclusive lock on the file at `path` without waiting, and leaves in it who holds it:
// process, host and `purpose` (a word that gives nothing away, for the text is not sealed). That
// text is information only; the kernel holds the lock. Errors: busy, beginning with `what`
// ("another backup of db is running"), naming the holder and ending with `hint`; those of the file
// system.
[[nodiscard]] Result<Fd> lock_exclusively(Files& files, const std::string& path,
                                          std::string_view purpose, const std::string& what,
                                          const std::string& hint);

// Takes the exclusive lock of every generation before `newest`, whose list is durable already:
// once it is held, no session is left that has not seen that list. Nothing when somebody holds one
// of them; nobody waits. Errors: those of the file system.
[[nodiscard]] Result<std::optional<std::vector<Fd>>> lock_older_generations(
    Files& files, const std::string& repository, std::uint64_t newest);
[[nodiscard]] std::string generation_lock_path(const std::string& repository,
                                               std::uint64_t generation);

// Takes `locks/names`: exclusive for moments while a record moves between `snapshots/` and
// `trash/`, or leaves; shared while the two are listed together, or while a session commits.
// Waits while others have it. Errors: busy after half a minute; those of the file system.
[[nodiscard]] Result<Fd> lock_names(Files& files, const std::string& repository, Lock lock);
// Waits up to half a minute for a lock that others hold for moments. Errors: busy with the text
// `busy`; io.
[[nodiscard]] Result<void> wait_for_lock(Files& files, const Fd& fd, Lock lock,
                                         const std::string& busy);

// Ids of the processes that hold a flock on the file at `path`, as far as the kernel tells this
// process (/proc/locks, its own PID namespace). For messages only.
[[nodiscard]] std::vector<int> lock_holders(const std::string& path);

}  // namespace bygone::store
