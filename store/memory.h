// SPDX-License-Identifier: Apache-2.0
//
// What this host remembers of a repository, outside of it: the newest record of each source that it
// has seen, and the keyed hash of the configuration. A repository that shows less or other was set
// back to an older state, or somebody deleted from it; nothing inside it could tell. Never a reason
// for a backup to fail. The functions may be called from any thread; for one source, by one process
// at a time.
#pragma once

#include <string>
#include <vector>

#include "store/repository.h"

namespace bygone::store {

// What does not fit, a line each; empty when all that is remembered is here, in the trash, or noted
// as gone. `state_folder`: of this host, "/var/lib/bygone"; nothing remembered there is no alarm.
// Who deletes by rule stops while there is an alarm. Errors: corrupt for a memory that cannot be
// read; those of the file system.
[[nodiscard]] Result<std::vector<std::string>> check_memory(Repository& repository,
                                                            const std::string& state_folder);

// Remembers `newest` of its source as the newest that was seen, durably. What was remembered before
// and is missing now stays an alarm until accept_rollback(). Errors: those of the file system.
[[nodiscard]] Result<void> remember(Repository& repository, const std::string& state_folder,
                                    const Snapshot& newest);

// Takes the repository as it is now for what was meant. Errors: those of the file system.
[[nodiscard]] Result<void> accept_rollback(Repository& repository, const std::string& state_folder);

}  // namespace bygone::store
