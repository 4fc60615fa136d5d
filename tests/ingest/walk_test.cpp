// SPDX-License-Identifier: Apache-2.0
#include "ingest/walk.h"

#include "tests/ingest/backup_fixture.h"
#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

using test::value_of;

class WalkTest : public BackupTest {
 protected:
  // The files to be read; `after` is called with each, before the walk goes on.
  std::vector<Item> walk(const std::function<void(const Item&)>& after) {
    Excludes excludes;
    // Nothing is listed ahead: what `after` does is seen by what comes later.
    Scanner scanner(
        excludes, [](const Listed&) { return false; }, 0, nullptr);
    WalkNotes notes;
    WalkOptions options;
    options.clock = system_now;
    Walk walk(
        scanner, repository_->trees(), options,
        [](const Listed&) { return std::optional<std::string>(); }, notes);
    Fd fd = value_of(open_root(source_dir()));
    Listed self = value_of(look_at(fd));
    std::vector<Item> files;
    EXPECT_OK(
        walk.run(scanner.root(std::move(fd), std::move(self)), std::nullopt, [&](Item&& item) {
          if (item.kind != Item::Kind::file) return true;
          after(item);
          files.push_back(std::move(item));
          return true;
        }));
    return files;
  }
};

TEST_F(WalkTest, ReadsNamesOfOneFileOnce) {
  stdfs::create_directory(source_dir() / "b");
  write_file(source_dir() / "a", "one");
  stdfs::create_hard_link(source_dir() / "a", source_dir() / "b/a");
  const auto files = walk([](const Item&) {});
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].work, files[1].work);
}

// An inode's number is free when its file is deleted, and a file that is made then may get it.
TEST_F(WalkTest, TakesAFileThatHasTheNumberOfADeletedOneForItself) {
  stdfs::create_directory(source_dir() / "b");
  write_file(source_dir() / "a", "one");
  stdfs::create_hard_link(source_dir() / "a", source_dir() / "b/a");
  // No file system gives a number again on demand: the same file with other times stands for it.
  bool is_first = true;
  const auto files = walk([&](const Item&) {
    if (std::exchange(is_first, false)) write_file(source_dir() / "a", "another");
  });
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].entry.inode, files[1].entry.inode);
  EXPECT_NE(files[0].work, files[1].work);
  EXPECT_EQ(files[1].work->path, "b/a");
}

}  // namespace
}  // namespace bygone::ingest
