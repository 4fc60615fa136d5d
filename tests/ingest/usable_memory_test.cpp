// SPDX-License-Identifier: Apache-2.0
#include "ingest/usable_memory.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

class UsableMemory : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    const std::filesystem::path whole = folder_.path() + path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text << "\n";
  }
  test::TempFolder folder_;
};

TEST_F(UsableMemory, IsWhatTheControlGroupAllows) {
  put("/proc/self/cgroup", "0::/system.slice/bygone.service");
  EXPECT_EQ(memory_limit(folder_.path()), UINT64_MAX);
  put("/sys/fs/cgroup/system.slice/bygone.service/memory.max", "max");
  EXPECT_EQ(memory_limit(folder_.path()), UINT64_MAX);
  put("/sys/fs/cgroup/system.slice/memory.max", "3000000");
  EXPECT_EQ(memory_limit(folder_.path()), 3'000'000U);
  put("/sys/fs/cgroup/system.slice/bygone.service/memory.max", "2000000");
  EXPECT_EQ(memory_limit(folder_.path()), 2'000'000U);
}

TEST_F(UsableMemory, IsThatOfVersionOneToo) {
  put("/proc/self/cgroup", "5:devices:/docker/1234\n4:memory:/docker/1234\n0::/");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "5000000");  // of a container, seen in it
  EXPECT_EQ(memory_limit(folder_.path()), 5'000'000U);
  put("/sys/fs/cgroup/memory/docker/1234/memory.limit_in_bytes", "4000000");
  EXPECT_EQ(memory_limit(folder_.path()), 4'000'000U);
}

TEST_F(UsableMemory, HasNoLimitWhereNoneCanBeSeen) {
  EXPECT_EQ(memory_limit(folder_.path()), UINT64_MAX);
  put("/proc/self/cgroup", "\n:\n::\n0::\nnonsense");
  EXPECT_EQ(memory_limit(folder_.path()), UINT64_MAX);
  EXPECT_GT(usable_memory(), 0U);
  EXPECT_LT(usable_memory(), UINT64_MAX);
}

}  // namespace
}  // namespace bygone::ingest
