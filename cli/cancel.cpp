// SPDX-License-Identifier: Apache-2.0
#include "cli/cancel.h"

#include <iterator>

namespace bygone::cli {
namespace {

std::atomic<bool> cancelled{false};
static_assert(std::atomic<bool>::is_always_lock_free, "used in a signal handler");

void on_signal(int /*number*/) { cancelled = true; }

}  // namespace

CancelOnSignal::CancelOnSignal() {
  cancelled = false;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    // What the caller ignores (nohup) stays ignored.
    sigaction(kSignals[i], nullptr, &old_[i]);
    if (old_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

CancelOnSignal::~CancelOnSignal() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_[i], nullptr);
}

const std::atomic<bool>& CancelOnSignal::flag() const { return cancelled; }

}  // namespace bygone::cli
