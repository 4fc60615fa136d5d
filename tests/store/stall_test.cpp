// SPDX-License-Identifier: Apache-2.0
#include "store/base/stall.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>

namespace bygone {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

void spin(std::chrono::milliseconds time) {
  const auto end = steady_clock::now() + time;
  while (steady_clock::now() < end) {
  }
}

TEST(Stall, IsTheTimeInWhichAThreadStoodStill) {
  const auto before = disk_waits();
  {
    const DiskWait waiting;
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_GE(disk_waits() - before, 40ms);
}

TEST(Stall, OfThreadsSideBySideIsCountedOnce) {
  const auto before = disk_waits();
  const auto begin = steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      const DiskWait waiting;
      std::this_thread::sleep_for(50ms);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(disk_waits() - before, steady_clock::now() - begin);
}

TEST(Stall, IsNotTheTimeInWhichOthersHadTheProcessor) {
  cpu_set_t all, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  std::size_t cpu = 0;
  while (!CPU_ISSET(cpu, &all)) ++cpu;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);  // the threads below inherit it
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 3; ++i) {
    busy.emplace_back([&] {
      while (!stop) {
      }
    });
  }
  const auto before = disk_waits();
  const auto begin = steady_clock::now();
  {
    const DiskWait waiting;
    spin(200ms);
  }
  const auto took = steady_clock::now() - begin;
  stop = true;
  for (std::thread& thread : busy) thread.join();
  ASSERT_EQ(sched_setaffinity(0, sizeof all, &all), 0);
  EXPECT_LT(disk_waits() - before, took / 4);
}

}  // namespace
}  // namespace bygone
