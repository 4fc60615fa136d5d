// SPDX-License-Identifier: Apache-2.0
//
// Moves damaged files to `damaged/`, and takes the locks under which that may be done. For
// repair.h only. Callable from any thread.
#pragma once

#include <string>

#include "store/base/files.h"

namespace bygone::store {

// What keeps others away from a repair: prune, changes of keys, other repairs; and, as for a
// session, every later prune from deleting what was there when it began.
struct RepairLocks {
  Fd prune;
  Fd generation;
};
// Errors: busy; those of the file system.
Result<RepairLocks> lock_for_repair(Files& files, const std::string& repository);

// A name that nothing has in `damaged/` yet: `name`, or one that begins with it. Makes the folder.
Result<std::string> free_name(Files& files, const std::string& repository, const std::string& name);

// Renames `folder`/`name` below the repository to `damaged/`, under a name that begins with
// `prefix` and that nothing has there yet; durable when it returns. Gives the new path, below the
// repository.
Result<std::string> set_aside(Files& files, const std::string& repository,
                              const std::string& folder, const std::string& name,
                              const std::string& prefix);

}  // namespace bygone::store
