// SPDX-License-Identifier: Apache-2.0
#include "store/base/stall.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>

#include <fcntl.h>
#include <unistd.h>

#include "store/base/files.h"

namespace bygone {
namespace {

using std::chrono::nanoseconds;
using SteadyClock = std::chrono::steady_clock;

struct Waits {
  std::mutex mutex;
  unsigned threads = 0;  // inside such a call; all guarded by mutex
  SteadyClock::time_point since;
  nanoseconds blocked{0};  // of the threads that have left since then
  nanoseconds total{0};
};

Waits& waits() {
  static Waits all;
  return all;
}

// The time in which this thread ran, or wanted to run and waited for a processor. 0 on a kernel
// that does not count it.
nanoseconds runnable() {
  thread_local const Fd counters(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
  std::array<char, 96> text{};
  const ssize_t n = ::pread(counters.get(), text.data(), text.size() - 1, 0);
  long long ran = 0, queued = 0;
  if (n <= 0 || std::sscanf(text.data(), "%lld %lld", &ran, &queued) != 2) return nanoseconds(0);
  return nanoseconds(ran + queued);
}

}  // namespace

DiskWait::DiskWait() : began_(SteadyClock::now()), runnable_(runnable()) {
  Waits& all = waits();
  const std::lock_guard lock(all.mutex);
  if (all.threads++ > 0) return;
  all.since = began_;
  all.blocked = nanoseconds(0);
}

DiskWait::~DiskWait() {
  const nanoseconds ran = runnable() - runnable_;
  const auto now = SteadyClock::now();
  Waits& all = waits();
  const std::lock_guard lock(all.mutex);
  all.blocked += std::max(now - began_ - ran, nanoseconds(0));
  // Threads that were blocked side by side waited once.
  if (--all.threads == 0) all.total += std::min<nanoseconds>(now - all.since, all.blocked);
}

nanoseconds disk_waits() {
  Waits& all = waits();
  const std::lock_guard lock(all.mutex);
  return all.threads == 0 ? all.total : all.total + (SteadyClock::now() - all.since);
}

}  // namespace bygone
