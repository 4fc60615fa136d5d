// SPDX-License-Identifier: Apache-2.0
#include "fs/mountpoint.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "fs/mount.h"
#include "tests/support/temp_folder.h"

namespace bygone::fs {
namespace {

namespace stdfs = std::filesystem;

TEST(MountTable, ReadsLinesWithTagsAndEscapedPaths) {
  const auto lines = parse_mountinfo(
      "22 28 0:21 / /proc rw,nosuid shared:12 master:3 - proc proc rw\n"
      "90 28 0:67 / /mnt/my\\040backups\\134x ro - fuse.bygone bygone ro,user_id=0\n"
      "91 28 0:68 / /plain rw - ext4 /dev/sda rw\n"
      "broken line\n"
      "92 28 0:69 / /cut rw -\n");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].type, "proc");
  EXPECT_EQ(lines[1].path, "/mnt/my backups\\x");
  EXPECT_EQ(lines[1].type, kMountType);
  EXPECT_EQ(lines[1].device, "0:67");
  EXPECT_EQ(lines[2].path, "/plain");
}

TEST(MountTable, FindsTheMountThatIsSeenAtAPath) {
  const auto proc = mount_at("/proc");
  ASSERT_TRUE(proc.ok());
  ASSERT_TRUE(proc->has_value());
  EXPECT_EQ((*proc)->type, "proc");
  EXPECT_FALSE((*mount_at("/proc/self")).has_value());
}

class MountpointTest : public testing::Test {
 protected:
  void SetUp() override {
    repository_ = folder_.path() + "/repository";
    stdfs::create_directories(repository_ + "/packs/00");
    stdfs::create_directories(folder_.path() + "/elsewhere");
  }
  Code refused(const std::string& path, const std::vector<std::string>& needed = {}) {
    const Result<void> answer = prepare_mountpoint(path, repository_, needed);
    EXPECT_FALSE(answer.ok()) << path;
    return answer.ok() ? Code::io : answer.error().code;
  }
  test::TempFolder folder_;
  std::string repository_;
};

TEST_F(MountpointTest, AcceptsAnExistingFolderElsewhere) {
  EXPECT_TRUE(prepare_mountpoint(folder_.path() + "/elsewhere/", repository_).ok());
}

TEST_F(MountpointTest, RefusesAFolderThatIsNotThere) {
  const auto answer = prepare_mountpoint(folder_.path() + "/none", repository_);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, Code::not_found);
  EXPECT_NE(answer.error().message.find("hint: mkdir"), std::string::npos);
}

TEST_F(MountpointTest, RefusesTheRepositoryWhatIsInItAndWhatHoldsIt) {
  stdfs::create_directory_symlink(repository_ + "/packs", folder_.path() + "/link");
  for (const std::string& path : {repository_, repository_ + "/packs", repository_ + "/packs/00",
                                  folder_.path(), folder_.path() + "/link", std::string("/")}) {
    EXPECT_EQ(refused(path), Code::invalid) << path;
  }
}

TEST_F(MountpointTest, RefusesToCoverAnIndexElsewhere) {
  const std::string elsewhere = folder_.path() + "/elsewhere";
  stdfs::create_directories(elsewhere + "/index");
  EXPECT_EQ(refused(elsewhere, {elsewhere + "/index"}), Code::invalid);
}

TEST_F(MountpointTest, SaysWhenThereIsNothingToUnmount) {
  const auto answer = unmount(folder_.path() + "/elsewhere");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, Code::not_found);
  const auto foreign = unmount("/proc");
  ASSERT_FALSE(foreign.ok());
  EXPECT_NE(foreign.error().message.find("is proc, not ours"), std::string::npos);
}

}  // namespace
}  // namespace bygone::fs
