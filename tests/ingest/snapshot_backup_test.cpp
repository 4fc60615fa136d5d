// SPDX-License-Identifier: Apache-2.0
//
// Backups of a volume on a btrfs, with a fake engine: the class, what is in them, and what happens
// when the snapshot does not come about.
#include <sys/stat.h>

#include "ingest/snapshot_journal.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/btrfs_mount.h"
#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

using store::Consistency;
using test::BtrfsMount;

class SnapshotBackup : public BackupTest {
 protected:
  void SetUp() override {
    if (!btrfs_.why_not().empty()) GTEST_SKIP() << btrfs_.why_not();
    stdfs::create_directory(volume());
    write_file(volume() / "file", "before");
    write_file(volume() / "other", "other");
    add_writer();
  }
  [[nodiscard]] stdfs::path volume() const { return btrfs_ / "volume"; }
  [[nodiscard]] stdfs::path room() const { return btrfs_ / kSnapshotFolder; }
  Result<BackupReport> run_here(BackupOptions options = {}) {
    Source source = TRY(folder_source("data", volume()));
    source.kind = store::SourceKind::container;
    source.writers = writers_;
    source.volumes[0].has_writers = !writers_.empty();
    return run(source, std::move(options));
  }
  void before_call(const std::string& name, std::function<void()> act) {
    engine_.before = [name, act = std::move(act)](const std::string& call) {
      if (call.starts_with(name)) act();
    };
  }
  void expect_nothing_left() {
    EXPECT_TRUE(!stdfs::exists(room()) || stdfs::is_empty(room()));
    // A journal stays until the deletion is durable, if anybody looks then.
    const std::string next = "sync -f " + btrfs_.path() + " && touch " + btrfs_ / "next";
    EXPECT_TRUE(BtrfsMount::run(next + " && " + next));
    EXPECT_TRUE(test::value_of(delete_dead_snapshots(folder_.path() + "/state")).empty());
    EXPECT_FALSE(has_dead_snapshots(folder_.path() + "/state"));
    EXPECT_FALSE(engine_.is_paused("c1"));
  }

  BtrfsMount btrfs_;
};

TEST_F(SnapshotBackup, HasWhatStoodThereUnderThePause) {
  before_call("unpause", [this] { write_file(volume() / "file", "after!"); });
  const BackupReport first = test::value_of(run_here());
  EXPECT_EQ(first.snapshot.consistency, Consistency::snapshot);
  EXPECT_GT(first.snapshot.window, 0);
  EXPECT_EQ(content(first.snapshot, "file"), "before");
  EXPECT_TRUE(first.warnings.empty());
  expect_nothing_left();

  engine_.before = {};
  const BackupReport second = test::value_of(run_here());
  EXPECT_EQ(second.snapshot.consistency, Consistency::snapshot);
  EXPECT_EQ(content(second.snapshot, "file"), "after!");
  EXPECT_EQ(second.unmodified_files, 1U) << "the other one keeps its inode number and times";
  EXPECT_EQ(second.new_files, 0U);
}

TEST_F(SnapshotBackup, WhatIsOffLimitsIsLeftOutOfASnapshotToo) {
  stdfs::create_directory(volume() / "secret");
  write_file(volume() / "secret/key", "key");
  BackupOptions options;
  options.off_limits = {{(volume() / "secret").string(), "a secret"}};
  const BackupReport report = test::value_of(run_here(options));
  EXPECT_EQ(report.snapshot.consistency, Consistency::snapshot);
  EXPECT_FALSE(find(report.snapshot, "secret/key").has_value());
  EXPECT_EQ(report.skipped, std::vector<std::string>{"secret: a secret, left out"});
}

TEST_F(SnapshotBackup, ASubvolumeThatIsMadeMeanwhileIsNotLost) {
  before_call("pause", [this] {
    if (stdfs::exists(volume() / "nested")) return;
    BtrfsMount::run("btrfs -q subvolume create " + (volume() / "nested").string());
    write_file(volume() / "nested/file", "inside");
  });
  const BackupReport report = test::value_of(run_here());
  EXPECT_EQ(report.snapshot.consistency, Consistency::freeze);
  EXPECT_EQ(content(report.snapshot, "nested/file"), "inside");
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("the subvolume nested was made in it"), std::string::npos);
  EXPECT_EQ(report.new_files, 3U);
  expect_nothing_left();
}

TEST_F(SnapshotBackup, WithoutASnapshotTheWritersAreFrozen) {
  before_call("pause", [this] { stdfs::remove(room()); });
  const BackupReport report = test::value_of(run_here());
  EXPECT_EQ(report.snapshot.consistency, Consistency::freeze);
  EXPECT_EQ(content(report.snapshot, "file"), "before");
  EXPECT_EQ(report.warnings.size(), 1U);
  expect_nothing_left();

  BackupOptions options;
  options.wish = Wish::snapshot;
  EXPECT_CODE(Code::unsupported, run_here(options));
  expect_nothing_left();
}

TEST_F(SnapshotBackup, WithoutWritersItIsIdle) {
  writers_.clear();
  BackupOptions options;
  options.wish = Wish::snapshot;
  EXPECT_EQ(test::value_of(run_here(options)).snapshot.consistency, Consistency::idle);
}

// Each subvolume numbers its inodes anew: the first file of each has the number 257.
TEST_F(SnapshotBackup, FilesOfSeveralSubvolumesAreNotTakenForHardLinks) {
  struct stat st {};
  std::set<std::uint64_t> numbers;
  for (const char* name : {"one", "two"}) {
    ASSERT_TRUE(BtrfsMount::run("btrfs -q subvolume create " + (volume() / name).string()));
    write_file(volume() / name / "file", name);
    stdfs::create_hard_link(volume() / name / "file", volume() / name / "link");
    ASSERT_EQ(::stat((volume() / name / "file").c_str(), &st), 0);
    numbers.insert(st.st_ino);
  }
  ASSERT_EQ(numbers.size(), 1U) << "this proves nothing";
  const store::Snapshot snapshot = test::value_of(run_here()).snapshot;
  EXPECT_EQ(snapshot.consistency, Consistency::freeze);
  std::set<std::uint64_t> recorded;
  for (const std::string name : {"one", "two"}) {
    EXPECT_EQ(content(snapshot, name + "/file"), name);
    EXPECT_EQ(content(snapshot, name + "/link"), name);
    EXPECT_EQ(find(snapshot, name + "/file")->inode, find(snapshot, name + "/link")->inode);
    recorded.insert(find(snapshot, name + "/file")->inode);
    recorded.insert(find(snapshot, name)->inode);
  }
  EXPECT_EQ(recorded.size(), 4U) << "nor do they pass for it when they are read";
  EXPECT_EQ(test::value_of(run_here()).unmodified_files, 6U) << "and the numbers stay";
}

}  // namespace
}  // namespace bygone::ingest
