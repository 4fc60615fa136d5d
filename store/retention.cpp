// SPDX-License-Identifier: Apache-2.0
#include "store/retention.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include <fmt/core.h>

#include "store/zone.h"

namespace bygone::store {
namespace {

constexpr std::uint64_t kClockStep = 3600 * std::uint64_t{kSecond};
constexpr std::uint64_t kLeap = 366 * std::uint64_t{kDay};
constexpr std::uint64_t kSettled = 30 * std::uint64_t{kDay};
constexpr std::uint64_t kManyFiles = 1000;
constexpr std::uint64_t kManyBytes = 100u << 20;

// From the earlier to the later instant; instants of records may be any number.
std::uint64_t between(Nanoseconds earlier, Nanoseconds later) {
  return static_cast<std::uint64_t>(later) - static_cast<std::uint64_t>(earlier);
}

// A moment on the clock of its snapshot.
struct Civil {
  CivilTime time;
  std::int64_t offset = 0;  // of the zone, in seconds
};

// Days since 1970-01-01 of the civil calendar.
std::int64_t day_number(const CivilTime& time) {
  const Nanoseconds at =
      from_civil("UTC", {.year = time.year, .month = time.month, .day = time.day}).value_or(0);
  return at / kDay - (at % kDay < 0 ? 1 : 0);
}

// ISO 8601: weeks begin on Monday and belong to the year of their Thursday.
std::string week_name(const CivilTime& time) {
  const std::int64_t days = day_number(time);
  const std::int64_t weekday = ((days + 3) % 7 + 7) % 7;  // 0 is Monday; 1970-01-01 was a Thursday
  const std::int64_t thursday = days - weekday + 3;
  const CivilTime in_year = to_civil("UTC", thursday * kDay);
  const std::int64_t first = day_number({.year = in_year.year});
  return fmt::format("{:04}-W{:02}", in_year.year, (thursday - first) / 7 + 1);
}

std::string hour_name(const Civil& at) {
  return fmt::format("{:04}-{:02}-{:02}T{:02}", at.time.year, at.time.month, at.time.day,
                     at.time.hour);
}
std::string day_name(const Civil& at) {
  return fmt::format("{:04}-{:02}-{:02}", at.time.year, at.time.month, at.time.day);
}
std::string month_name(const Civil& at) {
  return fmt::format("{:04}-{:02}", at.time.year, at.time.month);
}

class Judge {
 public:
  explicit Judge(std::vector<Candidate> candidates) : candidates_(std::move(candidates)) {
    std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
      return std::tie(a.instant, a.sequence, a.id) > std::tie(b.instant, b.sequence, b.id);
    });
    reasons_.resize(candidates_.size());
  }

  void apply(const RetentionRules& rules);
  void protect();
  [[nodiscard]] std::vector<SnapshotId> shrunk() const;
  [[nodiscard]] std::string block(const RetentionRules& rules, Nanoseconds now,
                                  const std::string& clock_doubt) const;
  [[nodiscard]] std::vector<Verdict> verdicts(bool keep_all) const;

 private:
  using Key = std::function<std::string(const Civil&)>;
  void buckets(std::uint64_t most, const char* word, const Key& key);
  void newest(const char* reason, const std::function<bool(const Candidate&)>& fits);
  void clocks_that_went_back();

  std::vector<Candidate> candidates_;  // newest first
  std::vector<std::vector<std::string>> reasons_;
};

void Judge::buckets(std::uint64_t most, const char* word, const Key& key) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < candidates_.size() && seen.size() < most; ++i) {
    Civil at;
    at.time = to_civil(candidates_[i].zone, candidates_[i].instant, &at.offset);
    const std::string name = key(at);
    if (seen.insert(name).second) reasons_[i].push_back(word + (" " + name));
  }
}

void Judge::newest(const char* reason, const std::function<bool(const Candidate&)>& fits) {
  const auto found = std::find_if(candidates_.begin(), candidates_.end(), fits);
  if (found == candidates_.end()) return;
  reasons_[static_cast<std::size_t>(found - candidates_.begin())].emplace_back(reason);
}

void Judge::apply(const RetentionRules& rules) {
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const Candidate& each = candidates_[i];
    if (i < rules.last) reasons_[i].push_back(fmt::format("last {}", i + 1));
    if (between(each.instant, candidates_.front().instant) <
        static_cast<std::uint64_t>(std::max<Nanoseconds>(rules.within, 0))) {
      reasons_[i].emplace_back("within");
    }
    for (const std::string& tag : rules.tags) {
      const bool has = std::find(each.tags.begin(), each.tags.end(), tag) != each.tags.end();
      if (has) reasons_[i].push_back("tag " + tag);
    }
  }
  // The second pass through a doubled hour is an hour of its own.
  buckets(rules.hourly, "hourly",
          [](const Civil& at) { return hour_name(at) + fmt::format("{:+03}", at.offset / 3600); });
  buckets(rules.daily, "daily", day_name);
  buckets(rules.weekly, "weekly", [](const Civil& at) { return week_name(at.time); });
  buckets(rules.monthly, "monthly", month_name);
  buckets(rules.yearly, "yearly",
          [](const Civil& at) { return fmt::format("{:04}", at.time.year); });
}

void Judge::clocks_that_went_back() {
  std::map<std::uint64_t, std::size_t> by_sequence;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    by_sequence.emplace(candidates_[i].sequence, i);
  }
  Nanoseconds latest = INT64_MIN;
  for (const auto& [sequence, i] : by_sequence) {
    const Nanoseconds instant = candidates_[i].instant;
    if (latest > instant && between(instant, latest) > kClockStep) {
      reasons_[i].emplace_back("taken by a clock that had gone back");
    }
    latest = std::max(latest, instant);
  }
}

void Judge::protect() {
  newest("newest complete", [](const Candidate& each) { return !each.partial; });
  newest("newest verified", [](const Candidate& each) { return each.verified; });
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    if (candidates_[i].pinned) reasons_[i].emplace_back("pinned");
  }
  clocks_that_went_back();
}

// Only next to its own predecessor: between two that thinning made neighbours a year may lie.
std::vector<SnapshotId> Judge::shrunk() const {
  std::map<SnapshotId, const Candidate*> by_id;
  for (const Candidate& each : candidates_) by_id.emplace(each.id, &each);
  std::vector<SnapshotId> list;
  for (const Candidate& each : candidates_) {
    const auto found = by_id.find(each.previous);
    if (found == by_id.end() || each.shrink_meant) continue;
    const Candidate& before = *found->second;
    const bool fewer = before.files > kManyFiles && each.files < before.files / 2;
    const bool smaller = before.bytes > kManyBytes && each.bytes < before.bytes / 2;
    if (fewer || smaller) list.push_back(each.id);
  }
  return list;
}

std::string Judge::block(const RetentionRules& rules, Nanoseconds now,
                         const std::string& clock_doubt) const {
  if (candidates_.front().instant > now) {
    return "the newest snapshot is of a time that has not come yet; hint: mend the clock, or "
           "forget "
           "that snapshot by name";
  }
  if (rules.within > 0 && !clock_doubt.empty()) return clock_doubt;
  if (!shrunk().empty()) {
    return "a snapshot has under half of what the one before it had; hint: look at it, then say "
           "that it is meant with --accept-shrink";
  }
  return {};
}

std::vector<Verdict> Judge::verdicts(bool keep_all) const {
  std::vector<Verdict> list;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    list.push_back({.id = candidates_[i].id,
                    .keep = keep_all || !reasons_[i].empty(),
                    .reasons = reasons_[i]});
  }
  return list;
}

}  // namespace

bool RetentionRules::empty() const {
  return last == 0 && hourly == 0 && daily == 0 && weekly == 0 && monthly == 0 && yearly == 0 &&
         within == 0 && tags.empty();
}

Thinning thin(const RetentionRules& rules, std::vector<Candidate> candidates, Nanoseconds now,
              const std::string& clock_doubt) {
  Thinning out;
  if (candidates.empty()) return out;
  Judge judge(std::move(candidates));
  judge.apply(rules);
  judge.protect();
  out.shrunk = judge.shrunk();
  out.blocked =
      rules.empty() ? "there is no rule that keeps anything" : judge.block(rules, now, clock_doubt);
  out.verdicts = judge.verdicts(!out.blocked.empty());
  return out;
}

std::string doubt_about_clock(std::vector<Nanoseconds> instants, Nanoseconds now) {
  std::sort(instants.begin(), instants.end(), std::greater<>());
  Nanoseconds later = now;
  for (const Nanoseconds instant : instants) {
    if (instant > now) {
      return "the clock is behind the newest snapshot: nothing expires; hint: mend the clock";
    }
    if (between(instant, later) > kLeap) {
      return "the clock leapt by over a year, or no backup was made for as long: what goes by the "
             "clock expires 30 days after that";
    }
    if (between(instant, now) > kSettled) break;
    later = instant;
  }
  return {};
}

}  // namespace bygone::store
