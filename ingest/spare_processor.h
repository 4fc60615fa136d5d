// SPDX-License-Identifier: Apache-2.0
//
// Leaves one processor to others while they are busy. No priority does that: a commit of a database
// is a chain of short steps of several processes, and each step waits while its processor is in the
// kernel for us, which lets go of it when it is done (a sync of a pack: 50 to 100 ms and more).
// Measured on two processors beside pgbench and 3.2 GB, the longest transaction during a backup at
// full speed: 110 to 520 ms when we use both, even with `SCHED_IDLE`; 19 to 40 ms when all our
// threads use one; 90 to 590 when only those do that read and compute, and the one that syncs does
// not. The backup takes a fifth longer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include <sched.h>
#include <sys/types.h>

#include "ingest/processor_pace.h"

namespace bygone::ingest {

// One for a process: it sets the processors of all its threads, to those that the process may use
// or to all but the last of them. Callable from any thread.
class SpareProcessor {
 public:
  // Since the start of the host and of this process; nothing where the kernel does not tell. Called
  // by a thread of its own.
  using Times = std::function<std::optional<ProcessorTimes>()>;

  explicit SpareProcessor(Times times);
  ~SpareProcessor();
  SpareProcessor(const SpareProcessor&) = delete;
  SpareProcessor& operator=(const SpareProcessor&) = delete;

  // While there is one: others are looked at, and have the spare processor when they are busy.
  class Watch {
   public:
    explicit Watch(SpareProcessor& spare);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    SpareProcessor& spare_;
  };

  // While there is one, somebody stands still for us: we have all processors, from its begin on.
  // Its end waits for nothing.
  class Hurry {
   public:
    explicit Hurry(SpareProcessor& spare);
    ~Hurry();
    Hurry(const Hurry&) = delete;
    Hurry& operator=(const Hurry&) = delete;

   private:
    SpareProcessor& spare_;
  };

 private:
  void watch();
  void look();
  void apply();
  [[nodiscard]] bool can_leave_one();
  [[nodiscard]] bool bind_all() const;

  const Times times_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  unsigned watches_ = 0;
  unsigned hurries_ = 0;
  bool others_busy_ = false;
  bool is_left_ = false;      // the spare one, to others
  bool is_settled_ = true;    // every thread has what it shall have
  bool is_outdated_ = false;  // the watcher is to see to that at once
  cpu_set_t all_{};
  cpu_set_t but_one_{};
  std::optional<ProcessorTimes> seen_;
  std::chrono::steady_clock::time_point looked_;
  bool stopping_ = false;
  std::thread watcher_;  // begins with the first watch
};

}  // namespace bygone::ingest
