// SPDX-License-Identifier: Apache-2.0
//
// Pruning with progress, report and messages, for the commands that do it: prune, and forget with
// --prune. One thread.
#pragma once

#include "cli/options.h"
#include "store/base/clock.h"
#include "store/prune.h"

namespace bygone::cli {

// Prunes and says what came of it. Interrupted by SIGINT or SIGTERM at a safe point.
// A lock that somebody else holds is asked for again for as long as `retry_lock`.
Exit run_prune(Context& context, store::Repository& repository, const store::PruneOptions& options,
               Nanoseconds retry_lock);

}  // namespace bygone::cli
