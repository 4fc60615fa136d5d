// SPDX-License-Identifier: Apache-2.0
//
// Putting back what a backup that died held still, for commands that would freeze themselves.
#pragma once

#include "cli/options.h"

namespace bygone::cli {

// Puts back what a backup that died held still, before anything else can go wrong: whatever the
// configuration says, and wherever the repository is. What was done, and what cannot be, are
// warnings. Needs an engine only when there is something to put back.
void thaw_first(Context& context);

}  // namespace bygone::cli
