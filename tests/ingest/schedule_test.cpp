// SPDX-License-Identifier: Apache-2.0
#include "ingest/schedule.h"

#include <set>

#include <gtest/gtest.h>

#include "store/zone.h"
#include "tests/support/expect.h"
#include "tests/support/torture.h"

namespace bygone::ingest {
namespace {

using test::value_of;

constexpr const char* kBerlin = "Europe/Berlin";
constexpr const char* kNewYork = "America/New_York";
constexpr const char* kLordHowe = "Australia/Lord_Howe";

// The instant at which a clock in `zone` shows "2024-03-16T05:57:12", seconds optional.
Nanoseconds at(const std::string& zone, const std::string& text) {
  store::CivilTime c;
  const int fields = std::sscanf(text.c_str(), "%d-%u-%uT%u:%u:%u", &c.year, &c.month, &c.day,
                                 &c.hour, &c.minute, &c.second);
  EXPECT_GE(fields, 5) << text;
  return store::from_civil(zone, c).value_or(-1);
}

struct Plan {
  const char* name;
  const char* schedule;
  const char* zone;
  const char* from;               // clock in `zone`
  std::vector<const char*> runs;  // the following ones
};

const Plan kPlans[] = {
    {"hourly", "@hourly", "UTC", "2024-01-01T00:00", {"2024-01-01T01:00:00+00:00"}},
    {"daily", "@daily", kBerlin, "2024-01-01T00:00", {"2024-01-02T00:00:00+01:00"}},
    {"weekly", "@weekly", "UTC", "2024-01-01T00:00", {"2024-01-07T00:00:00+00:00"}},
    {"monthly", "@monthly", "UTC", "2024-01-31T12:00", {"2024-02-01T00:00:00+00:00"}},
    {"yearly", "@Yearly", "UTC", "2024-01-31T12:00", {"2025-01-01T00:00:00+00:00"}},
    {"six fields begin with seconds",
     "*/20 0 3 * * *",
     "UTC",
     "2024-05-05T03:00:20",
     {"2024-05-05T03:00:40+00:00", "2024-05-06T03:00:00+00:00"}},
    {"lists, ranges and steps",
     "5,50 8-12/2 * * *",
     "UTC",
     "2024-05-05T08:06",
     {"2024-05-05T08:50:00+00:00", "2024-05-05T10:05:00+00:00", "2024-05-05T10:50:00+00:00",
      "2024-05-05T12:05:00+00:00", "2024-05-05T12:50:00+00:00", "2024-05-06T08:05:00+00:00"}},
    {"a step from a number goes to the end",
     "40/10 0 * * *",
     "UTC",
     "2024-05-05T00:00",
     {"2024-05-05T00:40:00+00:00", "2024-05-05T00:50:00+00:00", "2024-05-06T00:40:00+00:00"}},
    {"names of months and days",
     "0 2 * JAN-mar Mon",
     "UTC",
     "2024-03-20T00:00",
     {"2024-03-25T02:00:00+00:00", "2025-01-06T02:00:00+00:00"}},
    {"a week's end",
     "0 2 * * sat-sun",
     "UTC",
     "2024-05-03T00:00",
     {"2024-05-04T02:00:00+00:00", "2024-05-05T02:00:00+00:00", "2024-05-11T02:00:00+00:00"}},
    {"0 and 7 are Sunday",
     "0 2 * * 5-7",
     "UTC",
     "2024-05-02T00:00",
     {"2024-05-03T02:00:00+00:00", "2024-05-04T02:00:00+00:00", "2024-05-05T02:00:00+00:00",
      "2024-05-10T02:00:00+00:00"}},
    {"day or weekday when both are given",
     "0 0 13 * 5",
     "UTC",
     "2024-09-01T00:00",
     {"2024-09-06T00:00:00+00:00", "2024-09-13T00:00:00+00:00", "2024-09-20T00:00:00+00:00",
      "2024-09-27T00:00:00+00:00", "2024-10-04T00:00:00+00:00", "2024-10-11T00:00:00+00:00",
      "2024-10-13T00:00:00+00:00"}},
    {"day and weekday when one begins with a star",
     "0 0 */2 * 1",
     "UTC",
     "2024-09-01T00:00",
     {"2024-09-09T00:00:00+00:00", "2024-09-23T00:00:00+00:00"}},
    {"the 31st comes seven times a year",
     "0 0 31 * *",
     "UTC",
     "2024-01-31T00:00",
     {"2024-03-31T00:00:00+00:00", "2024-05-31T00:00:00+00:00"}},
    {"leap years",
     "0 0 29 2 *",
     "UTC",
     "2024-03-01T00:00",
     {"2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"}},
    {"a century without one",
     "0 0 29 2 *",
     "UTC",
     "2096-03-01T00:00",
     {"2104-02-29T00:00:00+00:00"}},
    {"a year's end", "59 23 31 12 *", "UTC", "2024-12-31T23:59", {"2025-12-31T23:59:00+00:00"}},
    {"an interval counts from 1970",
     "every 15m",
     "UTC",
     "2024-01-01T00:01",
     {"2024-01-01T00:15:00+00:00", "2024-01-01T00:30:00+00:00"}},
    {"an interval of seconds",
     " every  90s ",
     "UTC",
     "2024-01-01T00:00",
     {"2024-01-01T00:01:30+00:00", "2024-01-01T00:03:00+00:00"}},

    {"Berlin, a skipped time runs at the change",
     "30 2 * * *",
     kBerlin,
     "2024-03-30T03:00",
     {"2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"}},
    {"Berlin, many skipped times run once",
     "*/10 2 * * *",
     kBerlin,
     "2024-03-30T03:00",
     {"2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"}},
    {"Berlin, a doubled time runs once",
     "30 2 * * *",
     kBerlin,
     "2024-10-26T03:00",
     {"2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"}},
    {"Berlin, each real hour of a short day",
     "0 * * * *",
     kBerlin,
     "2024-03-31T00:30",
     {"2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00"}},
    {"Berlin, each real hour of a long day",
     "0 * * * *",
     kBerlin,
     "2024-10-27T00:30",
     {"2024-10-27T01:00:00+02:00", "2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00",
      "2024-10-27T03:00:00+01:00"}},
    {"Berlin, an interval takes no notice",
     "every 1h",
     kBerlin,
     "2024-03-31T00:30",
     {"2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00"}},
    {"New York, a skipped time",
     "15 2 * * *",
     kNewYork,
     "2024-03-09T12:00",
     {"2024-03-10T03:00:00-04:00", "2024-03-11T02:15:00-04:00"}},
    {"New York, a doubled time",
     "15 1 * * *",
     kNewYork,
     "2024-11-02T12:00",
     {"2024-11-03T01:15:00-04:00", "2024-11-04T01:15:00-05:00"}},
    {"New York, quarters of a doubled hour",
     "*/30 * * * *",
     kNewYork,
     "2024-11-03T00:45",
     {"2024-11-03T01:00:00-04:00", "2024-11-03T01:30:00-04:00", "2024-11-03T01:00:00-05:00",
      "2024-11-03T01:30:00-05:00", "2024-11-03T02:00:00-05:00"}},
    {"Lord Howe, half an hour is skipped",
     "15 2 * * *",
     kLordHowe,
     "2024-10-05T12:00",
     {"2024-10-06T02:30:00+11:00", "2024-10-07T02:15:00+11:00"}},
    {"Lord Howe, half an hour is doubled",
     "45 1 * * *",
     kLordHowe,
     "2024-04-06T12:00",
     {"2024-04-07T01:45:00+11:00", "2024-04-08T01:45:00+10:30"}},
    {"Lord Howe, hours go on",
     "45 * * * *",
     kLordHowe,
     "2024-04-07T01:00",
     {"2024-04-07T01:45:00+11:00", "2024-04-07T01:45:00+10:30", "2024-04-07T02:45:00+10:30"}},
    {"Sao Paulo, midnight itself is skipped",
     "@daily",
     "America/Sao_Paulo",
     "2018-11-03T12:00",
     {"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
};

TEST(Schedule, RunsWhenItsTextSays) {
  for (const Plan& one : kPlans) {
    SCOPED_TRACE(one.name);
    const Schedule schedule = value_of(Schedule::parse(one.schedule, one.zone));
    Nanoseconds now = at(one.zone, one.from);
    for (const char* expected : one.runs) {
      now = schedule.next_after(now);
      EXPECT_EQ(store::to_rfc3339(one.zone, now), expected);
    }
  }
}

TEST(Schedule, LooksBackOnTheRunsThatItLookedForwardTo) {
  for (const Plan& one : kPlans) {
    SCOPED_TRACE(one.name);
    const Schedule schedule = value_of(Schedule::parse(one.schedule, one.zone));
    Nanoseconds now = at(one.zone, one.from);
    for (std::size_t i = 0; i < one.runs.size(); ++i) {
      const Nanoseconds next = schedule.next_after(now);
      ASSERT_GT(next, now);
      EXPECT_EQ(schedule.last_before(next), next);
      EXPECT_LE(schedule.last_before(next - 1), now);
      EXPECT_EQ(schedule.next_after(next - 1), next);
      EXPECT_EQ(schedule.next_after(schedule.last_before(next - 1)), next);
      EXPECT_EQ(schedule.interval_at(next - 1), next - schedule.last_before(next - 1));
      now = next;
    }
  }
}

TEST(Schedule, NeverRunsBackwardsThroughAYearOfChanges) {
  std::vector<const char*> zones = {kLordHowe};  // has the oddest change of all
  if (!test::kSanitized) zones.insert(zones.end(), {kBerlin, kNewYork});
  for (const char* text : {"30 2 * * *", "17 * * * *", "*/20 1-3 * * *", "0 0 * * 0"}) {
    for (const char* zone : zones) {
      const Schedule schedule = value_of(Schedule::parse(text, zone));
      const Nanoseconds end = at(zone, "2025-01-01T00:00");
      std::size_t runs = 0;
      for (Nanoseconds now = at(zone, "2024-01-01T00:00"); now < end; ++runs) {
        const Nanoseconds next = schedule.next_after(now);
        ASSERT_GT(next, now) << text << " " << zone;
        now = next;
      }
      EXPECT_GE(runs, 52U) << text << " " << zone;
    }
  }
}

TEST(Schedule, SaysWhatIsWrongAndInWhichColumn) {
  const struct {
    const char *text, *says;
  } cases[] = {
      {"", "is missing"},
      {"   ", "is missing"},
      {"@never", "column 1: no such word"},
      {"every", "column 1: 'every' takes one length"},
      {"every 5x", "column 7: '5x' is no length of time"},
      {"every m", "column 7"},
      {"every 0s", "column 7"},
      {"every 99999d", "column 7"},
      {"every 5 m", "column 9"},
      {"* * * *", "4 fields"},
      {"* * * * * * *", "column 13: 7 fields"},
      {"60 * * * *", "column 1: '60' is no minute, which is 0 to 59"},
      {"* 24 * * *", "column 3: '24' is no hour"},
      {"* * 0 * *", "column 5: '0' is no day, which is 1 to 31"},
      {"* * * 13 *", "column 7: '13' is no month"},
      {"* * * * 8", "column 9: '8' is no weekday"},
      {"* * * foo *", "column 7: 'foo' is no month"},
      {"1,,2 * * * *", "column 3: a minute is missing"},
      {"5-1 * * * *", "column 1: the range '5-1' runs backwards"},
      {"*/0 * * * *", "column 3: '0' is no step"},
      {"*/x * * * *", "column 3"},
      {"? * * * *", "column 1"},
      {"-1 * * * *", "column 1"},
      {"1-2-3 * * * *", "column 3"},
      {"0 0 31 2 *", "column 5: no month of the schedule has that day"},
      {"0 0 31 4,6,9,11 *", "column 5"},
      {"0 0 30 feb *", "column 5"},
      {"1\x1b * * * *", R"('1\x1b' is no minute)"},
      {"99999999999999999999 * * * *", "column 1"},
  };
  for (const auto& one : cases) {
    const auto schedule = Schedule::parse(one.text, "UTC");
    EXPECT_CODE(Code::invalid, schedule) << one.text;
    if (schedule.ok()) continue;
    EXPECT_NE(schedule.error().message.find(one.says), std::string::npos)
        << "'" << one.text << "' says: " << schedule.error().message;
  }
  EXPECT_CODE(Code::invalid, Schedule::parse("@daily", "Moon/Tycho"));
}

TEST(Schedule, ShiftsEveryRunByItsJitter) {
  const Schedule daily = value_of(Schedule::parse("@daily", kBerlin));
  const Schedule later = daily.shifted(90 * kSecond);
  const Nanoseconds noon = at(kBerlin, "2024-01-01T12:00");
  EXPECT_EQ(later.next_after(noon), daily.next_after(noon) + 90 * kSecond);
  EXPECT_EQ(later.last_before(noon), daily.last_before(noon) + 90 * kSecond);
  EXPECT_EQ(later.next_after(at(kBerlin, "2024-01-02T00:00:30")),
            at(kBerlin, "2024-01-02T00:01:30"));
  EXPECT_EQ(later.last_before(at(kBerlin, "2024-01-02T00:00:30")),
            at(kBerlin, "2024-01-01T00:01:30"));
}

TEST(Schedule, SpreadsSourcesEvenlyAndAlwaysTheSame) {
  constexpr Nanoseconds kBound = 600 * kSecond;
  std::set<Nanoseconds> minutes;
  for (int i = 0; i < 1000; ++i) {
    const Nanoseconds jitter = jitter_of(7, "source" + std::to_string(i), kBound);
    EXPECT_GE(jitter, 0);
    EXPECT_LT(jitter, kBound);
    EXPECT_EQ(jitter, jitter_of(7, "source" + std::to_string(i), kBound));
    minutes.insert(jitter / (60 * kSecond));
  }
  EXPECT_EQ(minutes.size(), 10U) << "a minute of the ten has none of a thousand sources";
  EXPECT_NE(jitter_of(7, "db", kBound), jitter_of(8, "db", kBound));
  EXPECT_EQ(jitter_of(7, "db", 0), 0);
}

}  // namespace
}  // namespace bygone::ingest
