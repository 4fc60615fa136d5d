// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/planner.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

constexpr Nanoseconds kMinute = 60 * kSecond;
constexpr Nanoseconds kHour = 60 * kMinute;
// 2024-03-16 00:00:00 UTC.
constexpr Nanoseconds kMidnight = Nanoseconds{1'710'547'200} * kSecond;

PlannedSource source(const std::string& key, const std::string& schedule, Nanoseconds last_begun,
                     const std::string& group = "") {
  auto parsed = Schedule::parse(schedule, "UTC");
  EXPECT_TRUE(parsed.ok());
  return {.key = key,
          .group = group,
          .schedule = *parsed,
          .last_begun = last_begun,
          .first_seen = kMidnight};
}

std::vector<std::string> keys_of(const std::vector<PlannedRun>& runs) {
  std::vector<std::string> keys;
  for (const PlannedRun& run : runs) keys.insert(keys.end(), run.keys.begin(), run.keys.end());
  return keys;
}

using Keys = std::vector<std::string>;

TEST(Planner, RunsASourceAtItsTimesAndNotBefore) {
  Planner planner(1);
  planner.set_sources({source("a", "0 * * * *", kMidnight)}, kMidnight);
  EXPECT_EQ(planner.next("a"), kMidnight + kHour);
  EXPECT_EQ(planner.wake(), kMidnight + kHour);
  EXPECT_TRUE(planner.take(kMidnight + kHour - 1).empty());
  const auto runs = planner.take(kMidnight + kHour);
  ASSERT_EQ(keys_of(runs), Keys{"a"});
  EXPECT_TRUE(planner.is_running("a"));
  EXPECT_FALSE(planner.next("a").has_value());
  planner.finished(runs[0], RunOutcome::done, kMidnight + kHour + kMinute);
  EXPECT_EQ(planner.next("a"), kMidnight + 2 * kHour);
}

TEST(Planner, NeverRunsASourceBesideItself) {
  Planner planner(1);
  planner.set_at_once(5);
  planner.set_sources({source("a", "every 1m", kMidnight)}, kMidnight);
  const auto runs = planner.take(kMidnight + kMinute);
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_TRUE(planner.take(kMidnight + 10 * kMinute).empty());
  planner.set_sources({source("a", "every 1m", kMidnight)}, kMidnight + 10 * kMinute);
  EXPECT_TRUE(planner.take(kMidnight + 10 * kMinute).empty());
  planner.finished(runs[0], RunOutcome::done, kMidnight + 10 * kMinute);
  // The nine that it missed meanwhile are one.
  EXPECT_EQ(planner.take(kMidnight + 10 * kMinute).size(), 1U);
  EXPECT_EQ(planner.running(), 1U);
}

TEST(Planner, CatchesUpOnceAfterAPause) {
  Planner planner(1);
  const Nanoseconds later = kMidnight + 72 * kHour + 5 * kMinute;
  planner.set_sources({source("a", "@hourly", kMidnight)}, later);
  const auto runs = planner.take(later);
  ASSERT_EQ(runs.size(), 1U);
  planner.finished(runs[0], RunOutcome::done, later + kSecond);
  EXPECT_TRUE(planner.take(later + kMinute).empty());
  EXPECT_EQ(planner.next("a"), kMidnight + 73 * kHour);
}

TEST(Planner, RunsWhatWasNeverBackedUpSoonAndNotAtItsNextTime) {
  Planner planner(1);
  planner.set_sources({source("new", "@daily", 0)}, kMidnight);
  EXPECT_TRUE(planner.take(kMidnight + kSecond).empty());  // it has just been made
  EXPECT_EQ(keys_of(planner.take(kMidnight + 3 * kSecond)), Keys{"new"});
}

TEST(Planner, RunsNothingWithoutASchedule) {
  Planner planner(1);
  planner.set_sources({{.key = "a"}}, kMidnight);
  EXPECT_TRUE(planner.take(kMidnight + 1000 * kHour).empty());
  EXPECT_FALSE(planner.wake().has_value());
}

TEST(Planner, BoundsHowManyRunAtOnceAndTakesTheLongestDueFirst) {
  Planner planner(1);
  planner.set_at_once(2);
  const Nanoseconds at = kMidnight + 30 * kHour;
  planner.set_sources({source("daily", "@daily", kMidnight), source("minutely", "every 1m", at - 1),
                       source("hourly", "@hourly", at - 2 * kHour)},
                      at);
  const auto first = planner.take(at + kMinute);
  EXPECT_EQ(keys_of(first), (Keys{"daily", "hourly"}));
  EXPECT_TRUE(planner.take(at + kMinute).empty());
  planner.finished(first[1], RunOutcome::done, at + kMinute);
  EXPECT_EQ(keys_of(planner.take(at + kMinute)), Keys{"minutely"});
}

TEST(Planner, RunsTheMembersOfAGroupTogether) {
  Planner planner(1);
  planner.set_at_once(1);
  planner.set_sources(
      {source("db", "@hourly", kMidnight, "shop"), source("app", "@daily", kMidnight, "shop"),
       source("x", "@daily", kMidnight)},
      kMidnight);
  EXPECT_EQ(planner.next("app"), kMidnight + kHour);
  const auto runs = planner.take(kMidnight + kHour);
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].group, "shop");
  EXPECT_EQ(runs[0].keys, (Keys{"app", "db"}));
  EXPECT_TRUE(planner.is_running("app"));
}

TEST(Planner, TriesAgainAfterAFailureLaterEachTime) {
  Planner planner(1);
  planner.set_sources({source("a", "@daily", kMidnight)}, kMidnight);
  Nanoseconds now = kMidnight + 24 * kHour;
  std::vector<Nanoseconds> waits;
  for (int i = 0; i < 8; ++i) {
    const auto runs = planner.take(now);
    ASSERT_EQ(runs.size(), 1U) << i;
    planner.finished(runs[0], RunOutcome::failed, now);
    ASSERT_TRUE(planner.next("a").has_value());
    waits.push_back((*planner.next("a") - now) / kSecond);
    EXPECT_TRUE(planner.take(*planner.next("a") - 1).empty());
    now = *planner.next("a");
  }
  EXPECT_EQ(waits, (std::vector<Nanoseconds>{30, 60, 120, 240, 480, 960, 1800, 1800}));
  const auto runs = planner.take(now);
  ASSERT_EQ(runs.size(), 1U);
  planner.finished(runs[0], RunOutcome::done, now);
  EXPECT_EQ(planner.next("a"), kMidnight + 48 * kHour);
}

// Each try freezes those of the group that are well.
TEST(Planner, TriesAGroupThatLacksAMemberAFewTimesOnly) {
  Planner planner(1);
  planner.set_sources(
      {source("app", "@daily", kMidnight, "shop"), source("db", "@daily", kMidnight, "shop")},
      kMidnight);
  Nanoseconds now = kMidnight + 24 * kHour;
  std::vector<Nanoseconds> waits;
  for (int i = 0; i < 5; ++i) {
    const auto runs = planner.take(now);
    ASSERT_EQ(runs.size(), 1U) << i;
    planner.finished(runs[0], RunOutcome::partly, now);
    waits.push_back((*planner.next("db") - now) / kSecond);
    now = *planner.next("db");
  }
  EXPECT_EQ(waits, (std::vector<Nanoseconds>{30, 60, 120, 86'400 - 210, 30}));
}

// While the engine is away all fail. Then the one that fails still has its tries.
TEST(Planner, CountsNoFailureOfAWholeGroupAsATryForAMember) {
  Planner planner(1);
  planner.set_sources(
      {source("app", "@daily", kMidnight, "shop"), source("db", "@daily", kMidnight, "shop")},
      kMidnight);
  Nanoseconds now = kMidnight + 24 * kHour;
  std::vector<Nanoseconds> waits;
  for (int i = 0; i < 8; ++i) {
    const auto runs = planner.take(now);
    ASSERT_EQ(runs.size(), 1U) << i;
    const bool all = i < 3 || i == 5;
    planner.finished(runs[0], all ? RunOutcome::failed : RunOutcome::partly, now);
    planner.set_sources(
        {source("app", "@daily", kMidnight, "shop"), source("db", "@daily", kMidnight, "shop")},
        now);
    waits.push_back((*planner.next("db") - now) / kSecond);
    now = *planner.next("db");
  }
  const Nanoseconds tomorrow = 86'400 - (30 + 60 + 120 + 240 + 480 + 960 + 1800);
  EXPECT_EQ(waits, (std::vector<Nanoseconds>{30, 60, 120, 240, 480, 960, 1800, tomorrow}));
}

TEST(Planner, WaitsWithAFirstBackupThatFailed) {
  Planner planner(1);
  planner.set_sources({source("a", "@daily", 0)}, kMidnight);
  const Nanoseconds now = kMidnight + kMinute;
  const auto runs = planner.take(now);
  ASSERT_EQ(runs.size(), 1U);
  planner.finished(runs[0], RunOutcome::failed, now);
  planner.set_sources({source("a", "@daily", 0)}, now);  // an event
  EXPECT_TRUE(planner.take(now + 29 * kSecond).empty());
  EXPECT_EQ(planner.take(now + 30 * kSecond).size(), 1U);
}

TEST(Planner, TriesSoonerWhenTheScheduleSaysSo) {
  Planner planner(1);
  planner.set_sources({source("a", "every 10s", kMidnight)}, kMidnight);
  const auto runs = planner.take(kMidnight + 10 * kSecond);
  ASSERT_EQ(runs.size(), 1U);
  planner.finished(runs[0], RunOutcome::failed, kMidnight + 11 * kSecond);
  EXPECT_EQ(planner.next("a"), kMidnight + 20 * kSecond);
}

TEST(Planner, PutsOffWhatSomebodyElseBacksUpWithoutCountingItAsFailed) {
  Planner planner(1);
  planner.set_sources({source("a", "@daily", kMidnight)}, kMidnight);
  Nanoseconds now = kMidnight + 24 * kHour;
  for (int i = 0; i < 5; ++i) {
    const auto runs = planner.take(now);
    ASSERT_EQ(runs.size(), 1U);
    planner.finished(runs[0], RunOutcome::put_off, now);
    EXPECT_EQ(planner.next("a"), now + 30 * kSecond);
    now += 30 * kSecond;
  }
}

TEST(Planner, DoesNotWaitForAClockThatWentBack) {
  Planner planner(1);
  const Nanoseconds future = kMidnight + Nanoseconds{365} * 24 * kHour;
  planner.set_sources({source("a", "@hourly", future)}, future);
  EXPECT_EQ(planner.next("a"), future + kHour);
  EXPECT_TRUE(planner.take(kMidnight + kMinute).empty());
  EXPECT_EQ(planner.next("a"), kMidnight + kHour);
  EXPECT_EQ(planner.take(kMidnight + kHour).size(), 1U);
}

TEST(Planner, RunsOnceWhenTheClockLeapsAhead) {
  Planner planner(1);
  planner.set_sources({source("a", "every 1m", kMidnight)}, kMidnight);
  const Nanoseconds ahead = kMidnight + 1000 * kHour;
  const auto runs = planner.take(ahead);
  ASSERT_EQ(runs.size(), 1U);
  planner.finished(runs[0], RunOutcome::done, ahead + kSecond);
  EXPECT_TRUE(planner.take(ahead + 59 * kSecond).empty());
  // And back again.
  EXPECT_TRUE(planner.take(kMidnight + 30 * kSecond).empty());
  EXPECT_EQ(planner.take(kMidnight + kMinute).size(), 1U);
}

TEST(Planner, TakesUpAChangedSchedule) {
  Planner planner(1);
  planner.set_sources({source("a", "@daily", kMidnight)}, kMidnight + kHour);
  EXPECT_EQ(planner.next("a"), kMidnight + 24 * kHour);
  planner.set_sources({source("a", "every 90m", kMidnight)}, kMidnight + kHour);
  EXPECT_EQ(planner.next("a"), kMidnight + 90 * kMinute);
}

TEST(Planner, ForgetsWhatIsGoneAndLetsItsRunEnd) {
  Planner planner(1);
  planner.set_sources({source("a", "every 1m", kMidnight)}, kMidnight);
  const auto runs = planner.take(kMidnight + kMinute);
  ASSERT_EQ(runs.size(), 1U);
  planner.set_sources({source("b", "every 1m", kMidnight)}, kMidnight + kMinute);
  EXPECT_EQ(planner.running(), 1U);
  EXPECT_TRUE(planner.take(kMidnight + kMinute).empty());  // one at once
  planner.finished(runs[0], RunOutcome::done, kMidnight + 2 * kMinute);
  EXPECT_EQ(keys_of(planner.take(kMidnight + 2 * kMinute)), Keys{"b"});
}

TEST(Planner, SpreadsSourcesByTheirJitterAlwaysTheSameWay) {
  Planner planner(7), again(7);
  std::vector<PlannedSource> sources;
  for (int i = 0; i < 50; ++i) {
    sources.push_back(source("s" + std::to_string(i), "@hourly", kMidnight + kHour / 2));
    sources.back().jitter = 10 * kMinute;
  }
  planner.set_sources(sources, kMidnight + kHour / 2);
  again.set_sources(sources, kMidnight + kHour / 2);
  std::set<Nanoseconds> times;
  for (const PlannedSource& one : sources) {
    const auto next = planner.next(one.key);
    ASSERT_TRUE(next.has_value());
    EXPECT_GE(*next, kMidnight + kHour);
    EXPECT_LT(*next, kMidnight + kHour + 10 * kMinute);
    EXPECT_EQ(next, again.next(one.key));
    times.insert(*next);
  }
  EXPECT_GT(times.size(), 40U);
}

}  // namespace
}  // namespace bygone::ingest
