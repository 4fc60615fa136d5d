// SPDX-License-Identifier: Apache-2.0
//
// How much a test tried, for scripts/torture to add up: a line such as "torture: bits flipped 812"
// when the program ends. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>

namespace bygone::test {

// Static objects only: the line is printed when they are destroyed.
class Tally {
 public:
  explicit Tally(const char* what) : what_(what) {}
  ~Tally() {
    if (count_ > 0) {
      std::printf("torture: %s %llu\n", what_, static_cast<unsigned long long>(count_.load()));
    }
  }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  void add(std::uint64_t more = 1) { count_ += more; }

 private:
  const char* what_;
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace bygone::test
