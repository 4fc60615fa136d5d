// SPDX-License-Identifier: Apache-2.0
//
// How fast a backup may go for the sake of those who want the processors. A low priority alone
// does not spare them: whoever wakes up finds the core, its caches and its sibling thread taken.
// Measured beside a pgbench that keeps two processors three quarters busy (scripts/bench-docker),
// which have one of them alone (SpareProcessor): at nice 15 a first backup cost a fifth of the
// transactions; with 8 to 20 % of the processors' time for it, 10 to 19 %, and with 4 % under 10,
// of which most is for the checkpoint that PostgreSQL makes for each backup. So while others are
// busy the pace keeps our own share small, and where nobody is there is none.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bygone::ingest {

// Between them lies what an automatic limit may come to. Under the first a backup would never end;
// what is allowed more than the second is not limited.
inline constexpr std::uint64_t kLeastPace = 8u << 20;  // bytes a second
inline constexpr std::uint64_t kMostPace = 512u << 20;

// Time of all processors together since the host's start, in the kernel's ticks.
struct ProcessorTimes {
  std::chrono::nanoseconds all{0};
  std::chrono::nanoseconds busy{0};
  std::chrono::nanoseconds own{0};  // used by this process
};
// /proc/stat; nothing for a text of another form. Without `own`.
[[nodiscard]] std::optional<ProcessorTimes> parse_processor_times(std::string_view text);
// What others used between two looks.
[[nodiscard]] std::chrono::nanoseconds used_by_others(const ProcessorTimes& before,
                                                      const ProcessorTimes& now);

// Pure; one thread at a time.
class ProcessorPace {
 public:
  // Before the first read, and after a pause: slow until somebody has looked.
  void begin(const ProcessorTimes& times, std::chrono::nanoseconds now);
  // `bytes`: read since begin().
  void observe(const ProcessorTimes& times, std::chrono::nanoseconds now, std::uint64_t bytes);
  // Whether observe() would look now.
  [[nodiscard]] bool is_due(std::chrono::nanoseconds now) const;
  // Bytes a second, 0 for full speed.
  [[nodiscard]] std::uint64_t rate() const { return rate_; }

 private:
  void set_rate(double others, double processors);

  std::uint64_t rate_ = 0;
  double cost_ = 0;  // seconds of a processor for a byte
  ProcessorTimes seen_;
  std::chrono::nanoseconds looked_{0};
  std::uint64_t bytes_ = 0;
  bool is_first_ = true;
};

}  // namespace bygone::ingest
