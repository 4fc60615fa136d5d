// SPDX-License-Identifier: Apache-2.0
//
// How fast a process reads its sources: token buckets that all reader threads share and sleep on
// between reads, with a rate that is fixed or follows what others suffer: at the disk (the kernel's
// pressure stall information, less our own waiting) and at the processors (ProcessorPace), which
// also pay for what the page cache has. Sleeping in user space, because cgroup throttles hold the
// application's locks while they wait, and ionice does nothing. Never asked under a freeze. The
// daemon's default is `auto`. Callable from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "ingest/processor_pace.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct ReadLimit {
  enum class Kind {
    off,        // as fast as it goes, and the page cache is left as it comes
    automatic,  // full speed while nobody else wants disk or processors, gently while somebody does
    fixed,
  };
  Kind kind = Kind::off;
  std::uint64_t bytes_per_second = 0;  // fixed
  bool operator==(const ReadLimit&) const = default;
};

// "auto", "off", or bytes a second with K, M or G (powers of 1024; an added "B" or "iB" is let
// pass): "50M". Errors: invalid, with a hint; under 64K a second, over 1024G.
[[nodiscard]] Result<ReadLimit> parse_read_limit(std::string_view text);
// In the form that parse_read_limit() takes.
[[nodiscard]] std::string to_text(const ReadLimit& limit);

// What /proc/pressure/io says of all tasks of this host.
struct Pressure {
  double recent = 0;                     // percent of the last 10 s in which some task waited
  std::chrono::microseconds stalled{0};  // ever; the kernel moves it every 2 s
};
// Nothing for a text of another form.
[[nodiscard]] std::optional<Pressure> parse_pressure(std::string_view text);

// What a limiter sees and does; tests bring their own.
struct Surroundings {
  std::function<std::chrono::nanoseconds()> now;            // steady
  std::function<void(std::chrono::nanoseconds)> sleep;      // in small slices
  std::function<std::optional<Pressure>()> pressure;        // nothing: the kernel has none
  std::function<std::chrono::nanoseconds()> our_own_waits;  // disk_waits()
  std::function<std::optional<ProcessorTimes>()> processors;
  static Surroundings real();
};

class Limiter {
 public:
  // For a thread's begin: with any limit but none and `off` the kernel gives it a thirtieth of the
  // time that another thread gets, and all that nobody else wants.
  static void give_way(const Limiter* limiter);

  explicit Limiter(ReadLimit limit, Surroundings surroundings = Surroundings::real());

  // Waits until `bytes` may be read of which the page cache does not have `from_disk`. A fixed rate
  // is of all that is read. Errors: cancelled, within 50 ms of `cancel`.
  Result<void> wait(std::uint64_t bytes, std::uint64_t from_disk, const std::atomic<bool>& cancel);
  // The same for what an engine sends.
  Result<void> wait_for_transfer(std::uint64_t bytes, const std::atomic<bool>& cancel);

  [[nodiscard]] const ReadLimit& limit() const { return limit_; }
  [[nodiscard]] bool is_off() const { return limit_.kind == ReadLimit::Kind::off; }
  // Bytes a second at present, the lower of the rates for disk and processors; nothing for full
  // speed.
  [[nodiscard]] std::optional<std::uint64_t> rate() const;

 private:
  // Pays for bytes at a rate that may change.
  class Bucket {
   public:
    // Begins to pay for `bytes`; returns when they may be read. A rate of 0 is none.
    std::chrono::nanoseconds take(std::uint64_t bytes, std::uint64_t rate,
                                  std::chrono::nanoseconds now);

   private:
    std::chrono::nanoseconds next_{0};  // when what has been granted is paid for
  };

  Result<void> wait_for(std::uint64_t bytes, std::uint64_t computed, std::uint64_t from_disk,
                        const std::atomic<bool>& cancel);
  [[nodiscard]] std::chrono::nanoseconds pay(std::uint64_t bytes, std::uint64_t computed,
                                             std::uint64_t from_disk, std::chrono::nanoseconds now);
  [[nodiscard]] bool is_free(std::chrono::nanoseconds now);
  void observe(std::chrono::nanoseconds now);
  void observe_disk(std::chrono::nanoseconds now);
  void begin(std::chrono::nanoseconds now);
  void judge(double others);
  void open_window(std::chrono::nanoseconds now, const Pressure& pressure);
  [[nodiscard]] bool drowns_others_out(std::chrono::nanoseconds now) const;

  const ReadLimit limit_;
  const Surroundings surroundings_;
  mutable std::mutex mutex_;  // guards all below
  std::uint64_t rate_ = 0;    // of the disk, or the fixed one; 0: full speed
  Bucket disk_;               // or of the fixed rate
  Bucket processors_;         // automatic, and all below:
  ProcessorPace pace_;
  std::uint64_t bytes_ = 0;  // granted
  bool begun_ = false;
  std::chrono::nanoseconds last_asked_{0};
  std::chrono::nanoseconds last_look_{0};
  std::chrono::nanoseconds window_begin_{0};
  std::chrono::microseconds window_stalled_{0};
  std::chrono::nanoseconds window_own_{0};
  unsigned calm_windows_ = 0;
  unsigned calm_needed_ = 1;  // windows without others' waiting before we dare to go faster
};

}  // namespace bygone::ingest
