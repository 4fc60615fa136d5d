// SPDX-License-Identifier: Apache-2.0
//
// How long this process has waited for disks: the time in which at least one of its threads was
// inside a call that may wait for one. Whoever wants to know how long *others* wait takes it off
// what the kernel counts for all. One clock for the process; callable from any thread.
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
};

// All of it until now, calls that still go on included.
[[nodiscard]] std::chrono::nanoseconds disk_waits();

}  // namespace bygone
