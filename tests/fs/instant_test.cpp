// SPDX-License-Identifier: Apache-2.0
#include "fs/instant.h"

#include <random>

#include <gtest/gtest.h>

#include "store/zone.h"

namespace bygone::fs {
namespace {

constexpr const char* kBerlin = "Europe/Berlin";

Nanoseconds at(int year, unsigned month, unsigned day, unsigned hour, unsigned minute,
               unsigned second = 0, bool later = false) {
  return store::from_civil(kBerlin, {year, month, day, hour, minute, second}, later).value_or(0);
}

InstantPoint point(Nanoseconds instant, const std::string& name, std::uint8_t id = 0) {
  InstantPoint out{name, kBerlin, instant, {}};
  out.id.bytes[0] = id;
  return out;
}

// The card's history, with a second snapshot in one minute and two in one second.
std::vector<InstantPoint> history() {
  return {
      point(at(2024, 3, 15, 22, 0), "2024-03-15T22:00", 0x1a),
      point(at(2024, 3, 16, 4, 57, 3), "2024-03-16T04:57", 0x1b),
      point(at(2024, 3, 16, 5, 57, 12), "2024-03-16T05:57", 0x2c),
      point(at(2024, 3, 16, 5, 57, 40), "2024-03-16T05:57:40", 0x3d),
      point(at(2024, 3, 16, 5, 57, 40) + 5, "2024-03-16T05:57:40.2", 0x4e),
      point(at(2024, 3, 16, 6, 57, 1), "2024-03-16T06:57", 0x5f),
  };
}

const Nanoseconds kNow = at(2024, 3, 16, 8, 0);

// The listed name that a spelling leads to, "nothing", or "error".
std::string lead(const std::string& spelling, const std::vector<InstantPoint>& points = history(),
                 Nanoseconds now = kNow) {
  const auto found = resolve_instant(spelling, points, now);
  if (!found.ok()) return "error";
  return *found ? points[**found].listed_name : "nothing";
}

TEST(Instant, LeadsEverySpellingToItsSnapshot) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      // the listed name in any notation
      {"2024-03-16T05:57", "2024-03-16T05:57"},
      {"2024-03-16T05-57", "2024-03-16T05:57"},
      {"20240316T0557", "2024-03-16T05:57"},
      {"2024-03-16t05:57", "2024-03-16T05:57"},
      {"20240316T055740", "2024-03-16T05:57:40"},
      {"2024-03-16T05-57-40", "2024-03-16T05:57:40"},
      {"2024-03-16T05:57:40.2", "2024-03-16T05:57:40.2"},
      {"20240316T055740.2", "2024-03-16T05:57:40.2"},
      // periods: the newest at or before their end
      {"2024-03-16", "2024-03-16T06:57"},
      {"20240316", "2024-03-16T06:57"},
      {"2024-03-15", "2024-03-15T22:00"},
      {"2024-03-16T05", "2024-03-16T05:57:40.2"},
      {"2024-03-16T06:20", "2024-03-16T05:57:40.2"},
      {"2024-03-16T05:56", "2024-03-16T04:57"},
      {"2024-03-16T05:57:00", "2024-03-16T04:57"},
      {"2024-03-16T05:57:12", "2024-03-16T05:57"},
      {"2024-03-16T05:57:39", "2024-03-16T05:57"},
      {"2024-03-16T05:57:12.5", "2024-03-16T05:57"},
      {"2024-03-14", "nothing"},
      // absolute
      {"2024-03-16T05:57:12+01:00", "2024-03-16T05:57"},
      {"2024-03-16T05:57:11.999999999+01:00", "2024-03-16T04:57"},
      {"2024-03-16T04:57:12Z", "2024-03-16T05:57"},
      {"2024-03-16T04:57:12z", "2024-03-16T05:57"},
      {"2024-03-15T23:57:12-05:00", "2024-03-16T05:57"},
      {"2024-03-15T23-57-12-0500", "2024-03-16T05:57"},
      {"2024-03-15T23-56-05:00", "2024-03-16T04:57"},
      {"2024-03-15T23-57-0500", "2024-03-16T05:57:40.2"},
      {"20240316T0457Z", "2024-03-16T05:57:40.2"},
      {"20240316T0557+0100", "2024-03-16T05:57:40.2"},
      {"2024-03-16T04Z", "2024-03-16T05:57:40.2"},
      {"2024-03-16T05-0100", "2024-03-16T06:57"},
      {"@GMT-2024.03.16-04.57.12", "2024-03-16T05:57"},
      {"@GMT-2024.03.16-04.57.11", "2024-03-16T04:57"},
      // days and ages
      {"today", "2024-03-16T06:57"},
      {"yesterday", "2024-03-15T22:00"},
      {"3600s-ago", "2024-03-16T06:57"},
      {"62m-ago", "2024-03-16T06:57"},
      {"63m-ago", "2024-03-16T05:57:40.2"},
      {"3h-ago", "2024-03-16T04:57"},
      {"1d-ago", "nothing"},
      {"1w-ago", "nothing"},
      // by order and identity
      {"latest", "2024-03-16T06:57"},
      {"latest~0", "2024-03-16T06:57"},
      {"latest~2", "2024-03-16T05:57:40"},
      {"latest~5", "2024-03-15T22:00"},
      {"latest~6", "nothing"},
      {"id:2c", "2024-03-16T05:57"},
      {"id:2C00", "2024-03-16T05:57"},
      {"id:5f000000000000000000000000000000", "2024-03-16T06:57"},
      {"id:ff", "nothing"},
      {"id:1", "error"},  // two ids begin so
  };
  for (const auto& [spelling, expected] : cases) EXPECT_EQ(lead(spelling), expected) << spelling;
}

TEST(Instant, RefusesWhatIsNoInstant) {
  for (const char* text : {"",
                           "2024",
                           "2024-03",
                           "2024-3-16",
                           "2024-02-30",
                           "2023-02-29",
                           "2024-13-01",
                           "20240230",
                           "2024-03-16T",
                           "2024-03-16T5",
                           "2024-03-16T24:00",
                           "2024-03-16T05:60",
                           "2024-03-16T05:5",
                           "2024-03-16T05:57:60",
                           "2024-03-16T05:57:12.",
                           "2024-03-16T05:57:12.1234567890",
                           "2024-03-16T05:57x",
                           "2024-03-16 05:57",
                           "2024-03-16T05:57+1",
                           "2024-03-16T05:57+24:00",
                           "2024-03-16T05:57+01:60",
                           "2024-03-16T0557",
                           "20240316T05:57",
                           "20240316T05577",
                           "20240316T",
                           "2024-03-16T05:57:",
                           "2024-03-16T05:57:12:30",
                           "2024-03-16T05-57:12",
                           "Today",
                           "h-ago",
                           "2-ago",
                           "2y-ago",
                           "2h",
                           "2h-agox",
                           "-2h-ago",
                           "9999999999s-ago",
                           "999999999w-ago",
                           "latest~",
                           "latest~x",
                           "latest~-1",
                           "latest~99999999999",
                           "latestx",
                           "id:",
                           "id:xyz",
                           "id:5f0000000000000000000000000000000",
                           "@GMT-2024.03.16-04.57",
                           "@GMT-2024.13.16-04.57.12",
                           "@GMT-2024.03.16_04.57.12",
                           "@groups",
                           ".hg",
                           "1600-01-01",
                           "9999-12-31"}) {
    EXPECT_FALSE(is_instant(text)) << text;
    EXPECT_EQ(lead(text), "error") << text;
  }
}

TEST(Instant, FindsNothingWhereThereIsNoSnapshot) {
  for (const char* text : {"latest", "today", "2h-ago", "2024-03-16", "id:1a"}) {
    EXPECT_EQ(lead(text, {}), "nothing") << text;
  }
}

TEST(Instant, CountsADoubledHourToTheEndOfItsSecondPass) {
  const std::vector<InstantPoint> points = {
      point(at(2024, 10, 27, 1, 59), "2024-10-27T01:59"),
      point(at(2024, 10, 27, 2, 10), "2024-10-27T02:10"),
      point(at(2024, 10, 27, 2, 40), "2024-10-27T02:40"),
      point(at(2024, 10, 27, 2, 10, 0, true), "2024-10-27T02:10+0100"),
      point(at(2024, 10, 27, 2, 50, 0, true), "2024-10-27T02:50"),
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"2024-10-27T01:59", "2024-10-27T01:59"},
      {"2024-10-27T01", "2024-10-27T01:59"},
      {"2024-10-27T02:10", "2024-10-27T02:10"},
      {"2024-10-27T02:10+0100", "2024-10-27T02:10+0100"},
      {"2024-10-27T02-10+01:00", "2024-10-27T02:10+0100"},
      {"2024-10-27T02:10+0200", "2024-10-27T02:10"},
      {"2024-10-27T02:45", "2024-10-27T02:10+0100"},
      {"2024-10-27T02:45+02:00", "2024-10-27T02:40"},
      {"2024-10-27T02", "2024-10-27T02:50"},
      {"2024-10-27T03:00", "2024-10-27T02:50"},
  };
  for (const auto& [spelling, expected] : cases) {
    EXPECT_EQ(lead(spelling, points), expected) << spelling;
  }
}

TEST(Instant, EndsAMissingHourAtTheChangeOfTheClock) {
  const std::vector<InstantPoint> points = {point(at(2024, 3, 31, 1, 59), "2024-03-31T01:59"),
                                            point(at(2024, 3, 31, 3, 0), "2024-03-31T03:00")};
  EXPECT_EQ(lead("2024-03-31T02:30", points), "2024-03-31T01:59");
  EXPECT_EQ(lead("2024-03-31T02", points), "2024-03-31T01:59");
  EXPECT_EQ(lead("2024-03-31T03:00", points), "2024-03-31T03:00");
}

TEST(Instant, ReadsPeriodsOnTheClockOfEachSnapshot) {
  std::vector<InstantPoint> points = {point(at(2024, 3, 16, 1, 0), "2024-03-16T01:00")};
  EXPECT_EQ(lead("2024-03-15", points), "nothing") << "01:00 in Berlin is the 16th";
  points[0].zone = "UTC";
  points[0].listed_name = "2024-03-16T00:00";
  EXPECT_EQ(lead("2024-03-16T00:00", points), "2024-03-16T00:00");
  points[0].zone = "America/New_York";
  points[0].listed_name = "2024-03-15T20:00";
  EXPECT_EQ(lead("2024-03-15", points), "2024-03-15T20:00");
}

// Whatever the times, zones and collisions: a listed name leads to its own snapshot, in each of
// its notations.
TEST(Instant, LeadsEveryListedNameToItsOwnSnapshot) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> zones = {kBerlin, "UTC", "America/St_Johns", "Asia/Kathmandu"};
  // Around the end of summer time, so that doubled hours are common.
  const Nanoseconds base = at(2024, 10, 27, 0, 30);
  for (int round = 0; round < 50; ++round) {
    std::vector<InstantPoint> points;
    std::vector<std::string> taken;
    Nanoseconds instant = base;
    const std::string& zone = zones[random() % zones.size()];
    for (int i = 0; i < 60; ++i) {
      instant += static_cast<Nanoseconds>(random() % 4 == 0 ? random() % (600 * kSecond)
                                                            : random() % (2 * kSecond));
      taken.push_back(store::make_listed_name(zone, instant, taken));
      points.push_back({taken.back(), zone, instant, {}});
    }
    for (std::string name : taken) {
      ASSERT_EQ(lead(name, points), name);
      const std::string expected = name;
      std::replace(name.begin(), name.end(), ':', '-');
      ASSERT_EQ(lead(name, points), expected) << name;
    }
  }
}

TEST(SnapshotPath, SplitsSourceInstantAndPath) {
  struct Case {
    const char* text;
    SnapshotPath expected;
  };
  const std::vector<Case> cases = {
      {"db", {"db", "latest", "", false}},
      {"db:", {"db", "latest", "", true}},
      {"db:pgdata/base", {"db", "latest", "pgdata/base", true}},
      {"db:/pgdata", {"db", "latest", "pgdata", true}},
      {"db@yesterday", {"db", "yesterday", "", false}},
      {"db@2024-03-16T05:57", {"db", "2024-03-16T05:57", "", false}},
      {"db@2024-03-16T05:57:pgdata", {"db", "2024-03-16T05:57", "pgdata", true}},
      {"db@2024-03-16T05:57:12", {"db", "2024-03-16T05:57:12", "", false}},
      {"db@2024-03-16T05:57:/12", {"db", "2024-03-16T05:57", "12", true}},
      {"db@2024-03-16T05:57:12+01:00:a:b", {"db", "2024-03-16T05:57:12+01:00", "a:b", true}},
      {"db@2024-03-16:a@b", {"db", "2024-03-16", "a@b", true}},
      {"db@id:1a2b:x", {"db", "id:1a2b", "x", true}},
      {"db@id:1a2b", {"db", "id:1a2b", "", false}},
      {"db@@GMT-2024.03.16-05.57.00:x", {"db", "@GMT-2024.03.16-05.57.00", "x", true}},
      {"db@latest~2:x", {"db", "latest~2", "x", true}},
      {"db+nas:x", {"db+nas", "latest", "x", true}},
      {"volume:data", {"volume:data", "latest", "", false}},
      {"volume:data@2h-ago:x", {"volume:data", "2h-ago", "x", true}},
      {"volume@latest:x", {"volume", "latest", "x", true}},
      {"db:///", {"db", "latest", "", true}},
  };
  for (const auto& [text, expected] : cases) {
    const auto got = parse_snapshot_path(text);
    ASSERT_TRUE(got.ok()) << text << ": " << got.error().message;
    EXPECT_EQ(got->source, expected.source) << text;
    EXPECT_EQ(got->instant, expected.instant) << text;
    EXPECT_EQ(got->path, expected.path) << text;
    EXPECT_EQ(got->has_path, expected.has_path) << text;
  }
}

TEST(SnapshotPath, RefusesWhatHasNoSourceOrNoInstant) {
  for (const char* text : {"", "@yesterday", ":x", "volume:", "volume:@latest", "db@", "db@:x",
                           "db@nonsense", "db@nonsense:x", "db@yesterdayx:y"}) {
    const auto got = parse_snapshot_path(text);
    ASSERT_FALSE(got.ok()) << text;
    EXPECT_EQ(got.error().code, Code::invalid) << text;
  }
}

}  // namespace
}  // namespace bygone::fs
