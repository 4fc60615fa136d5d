// SPDX-License-Identifier: Apache-2.0
//
// What this host remembers of the repository (store/memory.h), brought before a person. One thread.
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"

namespace bygone::cli {

// Lines for what the repository lacks of what this host has seen. That the memory cannot be read is
// a warning, and no alarm.
[[nodiscard]] std::vector<std::string> rollback_alarms(Context& context,
                                                       store::Repository& repository);

// Says them, an error each. True: there are some, and who deletes has to stop.
[[nodiscard]] bool shows_rollback(Context& context, store::Repository& repository);

// Remembers the newest snapshot of each source as it is now, or `newest` alone. A failure is a
// warning.
void remember_newest(Context& context, store::Repository& repository);
void remember(Context& context, store::Repository& repository, const store::Snapshot& newest);

}  // namespace bygone::cli
