// SPDX-License-Identifier: Apache-2.0
//
// Putting back what a backup that died held still, for commands that would freeze themselves.
#pragma once

#include <atomic>

#include "cli/options.h"
#include "ingest/freeze.h"

namespace bygone::cli {

// Puts back what a backup that died held still, before anything else can go wrong: whatever the
// configuration says, and wherever the repository is. What was done, and what cannot be, are
// warnings. Needs an engine only when there is something to put back.
void thaw_first(Context& context, ingest::Late late = ingest::Late::wait);
// Then runs the post hooks that backups which died have not come to, and waits for them; what was
// done, and what cannot be, are warnings. What runs is ended, and owed still, when `cancel` becomes
// true.
void run_owed_hooks_first(Context& context, const std::atomic<bool>& cancel);

}  // namespace bygone::cli
