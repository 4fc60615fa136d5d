// SPDX-License-Identifier: Apache-2.0
//
// The disk is full from every call on that takes space: what was asked for fails and says why,
// leaves nothing of itself, and the store is what it was; with room again the same program does it.
#include "tests/support/full_disk.h"

#include <atomic>
#include <filesystem>
#include <functional>

#include <gtest/gtest.h>

#include "store/prune.h"
#include "store/slots.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

class FullDisk : public testing::Test {
 protected:
  using Work = std::function<Result<void>(Repository& repository)>;

  // Snapshots that stay, one in the trash, and packs of which little or nothing is needed.
  FullDisk() {
    const std::string path = folder_ / "origin";
    value_of(Repository::create(path, test::key_file()));
    const auto repository = test::reopen(path, folder_ / "index0");
    one_ = keep(*repository, {{"a", test::noise(3000, 1)}, {"b/c", test::prose(60'000, 2)}});
    keep(*repository, {{"a", test::noise(3000, 3)}, {"b/c", test::prose(60'000, 2)}});
    const Snapshot old = value_of(test::back_up(*repository, {{"old", test::noise(5000, 9)}},
                                                {.source = "old", .instant = kThen}));
    value_of(move_to_trash(*repository, {old.id}, kThen));
    test::write_pack(*repository, {{.raw = test::noise(4000, 5)}});
    value_of(add_slot(*repository, test::key_file("second"), "second"));
    filesystem::remove(path + "/reserve");  // 8 MiB to copy each time
  }

  SnapshotId keep(Repository& repository, const MemoryTree& tree) {
    const Snapshot snapshot = value_of(test::back_up(
        repository, tree, {.instant = kThen + static_cast<Nanoseconds>(trees_.size()) * kSecond}));
    trees_[snapshot.id] = tree;
    return snapshot.id;
  }

  // What is wrong, empty when nothing is. `may_miss`: what the work itself takes from the list.
  std::string fault_of(Repository& repository, const std::vector<SnapshotId>& may_miss) {
    std::size_t found = 0;
    for (const Snapshot& snapshot : value_of(repository.snapshots())) {
      const auto wanted = trees_.find(snapshot.id);
      if (wanted == trees_.end()) continue;  // the one that was asked for
      ++found;
      const auto tree = test::read_back(repository, snapshot);
      if (!tree) return tree.error().message;
      if (*tree != wanted->second) return "another tree than backed up";
    }
    if (found + may_miss.size() < trees_.size()) return "a snapshot is gone";
    for (const SnapshotId& id : may_miss) {
      if (!value_of(repository.has_record(id)))
        return "a snapshot is neither here nor in the trash";
    }
    if (!filesystem::is_empty(repository.path() + "/tmp")) return "something is left in tmp/";
    const std::atomic<bool> cancel{false};
    const auto report = verify(repository, {.read_data_percent = 100}, {}, cancel);
    if (!report) return report.error().message;
    return report->damage.empty() ? "" : report->damage.front();
  }

  void attack(const Work& work, std::size_t least, const std::vector<SnapshotId>& may_miss = {}) {
    const std::string path = folder_ / "repo";
    bool was_refused = false;
    for (std::size_t n = 0;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      filesystem::copy(folder_ / "origin", path, filesystem::copy_options::recursive);
      filesystem::copy(folder_ / "index0", folder_ / "index");
      test::FullDiskFiles files(system_files());
      auto repository = value_of(Repository::open(
          path, test::key_file(), {.index_dir = folder_ / "index", .files = &files}));
      files.fill_after(n);
      const auto done = work(*repository);
      files.make_room();
      if (!done) {
        was_refused = true;
        EXPECT_CODE(Code::no_space, done);
        EXPECT_NE(done.error().message.find("No space left"), std::string::npos)
            << done.error().message;
      }
      ASSERT_EQ(fault_of(*repository, may_miss), "");
      const auto again = done && !files.was_full() ? Result<void>() : work(*repository);
      ASSERT_OK(again);
      ASSERT_EQ(fault_of(*repository, may_miss), "");
      repository.reset();
      filesystem::remove_all(path);
      filesystem::remove_all(folder_ / "index");
      if (files.was_full()) continue;
      EXPECT_OK(done);
      EXPECT_GE(n, least);
      break;
    }
    EXPECT_TRUE(was_refused);
  }

  static constexpr const char* kOwn = "the key file of the tests";  // of test::key_file()
  static constexpr Nanoseconds kThen = 1'710'000'000 * kSecond;
  test::TempFolder folder_;
  std::map<SnapshotId, MemoryTree> trees_;
  SnapshotId one_;
};

TEST_F(FullDisk, ABackupLeavesNothingAndIsMadeWhenThereIsRoom) {
  const MemoryTree tree = {{"a", test::noise(3000, 7)}, {"b/c", test::prose(90'000, 8)}};
  attack(
      [&](Repository& repository) -> Result<void> {
        const Snapshot made =
            TRY(test::back_up(repository, tree, {.instant = kThen + 100 * kSecond}));
        EXPECT_TRUE(value_of(test::read_back(repository, made)) == tree);
        return {};
      },
      8);
}

TEST_F(FullDisk, ForgettingLeavesAllWhereItWas) {
  attack(
      [&](Repository& repository) -> Result<void> {
        TRY(move_to_trash(repository, {one_}, kThen + 100 * kSecond));
        return {};
      },
      2, {one_});
}

TEST_F(FullDisk, APruneDropsNothingThatItCouldNotCopy) {
  const std::atomic<bool> cancel{false};
  for (const bool empty_trash : {false, true}) {
    SCOPED_TRACE(empty_trash);
    const PruneOptions options{.empty_trash = empty_trash,
                               .spare_orphans = std::chrono::seconds(0)};
    attack(
        [&](Repository& repository) -> Result<void> {
          TRY(prune(repository, options, {}, cancel));
          return {};
        },
        10);
  }
}

// With keys in an index of their own: a process opens one once.
TEST_F(FullDisk, AChangeOfKeysLeavesThoseThatWere) {
  const auto open = [&](const char* secret, Files& files = system_files()) {
    return Repository::open(folder_ / "repo", test::key_file(secret),
                            {.index_dir = folder_ / "other-index", .files = &files});
  };
  const Work add = [&](Repository& repository) -> Result<void> {
    auto added = add_slot(repository, test::key_file("third"), "third");
    EXPECT_OK(open("second"));
    EXPECT_EQ(open("third").ok(), added.ok());
    if (!added) return std::move(added).error();
    return {};
  };
  // What was cut short has begun a new epoch: who goes on opens the repository anew.
  const Work rotate = [&](Repository& repository) -> Result<void> {
    std::vector<Secret> secrets;
    secrets.push_back(test::key_file());
    secrets.push_back(test::key_file("second"));
    auto rotated = rotate_keys(**open(kOwn, repository.files()), secrets, Others::keep);
    for (const char* secret : {kOwn, "second"}) EXPECT_OK(open(secret));
    if (!rotated) return std::move(rotated).error();
    EXPECT_EQ(value_of(list_slots(repository)).size(), 2u);
    return {};
  };
  attack(add, 2);
  attack(rotate, 4);
}

}  // namespace
}  // namespace bygone::store
