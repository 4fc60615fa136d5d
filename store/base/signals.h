// SPDX-License-Identifier: Apache-2.0
//
// The signals that a thread blocks which leaves them to whoever waits for them.
#pragma once

#include <csignal>

namespace bygone {

// All but those of faults: one that is blocked ends the process past its handler, and nobody would
// learn that the index is suspect (store/index.h).
[[nodiscard]] inline sigset_t all_but_faults() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int fault : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) sigdelset(&signals, fault);
  return signals;
}

}  // namespace bygone
