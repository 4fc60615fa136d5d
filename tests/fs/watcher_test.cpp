// SPDX-License-Identifier: Apache-2.0
#include "fs/watcher.h"

#include <csignal>
#include <cstdio>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_folder.h"

namespace bygone::fs {
namespace {

// It reads the index, which may be damaged. A fault that was blocked would be the end of the mount,
// and of the next one.
TEST(Watcher, LeavesFaultsToTheirHandler) {
  const test::TempFolder folder;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGBUS, [](int /*signal*/) { ::_exit(7); });
    {
      const auto watcher = Watcher::start(folder / ".", [] { std::raise(SIGBUS); });
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

}  // namespace
}  // namespace bygone::fs
