// SPDX-License-Identifier: Apache-2.0
//
// A walk of many and of deep folders with few descriptors.
#include "ingest/scanner.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/descriptor_limit.h"

namespace bygone::ingest {
namespace {

// "c/c/c" for 3.
std::string chain(int depth) {
  std::string path;
  for (int i = 0; i < depth; ++i) path += i == 0 ? "c" : "/c";
  return path;
}

std::ptrdiff_t open_descriptors() {
  return std::distance(stdfs::directory_iterator("/proc/self/fd"), {});
}

class DescriptorsTest : public BackupTest {
 protected:
  static constexpr int kFolders = 5000;
  static constexpr int kDepth = 600;

  void make_tree() {
    for (int i = 0; i < kFolders; ++i) {
      const stdfs::path folder = source_dir() / ("d" + std::to_string(i));
      stdfs::create_directory(folder);
      write_file(folder / "file", random_text(100, static_cast<unsigned>(i)));
    }
    stdfs::create_directories(source_dir() / chain(kDepth));
    for (int depth = 1; depth <= kDepth; ++depth) {
      write_file(source_dir() / chain(depth) / "after", "a");
      // Folders that wait, all the way down.
      stdfs::create_directory(source_dir() / chain(depth) / "empty");
    }
  }
  static void expect_whole(const BackupReport& report) {
    EXPECT_TRUE(report.unreadable.empty())
        << report.unreadable.size() << ", first " << report.unreadable[0].path << ": "
        << report.unreadable[0].reason;
    EXPECT_EQ(report.snapshot.volumes.at(0).root.subtree_files, kFolders + kDepth);
  }
};

TEST_F(DescriptorsTest, ManyAndDeepFoldersAreReadWithFew) {
  make_tree();
  BackupReport report;
  {
    const test::DescriptorLimit limit(512);
    report = must_run();
  }
  expect_whole(report);
  expect_equal(report.snapshot);
}

TEST_F(DescriptorsTest, ManyAndDeepFoldersAreCapturedWithFew) {
  make_tree();
  add_writer();
  before_freeze([this] {
    for (int i = 0; i < kFolders; ++i) {
      write_file(source_dir() / ("d" + std::to_string(i)) / "file", "changed");
    }
  });
  const test::DescriptorLimit limit(512);
  const BackupReport report = must_run();
  expect_whole(report);
  EXPECT_EQ(content(report.snapshot, "d4999/file"), "changed");
}

class ScannedFolderTest : public testing::Test {
 protected:
  static constexpr int kDepth = 300;

  ScannedFolderTest() { stdfs::create_directories(stdfs::path(folder_.path()) / chain(kDepth)); }

  // As a walker goes down: all folders on the way, those above the last at rest.
  std::vector<std::shared_ptr<ScannedFolder>> go_down() {
    auto root = open_root(folder_.path());
    EXPECT_TRUE(root.ok());
    auto self = look_at(*root);
    EXPECT_TRUE(self.ok());
    std::vector<std::shared_ptr<ScannedFolder>> way{
        scanner_.root(std::move(*root), std::move(*self))};
    for (;;) {
      scanner_.finish(way.back());
      EXPECT_FALSE(way.back()->error.has_value()) << way.size();
      scanner_.release(*way.back());
      if (way.back()->entries.empty()) return way;
      way.back()->rest();
      way.push_back(std::move(way.back()->entries[0].folder));
    }
  }

  test::TempFolder folder_;
  Excludes excludes_;
  Scanner scanner_{excludes_, [](const Listed&) { return false; }, 0, nullptr};
};

TEST_F(ScannedFolderTest, RestsAndIsOpenedAgain) {
  const std::ptrdiff_t before = open_descriptors();
  const auto way = go_down();
  ASSERT_EQ(way.size(), kDepth + 1U);
  EXPECT_LT(open_descriptors() - before, 64 + kDepth / 32 + 4);
  for (auto folder = way.rbegin(); folder != way.rend(); ++folder) {
    const auto opened = (*folder)->open();
    ASSERT_TRUE(opened.ok()) << (*folder)->depth << ": " << opened.error().message;
    const auto found = look_at(**opened);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->entry.inode, (*folder)->self.entry.inode) << (*folder)->depth;
    (*folder)->wake();
  }
  EXPECT_LT(open_descriptors() - before, 64 + kDepth / 32 + 4);
}

TEST_F(ScannedFolderTest, IsNotOpenedAgainWhereAnotherStandsByNow) {
  const auto way = go_down();
  const stdfs::path moved = stdfs::path(folder_.path()) / chain(165);
  stdfs::rename(moved, stdfs::path(folder_.path()) / "elsewhere");
  const auto gone = way[170]->open();
  ASSERT_FALSE(gone.ok());
  // Not "it is gone", which would leave out what was listed in it without a word.
  EXPECT_EQ(gone.error().errnum, 0);
  stdfs::create_directories(stdfs::path(folder_.path()) / chain(200));
  const auto other = way[170]->open();
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("another folder"), std::string::npos)
      << other.error().message;
  EXPECT_TRUE(way[164]->open().ok());
}

}  // namespace
}  // namespace bygone::ingest
