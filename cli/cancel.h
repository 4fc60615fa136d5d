// SPDX-License-Identifier: Apache-2.0
//
// Turns SIGINT, SIGTERM and SIGHUP into a flag while a command that can stop cleanly runs. More of
// them change nothing: an impatient second Ctrl-C must not leave a container frozen. One object at
// a time.
#pragma once

#include <atomic>
#include <csignal>

namespace bygone::cli {

class CancelOnSignal {
 public:
  CancelOnSignal();
  // Puts back what was.
  ~CancelOnSignal();
  CancelOnSignal(const CancelOnSignal&) = delete;
  CancelOnSignal& operator=(const CancelOnSignal&) = delete;

  [[nodiscard]] const std::atomic<bool>& flag() const;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction old_[3]{};
};

}  // namespace bygone::cli
