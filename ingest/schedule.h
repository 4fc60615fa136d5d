// SPDX-License-Identifier: Apache-2.0
//
// When a source is to be backed up: cron expressions and intervals, read from text. Pure: the time
// is an argument, the zone's rules come from store/zone.h. Values only, any thread.
//
//   MINUTE HOUR DAY MONTH WEEKDAY, or with SECOND in front; each `*`, a number, a name (jan, mon),
//   a range, a list of those, and a step: `*/15`, `8-18/2`, `1,15`. Weekdays are 0 to 7, both of
//   which are Sunday. When day and weekday are both given (neither begins with `*`), either will
//   do, as with cron.
//   @hourly @daily @midnight @weekly @monthly @yearly @annually
//   every 15m: each multiple of the length since 1970 (UTC), units s, m, h, d, w
//
// Changes of the clock: a time that the clock skips is run at the change, a time that it shows
// twice is run the first time only. What runs in every hour of the day follows real hours instead:
// in both passes of a doubled hour, and not at all for the minutes of a skipped one.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::ingest {

class Schedule {
 public:
  // `zone`: the clock that cron fields are read on, "Europe/Berlin". Errors: invalid for an unknown
  // zone, and for a text that is wrong, with what and the column (from 1) where; also for dates
  // that no calendar has ("0 0 31 2 *" would never run).
  [[nodiscard]] static Result<Schedule> parse(std::string_view text, const std::string& zone);

  // The first run after `instant`, and the last one at or before it. Every schedule has both;
  // runs are at whole seconds, but for their shift. Cost: microseconds, and under a millisecond
  // for dates that come once in years.
  [[nodiscard]] Nanoseconds next_after(Nanoseconds instant) const;
  [[nodiscard]] Nanoseconds last_before(Nanoseconds instant) const;
  // The time between the two runs around `instant`.
  [[nodiscard]] Nanoseconds interval_at(Nanoseconds instant) const;

  // The same schedule with every run this much later (jitter); 0 or more.
  [[nodiscard]] Schedule shifted(Nanoseconds by) const;
  // As it was written.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::string& zone() const { return zone_; }

 private:
  struct Day {
    int year = 1970;
    unsigned month = 1, day = 1;
    std::int64_t number = 0;  // days since 1970
  };
  Schedule() = default;
  Result<void> parse_cron(std::string_view text);
  Result<void> parse_every(std::string_view text);
  [[nodiscard]] bool is_possible() const;
  [[nodiscard]] bool matches(const Day& day) const;
  [[nodiscard]] Day matching_day(std::int64_t number) const;
  [[nodiscard]] Nanoseconds next_by_wall(Nanoseconds instant) const;
  [[nodiscard]] Nanoseconds next_by_hours(Nanoseconds instant) const;

  std::string text_;
  std::string zone_;
  Nanoseconds shift_ = 0;
  Nanoseconds every_ = 0;  // 0: the fields below
  std::bitset<60> seconds_, minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<7> weekdays_;
  bool either_day_ = false;  // day or weekday will do
};

// How much later than its schedule says a source runs, so that not all begin at once: from 0 to
// under `bound`, the same for one `seed` and `source` for ever.
[[nodiscard]] Nanoseconds jitter_of(std::uint64_t seed, std::string_view source, Nanoseconds bound);

}  // namespace bygone::ingest
