// SPDX-License-Identifier: Apache-2.0
//
// Pruning with progress, report and messages, for the commands that do it: prune, and forget with
// --prune. One thread.
#pragma once

#include "cli/options.h"
#include "store/prune.h"

namespace bygone::cli {

// Prunes and says what came of it. Interrupted by SIGINT or SIGTERM at a safe point.
Exit run_prune(Context& context, store::Repository& repository, const store::PruneOptions& options);

}  // namespace bygone::cli
