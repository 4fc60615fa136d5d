// SPDX-License-Identifier: Apache-2.0
//
// What tests share that can run for as long as one likes: numbers from the environment, and a tally
// of what was tried, for scripts/torture to add up: a line such as "torture: bits flipped 812" when
// the program ends. Any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>

namespace bygone::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitized = true;
#else
constexpr bool kThreadSanitized = false;
#endif
// Tests that fail the n-th call try each n; not all of them with a sanitizer, which is several
// times slower and looks for other mistakes: those of the memory on the ways out of a function, of
// which many are the same, and races, of which one thread has none. Odd, so that n takes both
// parities.
constexpr std::size_t kCallStride = kThreadSanitized ? 25 : kSanitized ? 7 : 1;
// So many times fewer with a sanitizer: what chance chooses, and what is the same again and again.
constexpr unsigned kFewer = kThreadSanitized ? 12 : kSanitized ? 8 : 1;

// The number in a variable of the environment; nothing when there is none.
inline std::optional<std::uint64_t> number_from(const char* name) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

// BYGONE_SEED, which repeats a run, or another one each time. Printed at once: what aborts the
// program would take it along.
inline std::uint64_t seed_of_run() {
  const auto given = number_from("BYGONE_SEED");
  const std::uint64_t seed = given ? *given : std::random_device{}();
  std::printf("BYGONE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

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
