// SPDX-License-Identifier: Apache-2.0
//
// Options that take a length of time (ingest/duration.h), and what waits that long. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "store/base/clock.h"
#include "store/base/result.h"

namespace CLI {
class App;
}

namespace bygone::cli {

// An option whose value is such a length; `target` must outlive the parsing.
void add_duration(CLI::App& app, const char* option, Nanoseconds& target, const char* description);

// Does `work` again, twice a second, while it fails with busy, for at most `patience` and until
// `cancel` is true; then returns its last result.
template <class Work>
auto retry_while_busy(Nanoseconds patience, const std::atomic<bool>& cancel, const Work& work) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience);
  auto result = work();
  while (!result.ok() && result.error().code == Code::busy && !cancel.load() &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    result = work();
  }
  return result;
}

}  // namespace bygone::cli
