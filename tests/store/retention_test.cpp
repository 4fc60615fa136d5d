// SPDX-License-Identifier: Apache-2.0
#include "store/retention.h"

#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "store/zone.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

constexpr Nanoseconds kHour = 3600 * kSecond;
constexpr Nanoseconds kYear = 365 * kDay;
constexpr Nanoseconds kStart = 1'704'067'200 * kSecond;  // 2024-01-01T00:00Z, a Monday

SnapshotId id_of(std::uint64_t n) { return SnapshotId::from(test::noise(16, n)); }

Candidate candidate(std::uint64_t n, Nanoseconds instant) {
  Candidate c;
  c.id = id_of(n);
  c.previous = n > 1 ? id_of(n - 1) : SnapshotId{};
  c.sequence = n;
  c.instant = instant;
  return c;
}

// Number 1, 2, ... at these instants.
std::vector<Candidate> history(const std::vector<Nanoseconds>& instants) {
  std::vector<Candidate> list;
  list.reserve(instants.size());
  for (const Nanoseconds instant : instants) list.push_back(candidate(list.size() + 1, instant));
  return list;
}

std::vector<Candidate> every(Nanoseconds step, std::size_t count) {
  std::vector<Nanoseconds> instants;
  for (std::size_t i = 0; i < count; ++i) {
    instants.push_back(kStart + static_cast<Nanoseconds>(i) * step);
  }
  return history(instants);
}

const Nanoseconds kNow = kStart + 10 * kYear;

Thinning thinned(const RetentionRules& rules, const std::vector<Candidate>& list,
                 Nanoseconds now = kNow) {
  return thin(rules, list, now, "");
}

std::set<SnapshotId> kept(const Thinning& thinning) {
  std::set<SnapshotId> ids;
  for (const Verdict& verdict : thinning.verdicts) {
    if (verdict.keep) ids.insert(verdict.id);
  }
  return ids;
}

std::string reasons(const Thinning& thinning, std::uint64_t n) {
  for (const Verdict& verdict : thinning.verdicts) {
    if (verdict.id != id_of(n)) continue;
    std::string text;
    for (const std::string& reason : verdict.reasons) text += (text.empty() ? "" : ", ") + reason;
    return verdict.keep ? text : "-";
  }
  return "?";
}

TEST(Retention, SaysWhyEachSnapshotIsKept) {
  // Hourly from Monday the 1st, 00:00, to Wednesday the 10th, 23:00.
  auto list = every(kHour, 240);
  list[5].tags = {"release"};
  list[7].pinned = true;
  list[9].verified = true;
  const Thinning t = thinned({.last = 2,
                              .hourly = 3,
                              .daily = 2,
                              .weekly = 2,
                              .monthly = 1,
                              .yearly = 1,
                              .tags = {"release", "x"}},
                             list);
  EXPECT_EQ(t.blocked, "");
  EXPECT_EQ(reasons(t, 240),
            "last 1, hourly 2024-01-10T23+00, daily 2024-01-10, weekly 2024-W02, monthly 2024-01, "
            "yearly 2024, newest complete");
  EXPECT_EQ(reasons(t, 239), "last 2, hourly 2024-01-10T22+00");
  EXPECT_EQ(reasons(t, 238), "hourly 2024-01-10T21+00");
  EXPECT_EQ(reasons(t, 237), "-");
  EXPECT_EQ(reasons(t, 216), "daily 2024-01-09");
  EXPECT_EQ(reasons(t, 168), "weekly 2024-W01");
  EXPECT_EQ(reasons(t, 6), "tag release");
  EXPECT_EQ(reasons(t, 8), "pinned");
  EXPECT_EQ(reasons(t, 10), "newest verified");
  EXPECT_EQ(kept(t).size(), 8u);
}

TEST(Retention, CountsOnTheClockOfTheSnapshot) {
  // 23:30 and 00:30 in Berlin are one day in UTC and two there.
  auto list =
      history({kStart - Nanoseconds{30} * 60 * kSecond, kStart + Nanoseconds{30} * 60 * kSecond});
  for (Candidate& c : list) c.instant -= kHour;
  EXPECT_EQ(kept(thinned({.daily = 5}, list)).size(), 1u);
  for (Candidate& c : list) c.zone = "Europe/Berlin";
  EXPECT_EQ(kept(thinned({.daily = 5}, list)).size(), 2u);
}

TEST(Retention, KeepsBothPassesThroughADoubledHour) {
  // 2024-10-27: at 03:00 the clocks of Berlin went back to 02:00.
  auto list = history({1'729'989'000 * kSecond, 1'729'992'600 * kSecond});
  for (Candidate& c : list) c.zone = "Europe/Berlin";
  const Thinning t = thinned({.hourly = 5}, list);
  EXPECT_EQ(reasons(t, 1), "hourly 2024-10-27T02+02");
  EXPECT_EQ(reasons(t, 2), "hourly 2024-10-27T02+01, newest complete");
}

TEST(Retention, NamesIsoWeeks) {
  const std::pair<std::int64_t, const char*> cases[] = {
      {1'703'980'800, "weekly 2023-W52"},  // Sunday 2023-12-31
      {1'704'067'200, "weekly 2024-W01"},  // Monday 2024-01-01
      {1'735'516'800, "weekly 2025-W01"},  // Monday 2024-12-30
      {1'609'459'200, "weekly 2020-W53"},  // Friday 2021-01-01
      {-259'200, "weekly 1970-W01"},       // Monday 1969-12-29
  };
  for (const auto& [seconds, name] : cases) {
    const Thinning t = thinned({.weekly = 1}, history({seconds * kSecond}));
    EXPECT_EQ(reasons(t, 1), std::string(name) + ", newest complete");
  }
}

TEST(Retention, MeasuresWithinFromTheNewestSnapshotAndNotFromNow) {
  const auto list = every(kDay, 30);
  const Thinning t = thinned({.within = 3 * kDay}, list, kNow + 100 * kYear);
  EXPECT_EQ(kept(t), (std::set<SnapshotId>{id_of(28), id_of(29), id_of(30)}));
}

TEST(Retention, NeverLetsTheNewestCompleteSnapshotGo) {
  auto list = every(kDay, 5);
  list[2].partial = list[3].partial = list[4].partial = true;
  const Thinning t = thinned({.last = 1}, list);
  EXPECT_EQ(kept(t), (std::set<SnapshotId>{id_of(2), id_of(5)}));
  EXPECT_EQ(reasons(t, 2), "newest complete");
}

TEST(Retention, WithoutARuleKeepsEverything) {
  EXPECT_TRUE(RetentionRules{}.empty());
  const Thinning t = thinned({}, every(kDay, 5));
  EXPECT_NE(t.blocked, "");
  EXPECT_EQ(kept(t).size(), 5u);
  EXPECT_TRUE(thinned({.last = 1}, {}).verdicts.empty());
}

TEST(Retention, ClockJumpsOfTenYearsLetNothingGo) {
  const auto list = every(kHour, 100);
  const Nanoseconds end = list.back().instant;
  const RetentionRules rules{.last = 1, .within = kHour};
  // Behind: the clock of this run shows ten years ago.
  EXPECT_EQ(kept(thin(rules, list, end - 10 * kYear, "")).size(), 100u);
  // Ahead, before any backup and after one.
  const auto instants = [](const std::vector<Candidate>& all) {
    std::vector<Nanoseconds> out;
    out.reserve(all.size());
    for (const Candidate& c : all) out.push_back(c.instant);
    return out;
  };
  Nanoseconds now = end + 10 * kYear;
  EXPECT_EQ(kept(thin(rules, list, now, doubt_about_clock(instants(list), now))).size(), 100u);
  auto leapt = list;
  leapt.push_back(candidate(101, now));
  now += kHour;
  EXPECT_EQ(kept(thin(rules, leapt, now, doubt_about_clock(instants(leapt), now))).size(), 101u);
  // Right again: that snapshot is of the future.
  now = end + kHour;
  EXPECT_EQ(kept(thin(rules, leapt, now, "")).size(), 101u);
  // A snapshot taken while the clock was ten years behind stays when the clock is right again.
  auto back = list;
  back.push_back(candidate(101, end - 10 * kYear));
  back.push_back(candidate(102, end + kHour));
  EXPECT_EQ(reasons(thin({.last = 1}, back, end + kDay, ""), 101),
            "taken by a clock that had gone back");
}

TEST(Retention, AClockIsDoubtedForThirtyDaysAfterItLeapt) {
  const std::vector<Nanoseconds> steady = {kStart, kStart + kYear, kStart + 2 * kYear};
  EXPECT_EQ(doubt_about_clock(steady, kStart + 2 * kYear + kDay), "");
  EXPECT_NE(doubt_about_clock(steady, kStart + 2 * kYear - 1), "");
  EXPECT_NE(doubt_about_clock(steady, kStart + 4 * kYear), "");
  std::vector<Nanoseconds> leapt = steady;
  leapt.push_back(kStart + 12 * kYear);
  EXPECT_NE(doubt_about_clock(leapt, kStart + 12 * kYear + 29 * kDay), "");
  EXPECT_EQ(doubt_about_clock(leapt, kStart + 12 * kYear + 31 * kDay), "");
  EXPECT_EQ(doubt_about_clock({}, kStart), "");
  EXPECT_NE(doubt_about_clock({INT64_MIN, INT64_MAX}, 0), "");
}

TEST(Retention, ASnapshotMuchSmallerThanItsPredecessorBlocks) {
  struct Case {
    const char* name;
    std::uint64_t files, bytes, files_before, bytes_before;
    bool blocks;
  };
  const Case cases[] = {
      {"half of few files", 10, 0, 1000, 0, false},
      {"under half of many files", 500, 0, 1002, 0, true},
      {"half of many files", 501, 0, 1002, 0, false},
      {"nothing left of many bytes", 5, 0, 5, 200u << 20, true},
      {"half of many bytes", 5, 100u << 20, 5, 200u << 20, false},
      {"few bytes", 5, 0, 5, 100u << 20, false},
      {"larger", 9000, 1u << 30, 5000, 1u << 29, false},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.name);
    auto list = every(kDay, 10);
    for (Candidate& c : list) {
      c.files = each.files_before;
      c.bytes = each.bytes_before;
    }
    for (std::size_t i = 5; i < 10; ++i) {
      list[i].files = each.files;
      list[i].bytes = each.bytes;
    }
    const Thinning t = thinned({.last = 1}, list);
    EXPECT_EQ(!t.blocked.empty(), each.blocks);
    EXPECT_EQ(kept(t).size(), each.blocks ? 10u : 1u);
    if (!each.blocks) continue;
    EXPECT_EQ(t.shrunk, std::vector{id_of(6)});
    list[5].shrink_meant = true;
    EXPECT_EQ(kept(thinned({.last = 1}, list)).size(), 1u);
  }
}

TEST(Retention, DoesNotCompareSnapshotsThatThinningMadeNeighbours) {
  auto list = every(kDay, 2);
  list[0].files = 5000;
  list[1].files = 100;
  list[1].previous = id_of(99);
  EXPECT_EQ(thinned({.last = 1}, list).blocked, "");
}

// Random histories against counts made another way: from the set of what is kept.
class RandomHistory {
 public:
  explicit RandomHistory(std::uint64_t seed) : random_(seed) {
    static const char* const kZones[] = {"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata",
                                         "Pacific/Apia"};
    const std::string zone = kZones[pick(5)];
    Nanoseconds at = kStart + static_cast<Nanoseconds>(pick(1000)) * kHour;
    const std::size_t count = 1 + pick(120);
    for (std::size_t i = 0; i < count; ++i) {
      at += static_cast<Nanoseconds>(pick(2) == 0 ? pick(90) : pick(std::uint64_t{60} * 24 * 20)) *
            60 * kSecond;
      Candidate c = candidate(i + 1, at);
      c.zone = zone;
      c.partial = pick(5) == 0;
      c.pinned = pick(40) == 0;
      c.verified = pick(20) == 0;
      if (pick(30) == 0) c.tags = {"t"};
      list.push_back(c);
    }
    const auto some = [&] { return pick(3) == 0 ? pick(30) : 0; };
    rules = {.last = some(),
             .hourly = some(),
             .daily = some(),
             .weekly = some(),
             .monthly = some(),
             .yearly = some()};
    if (pick(3) == 0) rules.within = static_cast<Nanoseconds>(pick(100)) * kDay;
    if (pick(3) == 0) rules.tags = {"t"};
    if (rules.empty()) rules.last = 1;
  }

  // The newest of each of the newest `most` of what `key` calls different, counted by looking each
  // snapshot's successors through.
  [[nodiscard]] std::vector<bool> kept_by(
      std::uint64_t most, const std::function<std::string(const Candidate&)>& key) const {
    std::vector<std::string> keys;
    keys.reserve(list.size());
    for (const Candidate& c : list) keys.push_back(key(c));
    std::vector<bool> out;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::set<std::string> later(keys.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                        keys.end());
      out.push_back(!later.contains(keys[i]) && later.size() < most);
    }
    return out;
  }

  std::vector<Candidate> list;  // oldest first
  RetentionRules rules;

 private:
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  std::mt19937_64 random_;
};

// The first letters of an RFC 3339 time; hours with their offset.
std::function<std::string(const Candidate&)> letters(std::size_t count) {
  return [count](const Candidate& c) {
    const std::string text = to_rfc3339(c.zone, c.instant);
    return text.substr(0, count) + (count == 13 ? text.substr(19) : "");
  };
}

// The Monday of the week, found by going back a day at a time.
std::string monday(const Candidate& c) {
  std::int64_t offset = 0;
  [[maybe_unused]] const CivilTime civil = to_civil(c.zone, c.instant, &offset);
  std::int64_t day = (c.instant / kSecond + offset) / 86'400;
  while (day % 7 != 4) --day;  // day 4 was Monday 1970-01-05
  return std::to_string(day);
}

TEST(Retention, KeepsOfRandomHistoriesWhatAnIndependentCountKeeps) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    const RandomHistory h(seed);
    const Thinning t = thinned(h.rules, h.list);
    ASSERT_EQ(t.blocked, "");
    const auto ids = kept(t);
    const std::vector<bool> rules[] = {
        h.kept_by(h.rules.hourly, letters(13)), h.kept_by(h.rules.daily, letters(10)),
        h.kept_by(h.rules.weekly, monday), h.kept_by(h.rules.monthly, letters(7)),
        h.kept_by(h.rules.yearly, letters(4))};
    bool complete = false, verified = false;
    for (std::size_t i = h.list.size(); i-- > 0;) {
      const Candidate& c = h.list[i];
      bool keep = h.list.size() - i <= h.rules.last || c.pinned;
      keep = keep || (!c.partial && !complete) || (c.verified && !verified);
      complete = complete || !c.partial;
      verified = verified || c.verified;
      keep = keep || (h.rules.within > 0 && h.list.back().instant - c.instant < h.rules.within);
      keep = keep || (!h.rules.tags.empty() && !c.tags.empty());
      for (const auto& rule : rules) keep = keep || rule[i];
      ASSERT_EQ(ids.contains(c.id), keep) << "number " << c.sequence;
    }
  }
}

TEST(Retention, LetsNoMoreGoWithOneRuleMoreAndNothingWhenRunAgain) {
  for (std::uint64_t seed = 1000; seed < 1080; ++seed) {
    SCOPED_TRACE(seed);
    RandomHistory h(seed);
    const auto before = kept(thinned(h.rules, h.list));
    auto more = h.rules;
    ++(seed % 2 == 0 ? more.daily : more.monthly);
    const auto after = kept(thinned(more, h.list));
    EXPECT_TRUE(std::includes(after.begin(), after.end(), before.begin(), before.end()));
    std::erase_if(h.list, [&](const Candidate& c) { return !before.contains(c.id); });
    EXPECT_EQ(kept(thinned(h.rules, h.list)), before);
  }
}

}  // namespace
}  // namespace bygone::store
