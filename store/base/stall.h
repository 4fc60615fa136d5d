// SPDX-License-Identifier: Apache-2.0
//
// How long this process has waited for disks: the time in which at least one of its threads stood
// still inside a call that may wait for one. Time in which it ran there, or wanted to and other
// programs had all processors, is none of it. Whoever wants to know how long *others* wait takes it
// off what the kernel counts for all. One clock for the process; callable from any thread.
#pragma once

#include <chrono>

namespace bygone {

// Marks such a call for as long as it lives.
class DiskWait {
 public:
  DiskWait();
  ~DiskWait();
  DiskWait(const DiskWait&) = delete;
  DiskWait& operator=(const DiskWait&) = delete;

 private:
  std::chrono::steady_clock::time_point began_;
  std::chrono::nanoseconds runnable_;
};

// All of it until now; a call that still goes on counts as a wait until it ends.
[[nodiscard]] std::chrono::nanoseconds disk_waits();

}  // namespace bygone
