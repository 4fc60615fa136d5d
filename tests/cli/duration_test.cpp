// SPDX-License-Identifier: Apache-2.0
#include "cli/duration.h"

#include <gtest/gtest.h>

namespace bygone::cli {
namespace {

TEST(Duration, ReadsWhatIsTyped) {
  constexpr Nanoseconds kDay = 86'400 * kSecond;
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

TEST(Duration, RetriesOnlyWhatIsBusyAndOnlyForSoLong) {
  const std::atomic<bool> no{false}, yes{true};
  int calls = 0;
  const auto busy = [&]() -> Result<void> {
    ++calls;
    return Error{Code::busy, 0, ""};
  };
  EXPECT_FALSE(retry_while_busy(0, no, busy).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(retry_while_busy(kSecond, yes, busy).ok());
  EXPECT_EQ(calls, 2);
  const auto later = [&]() -> Result<int> {
    if (++calls < 4) return Error{Code::busy, 0, ""};
    return calls;
  };
  EXPECT_EQ(retry_while_busy(600 * kSecond, no, later).value(), 4);
  const auto broken = [&]() -> Result<int> {
    ++calls;
    return Error{Code::io, 0, ""};
  };
  EXPECT_FALSE(retry_while_busy(600 * kSecond, no, broken).ok());
  EXPECT_EQ(calls, 5);
}

}  // namespace
}  // namespace bygone::cli
