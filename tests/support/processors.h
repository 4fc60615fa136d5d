// SPDX-License-Identifier: Apache-2.0
//
// The processors that a thread may use. Any thread.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/types.h>

namespace bygone::test {

// `thread`: 0 for the calling one.
inline cpu_set_t processors_of(pid_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(::sched_getaffinity(thread, sizeof set, &set), 0);
  return set;
}
inline int count_processors_of(pid_t thread) {
  const cpu_set_t set = processors_of(thread);
  return CPU_COUNT(&set);
}

}  // namespace bygone::test
