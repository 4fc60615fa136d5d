// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "ingest/btrfs.h"
#include "ingest/snapshot_journal.h"
#include "ingest/subvolume_snapshots.h"
#include "tests/support/btrfs_mount.h"
#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

namespace stdfs = std::filesystem;
using test::BtrfsMount;
using test::value_of;

TEST(SnapshotJournal, KeepsEveryByteAndIsRejectedWhenCutAnywhere) {
  const SnapshotRecord record{-5,
                              {{"ab", "/a b%\n/\xff", "name", "cd", 7}, {"1", "/", "n", "2", 0}}};
  const std::string text = encode(record);
  const auto decoded = decode_snapshot_record(text);
  ASSERT_OK(decoded);
  EXPECT_EQ(encode(*decoded), text);
  EXPECT_EQ(decoded->snapshots.at(0).folder, "/a b%\n/\xff");
  EXPECT_EQ(decoded->snapshots.at(0).deleted_in, 7U);
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(decode_snapshot_record(text.substr(0, size)).ok()) << size;
  }
  EXPECT_CODE(Code::corrupt, decode_snapshot_record(text + "x"));
}

TEST(SnapshotJournal, OfTheFirstVersionIsRead) {
  const auto decoded =
      decode_snapshot_record("bygone snapshot journal 1\ntime 3\nsnapshot ab /srv n cd\nend 1\n");
  ASSERT_OK(decoded);
  EXPECT_EQ(decoded->snapshots.at(0).origin, "cd");
  EXPECT_EQ(decoded->snapshots.at(0).deleted_in, 0U);
}

TEST(SnapshotJournal, NamesNothingOutsideOfItsFolder) {
  for (const char* name : {"..", ".", "a/b", "/etc", ""}) {
    const SnapshotRecord record{1, {{"ab", "/srv", name, "cd", 0}}};
    EXPECT_CODE(Code::corrupt, decode_snapshot_record(encode(record))) << name;
  }
}

TEST(Subvolume, OfAnotherFileSystemIsNone) {
  const test::TempFolder folder;
  const Fd root = value_of(open_root(folder.path()));
  EXPECT_FALSE(value_of(btrfs::is_on_btrfs(root)));
  EXPECT_CODE(Code::unsupported, btrfs::subvolume_of(root));
  EXPECT_CODE(Code::unsupported, find_subvolume_place(folder.path(), root, {folder.path()}, "/x"));
}

class OnBtrfs : public testing::Test {
 protected:
  void SetUp() override {
    if (!btrfs_.why_not().empty()) GTEST_SKIP() << btrfs_.why_not();
    ASSERT_TRUE(BtrfsMount::run("btrfs -q subvolume create " + btrfs_ / "sub"));
    for (const char* folder : {"sub/deep/volume", "sub/other", "plain"}) {
      stdfs::create_directories(btrfs_ / folder);
    }
    write("sub/deep/volume/file", "before");
  }
  void write(const std::string& path, const std::string& text) {
    std::ofstream(btrfs_ / path) << text;
  }
  [[nodiscard]] std::string state() const { return state_ / "state"; }
  Result<SubvolumePlace> place(const std::string& path, std::vector<std::string> volumes = {}) {
    const std::string whole = path.empty() ? btrfs_.path() : btrfs_ / path;
    volumes.push_back(whole);
    return find_subvolume_place(whole, TRY(open_root(whole)), volumes, state());
  }
  [[nodiscard]] std::vector<std::string> left() const {
    std::vector<std::string> names;
    if (!stdfs::exists(room())) return names;
    for (const auto& each : stdfs::directory_iterator(room())) names.push_back(each.path());
    return names;
  }
  [[nodiscard]] std::string room() const { return btrfs_ / kSnapshotFolder; }
  static std::string read(const Fd& folder, const std::string& name) {
    const Fd file = value_of(open_file(folder, name));
    Bytes bytes(100);
    bytes.resize(value_of(system_files().read_at(file, bytes, 0)));
    return std::string(as_text(bytes));
  }
  // What a process that was killed leaves: the journal's lock is free.
  void leave_journal(const SnapshotRecord::Snapshot& snapshot) {
    ASSERT_OK(IntentJournal::create(snapshot_journals(state()), encode({1, {snapshot}})));
  }

  BtrfsMount btrfs_;
  test::TempFolder state_;
};

TEST_F(OnBtrfs, FindsTheSubvolumeOfAVolume) {
  const SubvolumePlace found = value_of(place("sub/deep/volume"));
  EXPECT_EQ(found.below, "deep/volume");
  EXPECT_EQ(found.folder, room());
  struct stat st {};
  ASSERT_EQ(::stat(room().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
  EXPECT_EQ(value_of(place("sub")).below, "");
  EXPECT_EQ(value_of(place("plain")).below, "plain");
  const SubvolumePlace file = value_of(place("sub/deep/volume/file"));
  EXPECT_TRUE(file.is_file);
  EXPECT_EQ(file.below, "deep/volume/file");
  EXPECT_EQ(file.uuid, found.uuid);
  EXPECT_NE(file.uuid, value_of(place("plain")).uuid);
}

TEST_F(OnBtrfs, SnapshotsShowInNoVolume) {
  EXPECT_CODE(Code::unsupported, place(""));
  EXPECT_CODE(Code::unsupported, place("plain", {btrfs_.path()}));
  EXPECT_FALSE(stdfs::exists(room()));
}

TEST_F(OnBtrfs, TheStateFolderIsTakenWhereItIsOnTheSameFileSystem) {
  stdfs::create_directories(btrfs_ / "state");
  const std::string path = btrfs_ / "plain";
  const Fd root = value_of(open_root(path));
  EXPECT_EQ(value_of(find_subvolume_place(path, root, {path}, btrfs_ / "state")).folder,
            btrfs_ / "state/.bygone-snapshots");
}

TEST_F(OnBtrfs, AFolderOfSomebodyElseIsNotTaken) {
  stdfs::create_directory(room());
  ASSERT_EQ(::chmod(room().c_str(), 0755), 0);
  EXPECT_CODE(Code::denied, place("plain"));
  stdfs::remove(room());
  stdfs::create_directory_symlink("plain", room());
  EXPECT_FALSE(place("plain").ok());
}

TEST_F(OnBtrfs, WhatIsNestedOrMountedBelowIsFound) {
  ASSERT_TRUE(BtrfsMount::run("btrfs -q subvolume create " + btrfs_ / "sub/deep/volume/nested"));
  const auto found = place("sub/deep/volume");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("nested is nested"), std::string::npos);
  EXPECT_OK(place("sub/other"));
  EXPECT_CODE(Code::unsupported, place("sub"));
  stdfs::create_directory(btrfs_ / "sub/other/mount");
  ASSERT_EQ(::mount("none", (btrfs_ / "sub/other/mount").c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_CODE(Code::unsupported, place("sub/other"));
}

TEST_F(OnBtrfs, AMountOfItsOwnSubvolumeIsNoObstacle) {
  // As Docker mounts its data root, and as a folder elsewhere.
  for (const char* at : {"sub/deep", "sub/other"}) {
    ASSERT_EQ(
        ::mount((btrfs_ / "sub/deep").c_str(), (btrfs_ / at).c_str(), nullptr, MS_BIND, nullptr),
        0);
    const SubvolumePlace found = value_of(place(std::string(at) + "/volume"));
    EXPECT_EQ(found.below, "deep/volume");
    EXPECT_EQ(found.folder, room());
    SubvolumeSnapshots snapshots(state(), system_now);
    snapshots.add(found);
    ASSERT_OK(snapshots.prepare());
    ASSERT_OK(snapshots.take());
    EXPECT_EQ(read(value_of(snapshots.open(0, found)).root, "file"), "before");
  }
}

TEST_F(OnBtrfs, AFolderWhoseSubvolumeIsNotMountedCannotBeCaptured) {
  ASSERT_EQ(
      ::mount((btrfs_ / "sub/deep").c_str(), (btrfs_ / "plain").c_str(), nullptr, MS_BIND, nullptr),
      0);
  EXPECT_CODE(Code::unsupported, place("plain/volume"));
}

TEST_F(OnBtrfs, ASnapshotIsOfOneMomentAndGoesAtTheEnd) {
  const SubvolumePlace volume = value_of(place("sub/deep/volume"));
  const SubvolumePlace file = value_of(place("sub/deep/volume/file"));
  SubvolumeSnapshots snapshots(state(), system_now);
  EXPECT_EQ(snapshots.add(volume), 0U);
  EXPECT_EQ(snapshots.add(file), 0U) << "one subvolume, one snapshot";
  ASSERT_OK(snapshots.prepare());
  EXPECT_TRUE(left().empty());
  EXPECT_FALSE(has_dead_snapshots(state())) << "its writer lives";
  ASSERT_OK(snapshots.take());
  write("sub/deep/volume/file", "after!");
  EXPECT_EQ(left().size(), 1U);
  const VolumeCopy copy = value_of(snapshots.open(0, volume));
  EXPECT_EQ(read(copy.root, "file"), "before");
  EXPECT_EQ(value_of(look_at(copy.root)).entry.inode, volume.inode);
  const VolumeCopy single = value_of(snapshots.open(0, file));
  EXPECT_EQ(read(*single.folder, single.name), "before");
  ASSERT_OK(snapshots.remove());
  EXPECT_TRUE(left().empty());
}

TEST_F(OnBtrfs, TheJournalStaysUntilTheDeletionIsDurableAndNobodyWaitsForThat) {
  const SubvolumePlace found = value_of(place("sub/deep/volume"));
  // A write joins the newest transaction, or begins one when that was committed.
  const auto newest = [&](const char* text) {
    write("plain/more", text);
    return value_of(btrfs::newest_transaction(found.subvolume));
  };
  std::uint64_t deleted_in = 0;
  {
    SubvolumeSnapshots snapshots(state(), system_now);
    snapshots.add(found);
    ASSERT_OK(snapshots.prepare());
    ASSERT_OK(snapshots.take());
    deleted_in = newest("0");
    ASSERT_OK(snapshots.remove());
  }
  EXPECT_TRUE(left().empty());
  EXPECT_EQ(newest("1"), deleted_in) << "somebody had to wait";
  EXPECT_EQ(value_of(delete_dead_snapshots(state())), std::vector<std::string>());
  EXPECT_TRUE(has_dead_snapshots(state()));
  EXPECT_EQ(newest("2"), deleted_in) << "somebody had to wait";

  ASSERT_OK(btrfs::commit(found.subvolume));
  EXPECT_EQ(newest("3"), deleted_in + 1);
  EXPECT_FALSE(value_of(btrfs::is_committed(found.subvolume, deleted_in))) << "not for certain";
  ASSERT_OK(btrfs::commit(found.subvolume));
  EXPECT_EQ(newest("4"), deleted_in + 2);
  EXPECT_EQ(value_of(delete_dead_snapshots(state())), std::vector<std::string>());
  EXPECT_FALSE(has_dead_snapshots(state()));
}

TEST_F(OnBtrfs, WhatAPowerCutBringsBackIsDeletedOnceMore) {
  const SubvolumePlace found = value_of(place("sub/deep/volume"));
  const auto newest = value_of(btrfs::newest_transaction(found.subvolume));
  ASSERT_OK(btrfs::make_snapshot(found.subvolume, value_of(open_snapshot_folder(room())), "back"));
  leave_journal({found.file_system, found.folder, "back", found.uuid, newest});
  EXPECT_EQ(value_of(delete_dead_snapshots(state())), std::vector<std::string>{room() + "/back"});
  EXPECT_TRUE(left().empty());
  EXPECT_FALSE(has_dead_snapshots(state()));
}

TEST_F(OnBtrfs, ALinkOrAnotherFolderInTheWayLeadsNowhere) {
  const SubvolumePlace volume = value_of(place("sub/deep/volume"));
  for (const char* make : {"ln -s /etc ", "mkdir ", "ln -s other "}) {
    BtrfsMount::run("mv " + btrfs_ / "sub/deep" + " " + btrfs_ / "sub/moved");
    BtrfsMount::run("mkdir " + btrfs_ / "sub/deep");
    ASSERT_TRUE(BtrfsMount::run(make + btrfs_ / "sub/deep/volume"));
    SubvolumeSnapshots snapshots(state(), system_now);
    snapshots.add(volume);
    ASSERT_OK(snapshots.prepare());
    ASSERT_OK(snapshots.take());
    EXPECT_FALSE(snapshots.open(0, volume).ok()) << make;
    BtrfsMount::run("rm -rf " + btrfs_ / "sub/deep" + " && mv " + btrfs_ / "sub/moved" + " " +
                    btrfs_ / "sub/deep");
  }
  EXPECT_TRUE(left().empty());
}

TEST_F(OnBtrfs, WhatADeadProcessLeftIsDeletedAndNothingElse) {
  const SubvolumePlace found = value_of(place("sub/deep/volume"));
  const SnapshotRecord::Snapshot made{found.file_system, found.folder, "made", found.uuid, 0};
  const Fd folder = value_of(open_snapshot_folder(room()));
  ASSERT_OK(btrfs::make_snapshot(found.subvolume, folder, "made"));
  ASSERT_OK(btrfs::make_snapshot(found.subvolume, folder, "another"));
  leave_journal(made);
  leave_journal({found.file_system, found.folder, "never-made", found.uuid, 0});
  EXPECT_TRUE(has_dead_snapshots(state()));
  EXPECT_EQ(value_of(delete_dead_snapshots(state())), std::vector<std::string>{room() + "/made"});
  EXPECT_EQ(left(), std::vector<std::string>{room() + "/another"});
  EXPECT_FALSE(has_dead_snapshots(state()));
}

TEST_F(OnBtrfs, WhatHasTheNameButIsNotTheSnapshotStays) {
  const SubvolumePlace found = value_of(place("sub/deep/volume"));
  const SubvolumePlace other = value_of(place("plain"));
  const Fd folder = value_of(open_snapshot_folder(room()));
  const auto put = [&](const std::string& name) {
    leave_journal({found.file_system, found.folder, name, found.uuid, 0});
  };
  ASSERT_TRUE(BtrfsMount::run("btrfs -q subvolume create " + room() + "/writable"));
  ASSERT_OK(btrfs::make_snapshot(other.subvolume, folder, "of-another"));
  stdfs::create_directory(room() + "/folder");
  stdfs::create_directory_symlink(btrfs_ / "sub", room() + "/link");
  for (const char* name : {"writable", "of-another", "folder", "link"}) put(name);
  const auto deleted = delete_dead_snapshots(state());
  EXPECT_FALSE(deleted.ok());
  EXPECT_EQ(left().size(), 4U);
  EXPECT_TRUE(stdfs::exists(btrfs_ / "sub"));
  EXPECT_EQ(value_of(intent_journals(snapshot_journals(state()))).size(), 4U);
}

TEST_F(OnBtrfs, AFileSystemThatIsNotMountedIsWaitedFor) {
  const SubvolumePlace found = value_of(place("sub/deep/volume"));
  leave_journal({found.file_system, "/var/tmp/elsewhere", "deleted", found.uuid, 1});
  EXPECT_TRUE(value_of(delete_dead_snapshots(state())).empty()) << "it was deleted before";
  leave_journal({found.file_system, "/var/tmp/elsewhere", "made", found.uuid, 0});
  EXPECT_CODE(Code::unavailable, delete_dead_snapshots(state()));
  EXPECT_EQ(value_of(intent_journals(snapshot_journals(state()))).size(), 2U);
}

}  // namespace
}  // namespace bygone::ingest
