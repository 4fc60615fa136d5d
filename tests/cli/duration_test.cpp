// SPDX-License-Identifier: Apache-2.0
#include "cli/duration.h"

#include <gtest/gtest.h>

namespace bygone::cli {
namespace {

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
