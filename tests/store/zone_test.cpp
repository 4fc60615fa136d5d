// SPDX-License-Identifier: Apache-2.0
#include "store/zone.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace bygone::store {
namespace {

constexpr const char* kBerlin = "Europe/Berlin";

CivilTime civil(int year, unsigned month, unsigned day, unsigned hour, unsigned minute,
                unsigned second = 0) {
  return {year, month, day, hour, minute, second};
}

std::string text(const CivilTime& c) { return to_rfc3339("UTC", from_civil("UTC", c).value_or(0)); }

// 2024-10-27: at 01:00 UTC Berlin's clock goes from 03:00 back to 02:00.
constexpr Nanoseconds kFirstHalfPastTwo = 1729989000 * kSecond;
constexpr Nanoseconds kSecondHalfPastTwo = kFirstHalfPastTwo + 3600 * kSecond;
// 2024-03-31: at 01:00 UTC it goes from 02:00 to 03:00.
constexpr Nanoseconds kSpringForward = 1711846800 * kSecond;

TEST(Zone, ReadsTheClockOfAZone) {
  std::int64_t offset = 0;
  EXPECT_EQ(text(to_civil(kBerlin, 1710565032 * kSecond, &offset)), "2024-03-16T05:57:12+00:00");
  EXPECT_EQ(offset, 0 + 3600) << "the offset is Berlin's, though printed above as UTC";
  EXPECT_EQ(text(to_civil("UTC", 1710565032 * kSecond)), "2024-03-16T04:57:12+00:00");
}

TEST(Zone, RoundsInstantsBefore1970Down) {
  EXPECT_EQ(text(to_civil("UTC", -1)), "1969-12-31T23:59:59+00:00");
}

TEST(Zone, TreatsAnUnknownZoneAsUtc) {
  EXPECT_EQ(to_rfc3339("Moon/Tycho", 0), "1970-01-01T00:00:00+00:00");
  EXPECT_EQ(from_civil("Moon/Tycho", civil(1970, 1, 1, 0, 0)), Nanoseconds{0});
}

TEST(Zone, GivesTheInstantBackForEveryClockReading) {
  for (const char* zone : {kBerlin, "UTC", "America/St_Johns", "Asia/Kathmandu"}) {
    for (Nanoseconds t = 1700000000 * kSecond; t < 1733000000 * kSecond; t += 7919 * kSecond) {
      const auto first = from_civil(zone, to_civil(zone, t));
      const auto later = from_civil(zone, to_civil(zone, t), true);
      EXPECT_TRUE(first == t || later == t) << zone << " " << t;
    }
  }
}

TEST(Zone, TellsTheTwoPassesOfADoubledHourApart) {
  EXPECT_EQ(from_civil(kBerlin, civil(2024, 10, 27, 2, 30)), kFirstHalfPastTwo);
  EXPECT_EQ(from_civil(kBerlin, civil(2024, 10, 27, 2, 30), true), kSecondHalfPastTwo);
}

TEST(Zone, TakesTheChangeForAnHourThatDoesNotExist) {
  EXPECT_EQ(from_civil(kBerlin, civil(2024, 3, 31, 2, 30)), kSpringForward);
}

TEST(Zone, RefusesDatesThatNoCalendarHas) {
  for (const CivilTime& c :
       {civil(2023, 2, 29, 0, 0), civil(2024, 2, 30, 0, 0), civil(2024, 13, 1, 0, 0),
        civil(2024, 0, 1, 0, 0), civil(2024, 1, 1, 24, 0), civil(2024, 1, 1, 0, 60),
        civil(2024, 1, 1, 0, 0, 60), civil(1600, 1, 1, 0, 0), civil(2300, 1, 1, 0, 0)}) {
    EXPECT_FALSE(from_civil("UTC", c)) << c.year << "-" << c.month << "-" << c.day;
  }
}

TEST(Zone, NamesASnapshotByTheMinuteThenTheSecondThenACount) {
  const Nanoseconds t = 1710565032 * kSecond;
  std::vector<std::string> taken;
  for (const char* expected : {"2024-03-16T05:57", "2024-03-16T05:57:12", "2024-03-16T05:57:12.2",
                               "2024-03-16T05:57:12.3"}) {
    taken.push_back(make_listed_name(kBerlin, t, taken));
    EXPECT_EQ(taken.back(), expected);
  }
}

TEST(Zone, NamesTheSecondPassOfADoubledHourWithItsOffset) {
  std::vector<std::string> taken;
  EXPECT_EQ(make_listed_name(kBerlin, kFirstHalfPastTwo, taken), "2024-10-27T02:30");
  taken = {"2024-10-27T02:30"};
  for (const char* expected :
       {"2024-10-27T02:30+0100", "2024-10-27T02:30:00+0100", "2024-10-27T02:30:00.2+0100"}) {
    taken.push_back(make_listed_name(kBerlin, kSecondHalfPastTwo, taken));
    EXPECT_EQ(taken.back(), expected);
  }
}

TEST(Zone, WritesOffsetsAsRfc3339Does) {
  EXPECT_EQ(to_rfc3339(kBerlin, 1710565032 * kSecond), "2024-03-16T05:57:12+01:00");
  EXPECT_EQ(to_rfc3339("America/St_Johns", 1705000000 * kSecond), "2024-01-11T15:36:40-03:30");
}

class ZoneOfProcess : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* tz = std::getenv("TZ"); tz != nullptr) before_ = tz;
  }
  void TearDown() override {
    if (before_) {
      setenv("TZ", before_->c_str(), 1);
    } else {
      unsetenv("TZ");
    }
  }
  std::optional<std::string> before_;
};

TEST_F(ZoneOfProcess, FollowsTzInEachOfItsForms) {
  for (const char* tz : {"Europe/Berlin", ":Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin"}) {
    setenv("TZ", tz, 1);
    EXPECT_EQ(local_zone_name(), kBerlin) << tz;
  }
}

TEST_F(ZoneOfProcess, PassesOverATzThatNamesNoZone) {
  unsetenv("TZ");
  const std::string system = local_zone_name();
  EXPECT_FALSE(system.empty());
  setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  EXPECT_EQ(local_zone_name(), system);
}

}  // namespace
}  // namespace bygone::store
