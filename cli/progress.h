// SPDX-License-Identifier: Apache-2.0
//
// How far a long command is: one line on a terminal, redrawn a few times a second; with --json a
// status object a second; elsewhere nothing. update() may be called from any thread, as often as
// it likes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "cli/output.h"

namespace bygone::cli {

struct ProgressState {
  std::string phase;  // shown in front when not empty: "frozen", "verifying"
  std::uint64_t files_done = 0, files_total = 0;
  std::uint64_t bytes_done = 0, bytes_total = 0;
  bool totals_known = true;   // false while the source is still being walked
  const char* noun = "file";  // what is counted
};

// Of one phase of a command that goes through objects of the repository: "packs: 3 of 10 objects".
[[nodiscard]] ProgressState phase_state(const std::string& phase, std::uint64_t done,
                                        std::uint64_t total);
// 0 to 1, by bytes where there are any, else by files; nothing is left only when all is done.
[[nodiscard]] double fraction_done(const ProgressState& state);
// "[0:42] 37.5 %, 1,234 of 3,300 files, 4.2 GiB of 11.2 GiB, 102 MiB/s, 1:10 left".
[[nodiscard]] std::string progress_text(const ProgressState& state, double elapsed_seconds);

class Progress {
 public:
  explicit Progress(Output& output);
  // Clears the line unless finish() was called.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const ProgressState& state);
  // The last state, at 100 %: stays on the terminal.
  void finish(const ProgressState& state);
  [[nodiscard]] double elapsed_seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  void show(const ProgressState& state);

  Output& output_;
  const Clock::time_point start_;
  std::mutex mutex_;
  Clock::time_point shown_;
  bool finished_ = false;
};

// Calls a function every quarter of a second from a thread of its own, until it goes.
class Ticker {
 public:
  explicit Ticker(std::function<void()> tick);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  std::function<void()> tick_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace bygone::cli
