// SPDX-License-Identifier: Apache-2.0
//
// Goes to the background once the work has begun: the caller's process waits until then, so that
// its exit code and the messages before it are the command's. Call before threads, LMDB and
// secrets exist.
#pragma once

#include <functional>

#include "cli/exit_codes.h"
#include "store/base/result.h"

namespace bygone::cli {

// Forks. In the child, runs `work` with a function that it is to call (once, from any thread) when
// the service answers: from then on the child is a session of its own without terminal, in /, and
// says nothing more, unless stderr is a file. The parent returns Exit::done at that moment, or
// what `work` returned before it. In the child the call does not return. Errors: those of fork(2)
// and pipe(2).
[[nodiscard]] Result<Exit> run_in_background(
    const std::function<Exit(const std::function<void()>& ready)>& work);

}  // namespace bygone::cli
