// SPDX-License-Identifier: Apache-2.0
//
// Which snapshots of one source the rules keep, and why. Pure policy: no I/O, and the time is an
// argument. In doubt about a clock or about the data everything is kept. Any thread.
#pragma once

#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"

namespace bygone::store {

// What is kept: the union of all rules. A number of 0 is no rule.
struct RetentionRules {
  std::uint64_t last = 0;  // the newest so many
  // The newest snapshot of each of the newest so many hours, days, ISO weeks, months and years that
  // have one, on the clock of the zone in which the snapshot was made.
  std::uint64_t hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0;
  // Everything less than this older than the newest snapshot, not than now: a clock that runs ahead
  // expires nothing.
  Nanoseconds within = 0;
  std::vector<std::string> tags;  // every snapshot that has one of them

  // Whether there is no rule at all. Nobody means that: it would keep nothing.
  [[nodiscard]] bool empty() const;
};

// What the rules look at.
struct Candidate {
  SnapshotId id, previous;
  std::uint64_t sequence = 0;
  Nanoseconds instant = 0;
  std::string zone = "UTC";
  bool partial = false;
  bool pinned = false;
  bool verified = false;
  bool shrink_meant = false;  // somebody said that it is smaller on purpose
  std::vector<std::string> tags;
  std::uint64_t files = 0, bytes = 0;
};

struct Verdict {
  SnapshotId id;
  bool keep = true;
  std::vector<std::string> reasons;  // "daily 2024-03-16", "pinned"; none when it is not kept
};

struct Thinning {
  std::vector<Verdict> verdicts;  // newest first
  // Why nothing is thinned although the rules would, for people; then every verdict is to keep.
  std::string blocked;
  // Snapshots that are suspiciously smaller than the one before them; they block, too.
  std::vector<SnapshotId> shrunk;
};

// Judges the snapshots of one source. Never let go, whatever the rules: what is pinned, the newest
// complete snapshot, the newest verified one, and those whose instant is over an hour before that
// of an earlier number (taken by a clock that had gone back). Nothing is let go when an instant
// lies after `now`, when a snapshot has under half the files or bytes of its predecessor, which had
// over 1000 files or 100 MiB, and nobody said that it is meant, or when `clock_doubt` is not empty
// and there is a rule `within`.
[[nodiscard]] Thinning thin(const RetentionRules& rules, std::vector<Candidate> candidates,
                            Nanoseconds now, const std::string& clock_doubt);

// Why what goes by the clock (the rule `within`, the expiry of the trash) must wait; empty: it need
// not. `instants`: of all records of the repository, and other times at which its clock was read,
// in any order. The clock is doubted when it is
// behind a record, or when it leapt by over a year, or nobody made a backup for as long, and under
// 30 days have gone by since.
[[nodiscard]] std::string doubt_about_clock(std::vector<Nanoseconds> instants, Nanoseconds now);

}  // namespace bygone::store
