// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <gtest/gtest.h>

namespace bygone::cli {
namespace {

ProgressState half() {
  ProgressState state;
  state.files_done = 1234;
  state.files_total = 3300;
  state.bytes_done = 1ULL << 30;
  state.bytes_total = 2ULL << 30;
  return state;
}

TEST(Progress, SaysHowFarHowFastAndHowLong) {
  EXPECT_EQ(progress_text(half(), 42),
            "[0:42] 50.0 %, 1,234 of 3,300 files, 1.0 GiB of 2.0 GiB, 24.4 MiB/s, 0:42 left");
}

TEST(Progress, PromisesNothingWhileTheTotalIsUnknown) {
  ProgressState state = half();
  state.totals_known = false;
  state.phase = "db frozen:";
  EXPECT_EQ(progress_text(state, 42), "[0:42] db frozen: 1,234 files, 1.0 GiB, 24.4 MiB/s");
}

TEST(Progress, EndsAtAHundredPercentAndNotBefore) {
  ProgressState state = half();
  state.bytes_done = state.bytes_total;
  EXPECT_LT(fraction_done(state), 1);
  EXPECT_EQ(progress_text(state, 60).find("100.0 %"), std::string::npos);
  state.files_done = state.files_total;
  EXPECT_EQ(fraction_done(state), 1);
  EXPECT_EQ(progress_text(state, 3661), "[1:01:01] 100.0 %, 3,300 files, 2.0 GiB, 573 KiB/s");
  EXPECT_EQ(fraction_done(ProgressState{}), 1);
}

TEST(Progress, CountsFilesWhereThereAreNoBytes) {
  ProgressState state;
  state.files_done = 1;
  state.files_total = 4;
  state.noun = "object";
  EXPECT_EQ(progress_text(state, 1), "[0:01] 25.0 %, 1 of 4 objects");
}

}  // namespace
}  // namespace bygone::cli
