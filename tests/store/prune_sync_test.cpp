// SPDX-License-Identifier: Apache-2.0
//
// Every sync of a prune left out in turn, with the power gone at every moment after: each does harm
// that is seen here, or has a reason beside it why not. Whoever adds a sync adds its line.
#include <algorithm>
#include <filesystem>
#include <iterator>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/damage_marks.h"
#include "store/prune.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/sync_order.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::Call;
using test::LeftOutSync;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

const std::atomic<bool> kNeverStopped{false};

class SyncOrderOfPrune : public testing::Test {
 protected:
  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "the order is the same in each build, and this one slow";
  }

  // A prune that does all it can do: mends a list that does not prove itself, finishes an older
  // one, folds a note, takes a snapshot out of the trash for good, copies what lives, drops the
  // rest. Records were taken away before by somebody who died before he synced that.
  SyncOrderOfPrune() {
    filesystem::create_directory(origin_);
    const std::string path = origin_ + "/repo";
    value_of(Repository::create(path, test::key_file()));
    filesystem::remove(path + "/reserve");  // 8 MiB to copy each time
    const auto repository = test::reopen(path);
    const Snapshot old = back_up(*repository, {{"old", test::noise(5000, 9)}});
    keep(*repository, {{"a", test::noise(3000, 1)}, {"b/c", test::prose(60'000, 2)}});
    const auto packs = value_of(repository->chunks().list_packs());
    for (const char* source : {"left", "left in the trash"}) {
      taken_.push_back(value_of(test::back_up(*repository, {{source, test::noise(3000, 8)}},
                                              {.source = source, .instant = now_})));
    }
    value_of(move_to_trash(*repository, {taken_.back().id}, now_));
    std::vector<PackId> condemned;
    std::ranges::set_difference(value_of(repository->chunks().list_packs()), packs,
                                std::back_inserter(condemned));
    keep(*repository, {{"a", test::noise(3000, 3)}});
    value_of(move_to_trash(*repository, {old.id}, now_));
    const PackId orphan = test::write_pack(*repository, {{.raw = test::noise(4000, 5)}});
    value_of(repository->chunks().adopt_packs());
    test::write_whole(path + "/condemned/2", as_bytes("rubbish"));
    condemned.insert(condemned.end(), {packs[0], orphan});
    value_of(write_condemned(system_files(), repository->keys(), path, {3, condemned}));
    test::write_pack(*repository, {{.raw = test::noise(4000, 6)}});
    value_of(repository->chunks().adopt_packs());
  }

  Snapshot back_up(Repository& repository, const MemoryTree& tree) {
    now_ += kSecond;
    return value_of(test::back_up(repository, tree, {.instant = now_}));
  }
  void keep(Repository& repository, const MemoryTree& tree) {
    trees_[back_up(repository, tree).id] = tree;
  }

  static Result<PruneReport> prune(const std::string& path, bool empty_trash,
                                   Files& files = system_files()) {
    const auto repository = TRY(Repository::open(path, test::key_file(), {.files = &files}));
    return store::prune(*repository,
                        {.empty_trash = empty_trash, .spare_orphans = std::chrono::seconds(0)}, {},
                        kNeverStopped);
  }

  // `may_be_rubbish`: the list that prune has to mend.
  std::string fault_of_snapshots(Repository& repository, bool may_be_rubbish) {
    auto trees = trees_;
    // Whole as long as its packs are there.
    const Snapshot& left = taken_.front();
    if (value_of(repository.has_record(left.id))) trees[left.id] = {{"left", test::noise(3000, 8)}};
    if (auto fault = test::fault_of_trees(repository, trees); !fault.empty()) return fault;
    const auto report = verify(repository, {.read_data_percent = 100}, {}, kNeverStopped);
    if (!report) return report.error().message;
    for (const std::string& line : report->damage) {
      if (!may_be_rubbish || !line.starts_with("condemned/2 is damaged")) return line;
    }
    return "";
  }

  // What is wrong with what a power cut left, its index included; empty when nothing is.
  std::string fault_of(const std::string& path, bool is_done) {
    for (const bool pruned : {false, true}) {
      if (pruned) {
        const auto next = prune(path, false);
        if (!next) return "the next prune: " + next.error().message;
      }
      const auto repository = value_of(Repository::open(path, test::key_file()));
      const auto lists = condemned_packs(system_files(), repository->keys(), path);
      if ((is_done || pruned) && !lists) return "afterwards: " + lists.error().message;
      if (const auto session = Session::begin(*repository, Compression::fastest); !session) {
        return session.error().message;
      }
      const DamageMarks marks(value_of(read_notes(*repository)));
      if (!marks.packs().empty()) return "a session misses packs that went on purpose";
      const auto fault = fault_of_snapshots(*repository, !lists);
      if (!fault.empty()) return fault;
      if (is_done && !value_of(repository->trashed_ids()).empty()) return "the trash is not empty";
    }
    return "";
  }

  // What is wrong at any moment of a prune, or only after it; empty when nothing is.
  std::string fault_without(const LeftOutSync& left_out, bool only_after) {
    const std::string root = folder_ / "disk";
    const std::string after = folder_ / "after";
    filesystem::copy(origin_, root, filesystem::copy_options::recursive);
    const bool must_be_told = left_out.is_one();
    std::string fault;
    {
      PowerCutFiles disk(system_files(), root);
      value_of(disk.remove(root + "/repo/snapshots/" + taken_.front().id.hex()));
      value_of(disk.remove(root + "/repo/trash/" + taken_.back().id.hex()));
      disk.lie_about(left_out.lies());
      test::ChangingFiles files(disk);
      const auto look = [&](bool is_done) {
        if (!is_done && must_be_told && !left_out.is_told()) return;  // as IsSufficient sees it
        for (const bool with_removals : {false, true}) {
          if (!fault.empty()) return;
          disk.cut(after, PowerCutFiles::Unsynced::nothing);
          if (with_removals) files.apply_removals(root, after);
          // LMDB syncs what it commits.
          filesystem::remove_all(after + "/repo/index");
          filesystem::copy(root + "/repo/index", after + "/repo/index");
          fault = fault_of(after + "/repo", is_done);
          filesystem::remove_all(after);
        }
      };
      if (!only_after) files.look = [&] { look(false); };
      const auto done = prune(root + "/repo", true, files);
      if (!done) fault = done.error().message;
      files.look = nullptr;
      look(true);
    }
    filesystem::remove_all(root);
    return fault;
  }

  // Names of objects are random.
  static std::string name_of(Call call, const std::string& path) {
    std::string name = path.substr(path.find("/repo") + 5);
    if (name.starts_with("/packs/")) name = "/packs/*";
    if (name.starts_with("/tmp/pack-")) name = "/tmp/pack-*";
    if (name.size() > 32 && name.starts_with("/tmp/") && !name.starts_with("/tmp/pack-")) {
      name = "/tmp/NOTE";
    }
    return LeftOutSync::whole_name(call, name);
  }

  test::TempFolder folder_;
  const std::string origin_ = folder_ / "origin";
  std::map<SnapshotId, MemoryTree> trees_;
  std::vector<Snapshot> taken_;
  Nanoseconds now_ = 1'710'000'000 * kSecond;
};

TEST_F(SyncOrderOfPrune, IsSufficient) { EXPECT_EQ(fault_without(LeftOutSync(0), false), ""); }

// `when`: when the power has to go for harm to be done; never, for a reason.
enum class Harm { after, meanwhile, none };
struct PruneSync {
  const char* what;
  Harm when;
  const char* why_not = "";
};

TEST_F(SyncOrderOfPrune, HasNoSyncTooMany) {
  constexpr const char* kMendedAgain = "it does not prove itself, as before: it is mended again";
  constexpr const char* kWhole = "what comes back is whole, and dropped again";
  constexpr const char* kClosedAgain = "it names what is gone or needed: it is closed again";
  constexpr const char* kSyncedAgain = "it is, before any pack goes";
  constexpr const char* kNobodySince = "what was taken away before was synced for the list before";
  const PruneSync syncs[] = {
      {"data of /tmp/2", Harm::none, kMendedAgain},
      {"folder /condemned", Harm::none, kMendedAgain},
      // The list that an earlier prune left.
      {"folder /snapshots", Harm::meanwhile},
      {"folder /trash", Harm::meanwhile},
      {"folder /packs/*", Harm::none, kWhole},
      {"data of /tmp/3", Harm::after},
      {"folder /condemned", Harm::none, kClosedAgain},
      // The trash, and what lives.
      {"data of /tmp/NOTE", Harm::after},
      {"folder /notes", Harm::after},
      {"folder /trash", Harm::none, kSyncedAgain},
      {"data of /tmp/pack-*", Harm::after},
      {"folder /packs/*", Harm::after},
      // The list of this one.
      {"data of /tmp/4", Harm::meanwhile},
      {"folder /condemned", Harm::meanwhile},
      {"folder /snapshots", Harm::none, kNobodySince},
      {"folder /trash", Harm::none, kNobodySince},
      {"folder /packs/*", Harm::none, kWhole},
      {"data of /tmp/4", Harm::after},
      {"folder /condemned", Harm::none, kClosedAgain},
  };
  std::size_t n = 0;
  for (const PruneSync& sync : syncs) {
    ++n;
    const LeftOutSync left_out(n, name_of);
    const std::string fault = fault_without(left_out, true);
    EXPECT_EQ(left_out.what(), sync.what) << n;
    EXPECT_EQ(fault.empty(), sync.when != Harm::after) << n << " " << sync.what << ": " << fault;
    EXPECT_EQ(*sync.why_not == '\0', sync.when != Harm::none) << n;
    if (sync.when != Harm::meanwhile) continue;
    EXPECT_NE(fault_without(LeftOutSync(n, name_of), false), "") << n << " " << sync.what;
  }
  const LeftOutSync none(n + 1, name_of);
  EXPECT_EQ(fault_without(none, true), "");
  EXPECT_EQ(none.what(), "");
}

}  // namespace
}  // namespace bygone::store
