// SPDX-License-Identifier: Apache-2.0
//
// For starting threads that leave signals to whoever waits for them.
#pragma once

#include <csignal>

namespace bygone {

// As long as it lives its thread, and those that it starts for good, blocks all signals but those
// of faults: one that is blocked ends the process past its handler, and nobody would learn that the
// index is suspect (store/index.h).
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t signals;
    sigfillset(&signals);
    for (const int fault : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) sigdelset(&signals, fault);
    pthread_sigmask(SIG_SETMASK, &signals, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace bygone
