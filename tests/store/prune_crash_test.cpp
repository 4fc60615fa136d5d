// SPDX-License-Identifier: Apache-2.0
//
// FORMAT.md section 11.1 attacked as crash_test.cpp attacks backups: a fault, a death and a power
// cut at every call of a prune that does all it can do: finishes an older list, empties the trash,
// drops, copies, deletes.
#include <cerrno>
#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/prune.h"
#include "store/verify.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::Call;
using test::FaultyFiles;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

const std::atomic<bool> kUncancelled{false};
const PruneOptions kEverything{.empty_trash = true, .spare_orphans = std::chrono::seconds(0)};

class PruneCrash : public testing::Test {
 protected:
  // Two snapshots that stay, of which one needs a delta and its base; one in the trash; a pack
  // that nothing reaches; an older list that was not finished, with a pack that is needed again.
  PruneCrash() {
    filesystem::create_directory(folder_ / "origin");
    const std::string path = folder_ / "origin/repo";
    value_of(Repository::create(path, test::key_file()));
    filesystem::remove(path + "/reserve");  // 8 MiB to copy each time
    const auto repository = test::reopen(path, folder_ / "index0");
    Bytes changed = test::noise(3000, 1);
    changed[7] ^= 1;
    keep(*repository, {{"a", test::noise(3000, 1)}, {"b/c", test::prose(60'000, 2)}}, "db");
    const auto packs = value_of(repository->chunks().list_packs());
    test::write_pack(*repository, {{.raw = changed, .base = test::noise(3000, 1), .depth = 1}});
    keep(*repository, {{"a", changed}}, "app");
    const Snapshot old = value_of(test::back_up(*repository, {{"old", test::noise(5000, 9)}},
                                                {.source = "old", .instant = ++now_}));
    const std::string name = old.id.hex();
    filesystem::rename(path + "/snapshots/" + name, path + "/trash/" + name);
    const PackId orphan = test::write_pack(*repository, {{.raw = test::noise(4000, 5)}});
    value_of(write_condemned(system_files(), repository->keys(), path, {3, {packs[0], orphan}}));
  }

  void keep(Repository& repository, const MemoryTree& tree, const std::string& source) {
    const Snapshot snapshot =
        value_of(test::back_up(repository, tree, {.source = source, .instant = ++now_}));
    trees_[snapshot.id] = tree;
  }

  void restore_origin(const std::string& root) {
    for (const std::string& each : {root, folder_ / "index"}) filesystem::remove_all(each);
    filesystem::copy(folder_ / "origin", root, filesystem::copy_options::recursive);
    filesystem::copy(folder_ / "index0", folder_ / "index", filesystem::copy_options::recursive);
  }

  static Result<PruneReport> prune(const std::string& path, const std::string& index,
                                   Files& files = system_files()) {
    const auto repository =
        TRY(Repository::open(path, test::key_file(), {.index_dir = index, .files = &files}));
    return store::prune(*repository, kEverything, {}, kUncancelled);
  }

  // What is wrong with the repository; empty when nothing is: all snapshots read back, before and
  // after the next prune, which leaves nothing that is not needed.
  std::string fault_of(const std::string& path, const std::string& index) {
    for (const bool pruned : {false, true}) {
      auto opened = Repository::open(path, test::key_file(), {.index_dir = index});
      if (!opened) return opened.error().message;
      Repository& repository = **opened;
      if (pruned) {
        const auto report = store::prune(repository, kEverything, {}, kUncancelled);
        if (!report) return report.error().message;
      }
      if (auto fault = test::fault_of_trees(repository, trees_); !fault.empty()) return fault;
      const auto report = verify(repository, {.read_data_percent = 100}, {}, kUncancelled);
      if (!report) return report.error().message;
      if (!report->damage.empty()) return report->damage.front();
      // Plain and delta, and the text; two folders and one: what all of it comes to.
      if (pruned && (report->packs != 2 || report->records > 5)) return "something was left behind";
    }
    return "";
  }

  test::TempFolder folder_;
  std::map<SnapshotId, MemoryTree> trees_;
  Nanoseconds now_ = 1'710'000'000 * kSecond;
};

TEST_F(PruneCrash, AFaultOrADeathAtAnyCallLosesNothing) {
  const std::string root = folder_ / "disk";
  for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
    for (std::size_t n = 1;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      restore_origin(root);
      FaultyFiles files(system_files());
      const bool dies = then == FaultyFiles::Then::stay_dead;
      if (dies) files.die_at_change(n);
      if (!dies) files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
      const auto done = prune(root + "/repo", folder_ / "index", files);
      ASSERT_EQ(fault_of(root + "/repo", folder_ / "index"), "") << files.failed_call().second;
      if (!files.fired()) {
        EXPECT_OK(done);
        EXPECT_GT(n, dies ? 60u : 100u);
        break;
      }
      n += files.calls_alike();
    }
  }
}

TEST_F(PruneCrash, APowerCutAfterAnyCallLosesNothing) {
  const std::string root = folder_ / "disk";
  for (std::size_t n = 1;; n += test::kCallStride) {
    SCOPED_TRACE(n);
    restore_origin(root);
    PowerCutFiles disk(system_files(), root);
    FaultyFiles files(disk);
    files.die_at_change(n);
    const auto done = prune(root + "/repo", folder_ / "index", files);
    for (const auto unsynced : PowerCutFiles::kCuts) {
      const std::string after = folder_ / "after";
      disk.cut(after, unsynced);
      // LMDB does its own writes: its rows may all have reached the disk.
      const bool keep_index = unsynced != PowerCutFiles::Unsynced::names;
      ASSERT_EQ(fault_of(after + "/repo", folder_ / (keep_index ? "index" : "fresh")), "")
          << files.failed_call().second;
      for (const std::string& each : {after, folder_ / "fresh"}) filesystem::remove_all(each);
    }
    if (!files.fired()) {
      EXPECT_OK(done);
      EXPECT_GT(n, 60u);
      break;
    }
  }
}

// Mutations of the code: with any one sync left out a power cut may lose something.
class PruneSyncOrder : public PruneCrash {
 protected:
  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "the order is the same in each build, and this one slow";
    PruneCrash::SetUp();
  }

  // After the whole run, or after the deletion of the first pack of the last list, when `lies`
  // left syncs out.
  std::string fault_after(const PowerCutFiles::Lies& lies) {
    std::string fault;
    for (std::size_t n = 20; fault.empty(); n += 1) {
      const std::string root = folder_ / "disk";
      restore_origin(root);
      PowerCutFiles disk(system_files(), root);
      disk.lie_about(lies);
      FaultyFiles files(disk);
      files.die_at_change(n);
      const auto done = prune(root + "/repo", folder_ / "index", files);
      // What was removed has reached the disk although nobody synced that, new names have not:
      // the worst of both.
      filesystem::remove_all(folder_ / "after");
      disk.cut(folder_ / "after", PowerCutFiles::Unsynced::nothing);
      remove_what_is_gone(root, folder_ / "after");
      fault = fault_of(folder_ / "after/repo", folder_ / "fresh");
      filesystem::remove_all(folder_ / "fresh");
      if (!files.fired()) break;
    }
    return fault;
  }

  static void remove_what_is_gone(const std::string& live, const std::string& after) {
    std::vector<filesystem::path> gone;
    for (const auto& each : filesystem::recursive_directory_iterator(after)) {
      const auto relative = filesystem::relative(each.path(), after);
      const bool pack = relative.string().find("/packs/") != std::string::npos;
      if (each.is_regular_file() && pack && !filesystem::exists(live / relative)) {
        gone.push_back(each.path());
      }
    }
    for (const auto& path : gone) filesystem::remove(path);
  }
};

TEST_F(PruneSyncOrder, IsSufficient) { EXPECT_EQ(fault_after({}), ""); }

TEST_F(PruneSyncOrder, HasNoSyncTooManyBeforeADeletion) {
  const std::pair<const char*, PowerCutFiles::Lies> lies[] = {
      {"data of new packs",
       [](Call call, const std::string& path) {
         return call == Call::sync_data && path.find("/tmp/pack-") != std::string::npos;
       }},
      {"folders of new packs",
       [](Call call, const std::string& path) {
         return call == Call::sync_directory && path.find("/packs/") != std::string::npos;
       }},
  };
  for (const auto& [name, lie] : lies) EXPECT_NE(fault_after(lie), "") << name;
}

}  // namespace
}  // namespace bygone::store
