// SPDX-License-Identifier: Apache-2.0
//
// The main function of the test programs: googletest's, but for the exit code 77 when a test was
// skipped and none failed. ctest runs a whole suite at once with a sanitizer, and is to see that.
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int code = RUN_ALL_TESTS();
  return code == 0 && testing::UnitTest::GetInstance()->skipped_test_count() > 0 ? 77 : code;
}
