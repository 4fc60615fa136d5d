// SPDX-License-Identifier: Apache-2.0
#include "ingest/duration.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

TEST(Duration, ReadsWhatIsTyped) {
  const std::pair<const char*, Nanoseconds> cases[] = {
      {"90s", 90 * kSecond},      {"5m", 300 * kSecond},      {"36h", kDay + kDay / 2},
      {"7d", 7 * kDay},           {"2w", 14 * kDay},          {"1y", 365 * kDay},
      {"1d12h", kDay + kDay / 2}, {"200y", 200 * 365 * kDay},
  };
  for (const auto& [text, length] : cases) EXPECT_EQ(parse_duration(text), length) << text;
}

TEST(Duration, RefusesEverythingElse) {
  for (const char* text : {"", "0s", "5", "d", "-1d", "1 d", "1.5h", "1month", "201y", "d5",
                           "99999999999999999999d", "1000000000y", "100y101y"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Duration, ReadsPartsOfASecond) {
  using std::chrono::milliseconds;
  const std::pair<const char*, int> cases[] = {{"500ms", 500}, {"2.5s", 2500},     {"10", 10'000},
                                               {"1m", 60'000}, {"60m", 3'600'000}, {"1ms", 1}};
  for (const auto& [text, length] : cases) {
    EXPECT_EQ(parse_short_duration(text), milliseconds(length)) << text;
  }
  for (const char* text : {"", "0", "0.1ms", "61m", "1h", "-1s", "1 s", ".", "1.2.3s", "nan", "inf",
                           "1e3s", "0x10s", "99999999999999999999999999s"}) {
    EXPECT_EQ(parse_short_duration(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace bygone::ingest
