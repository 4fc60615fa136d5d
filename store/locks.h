// SPDX-License-Identifier: Apache-2.0
//
// The lock files of a repository (FORMAT.md section 11): flock only, so the kernel releases them
// when a process dies. Callable from any thread.
#pragma once

#include <string>

#include "store/base/files.h"

namespace bygone::store {

// Takes the shared lock on the newest generation: until the returned file is closed, no prune
// deletes a pack that was there when it was taken. `repository` is the repository's folder.
// Errors: busy while a prune finishes that very generation; those of the file system.
[[nodiscard]] Result<Fd> lock_generation(Files& files, const std::string& repository);

// Takes the exclusive lock of prune, repair and key changes: one of them at a time.
// Errors: busy while another one runs; those of the file system.
[[nodiscard]] Result<Fd> lock_prune(Files& files, const std::string& repository);

}  // namespace bygone::store
