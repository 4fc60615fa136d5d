// SPDX-License-Identifier: Apache-2.0
#include "store/base/stall.h"

#include <mutex>

namespace bygone {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Waits {
  std::mutex mutex;
  unsigned threads = 0;  // inside such a call; all guarded by mutex
  SteadyClock::time_point since;
  std::chrono::nanoseconds total{0};
};

Waits& waits() {
  static Waits all;
  return all;
}

}  // namespace

DiskWait::DiskWait() {
  Waits& all = waits();
  const std::lock_guard lock(all.mutex);
  if (all.threads++ == 0) all.since = SteadyClock::now();
}

DiskWait::~DiskWait() {
  Waits& all = waits();
  const std::lock_guard lock(all.mutex);
  if (--all.threads == 0) all.total += SteadyClock::now() - all.since;
}

std::chrono::nanoseconds disk_waits() {
  Waits& all = waits();
  const std::lock_guard lock(all.mutex);
  return all.threads == 0 ? all.total : all.total + (SteadyClock::now() - all.since);
}

}  // namespace bygone
