// SPDX-License-Identifier: Apache-2.0
//
// Which sources are to be backed up next, and when: decided from their schedules, from when each
// was begun last, and from the time, which is an argument. Members of a group run together, a
// source never beside itself, and only so many at once. Pure: no thread, no clock, no I/O. One
// thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/schedule.h"
#include "store/base/clock.h"

namespace bygone::ingest {

// A source as the planner sees it.
struct PlannedSource {
  std::string key;                   // tells it from all others
  std::string group;                 // empty: none
  std::optional<Schedule> schedule;  // nothing: only with its group, or never
  Nanoseconds jitter = 0;            // bound, for jitter_of()
  Nanoseconds last_begun = 0;        // its last backup, good or not, as far as known; 0: never
  Nanoseconds first_seen = 0;
};

// What is to run now: one source, or all members of a group.
struct PlannedRun {
  std::string group;
  std::vector<std::string> keys;  // sorted
};

enum class RunOutcome {
  done,
  failed,   // tried again soon, later each time
  partly,   // of a group: the same, but three times only, for the others stand still each time
  put_off,  // somebody else is at it: tried again soon
};

class Planner {
 public:
  // `seed` of the jitter: the same for one repository for ever.
  explicit Planner(std::uint64_t seed) : seed_(seed) {}

  // All sources there are now. What is known of those that were there before stays; a schedule that
  // changed counts from now on.
  void set_sources(const std::vector<PlannedSource>& sources, Nanoseconds now);
  void set_at_once(std::size_t runs) { at_once_ = runs; }

  // The runs to begin now, the longest overdue first; each counts as running until finished(). A
  // source that was never backed up is due seconds after it was first seen; one that missed its
  // times (nobody ran, a clock that leapt) is due once. A clock that went back leaves no source
  // waiting for the old time.
  [[nodiscard]] std::vector<PlannedRun> take(Nanoseconds now);
  void finished(const PlannedRun& run, RunOutcome outcome, Nanoseconds now);

  // When a source is to run next: in the past when it is waiting for its turn; nothing when it is
  // not planned, or running.
  [[nodiscard]] std::optional<Nanoseconds> next(const std::string& key) const;
  [[nodiscard]] bool is_running(const std::string& key) const;
  [[nodiscard]] std::size_t running() const { return running_; }
  // The next time that take() may have something, but for a run that ends; nothing: none is
  // planned.
  [[nodiscard]] std::optional<Nanoseconds> wake() const;

 private:
  struct Unit {  // a source of its own, or a group
    std::string group;
    std::set<std::string> keys;
    std::vector<Schedule> schedules;  // shifted by their jitter
    std::optional<Nanoseconds> next;
    Nanoseconds retry_at = 0;  // 0: no failure
    unsigned failures = 0;     // in a row
    unsigned partly = 0;       // tries in which only some members failed, since the last good one
    bool running = false;
  };

  void plan(Unit& unit, Nanoseconds now);

  const std::uint64_t seed_;
  std::size_t at_once_ = 1;
  std::size_t running_ = 0;
  std::map<std::string, Unit> units_;                      // by group, or by key
  std::map<std::string, std::string> owner_;               // key to the name of its unit
  std::map<std::string, Nanoseconds> begun_, first_seen_;  // by key
};

}  // namespace bygone::ingest
