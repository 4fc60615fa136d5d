// SPDX-License-Identifier: Apache-2.0
#include "store/repair.h"

#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/damage_marks.h"
#include "store/index.h"
#include "store/notes.h"
#include "store/prune.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::FaultyFiles;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

class Repair : public testing::Test {
 protected:
  Repair() {
    value_of(Repository::create(folder_ / "repo", test::key_file()));
    filesystem::remove(folder_ / "repo/reserve");  // 8 MiB to copy each time
    open();
    snapshot_ = value_of(test::back_up(*repository_, tree_));
    for (const PackId& id : value_of(repository_->chunks().list_packs())) {
      const auto reader = value_of(repository_->chunks().pack(id));
      if (reader->kind() != ChunkKind::data) continue;
      pack_ = id;
      records_ = reader->records();
    }
    path_ = pack_path(repository_->path(), pack_);
  }

  void open(Files& files = system_files()) {
    repository_.reset();
    repository_ = value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &files}));
  }

  Result<RepairReport> repair(const RepairOptions& options = {}) {
    return repair_packs(*repository_, options, {}, cancel_);
  }
  std::vector<std::string> damage(double percent = 100) {
    return value_of(verify(*repository_, {.read_data_percent = percent}, {}, cancel_)).damage;
  }
  std::size_t files_in(const std::string& folder) {
    return value_of(system_files().list(folder_ / "repo/" + folder)).size();
  }
  void flip_body(std::size_t slot) {
    test::flip_bit(path_, static_cast<std::int64_t>(records_[slot].offset) + 200);
  }

  const MemoryTree tree_ = {{"a", test::noise(70'000, 1)},
                            {"b", test::noise(30'000, 2)},
                            {"c", test::noise(20'000, 3)},
                            {"d", test::prose(90'000, 4)}};
  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
  std::atomic<bool> cancel_{false};
  Snapshot snapshot_;
  PackId pack_;
  std::vector<Record> records_;
  std::string path_;
};

TEST_F(Repair, LeavesWhatIsWholeAlone) {
  const auto report = value_of(repair());
  EXPECT_EQ(report.packs, 2u);
  EXPECT_TRUE(report.damaged.empty());
  EXPECT_TRUE(filesystem::exists(path_));
  EXPECT_EQ(files_in("damaged"), 0u);
}

// Prune keeps a pack for what is alive in it, and a base for living deltas alone.
TEST_F(Repair, LooksForBasesThatWerePrunedWithoutARebuildOfTheIndex) {
  Bytes middle = tree_.at("a");
  middle[1] ^= 1;
  Bytes next = middle;
  next[0] ^= 1;
  Bytes last = next;
  last[2] ^= 1;
  test::write_pack(*repository_, {{.raw = next, .base = middle, .depth = 1}});
  const PackId on_that = test::write_pack(*repository_, {{.raw = last, .base = next, .depth = 2}});
  open();
  value_of(repository_->chunks().adopt_packs());
  testing::internal::CaptureStderr();
  EXPECT_TRUE(value_of(repair()).damaged.empty());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "it rebuilt the index in vain";
  // Beside a pack that is damaged, too, whose records move to another one.
  flip_body(1);
  const std::string file = pack_path(repository_->path(), on_that);
  test::flip_bit(file, -3);
  open();
  testing::internal::CaptureStderr();
  const auto report = value_of(repair());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(report.damaged.size(), 2u);
  EXPECT_TRUE(report.without_base.empty());
  EXPECT_EQ(log.find("rebuilding the index"), std::string::npos) << log;
}

TEST_F(Repair, CopiesAllRecordsOfAPackWhoseEndIsDamaged) {
  test::flip_bit(path_, -3);
  open();
  EXPECT_FALSE(damage().empty());
  const auto report = value_of(repair());
  ASSERT_EQ(report.damaged.size(), 1u);
  const PackRepair& pack = report.damaged[0];
  EXPECT_EQ(pack.pack, pack_);
  EXPECT_EQ(pack.kept, records_.size());
  EXPECT_TRUE(pack.lost.empty());
  EXPECT_TRUE(pack.complete);
  EXPECT_TRUE(pack.copy.has_value());
  EXPECT_FALSE(filesystem::exists(path_));
  EXPECT_TRUE(filesystem::exists(folder_ / "repo/" + pack.moved_to));
  open();
  EXPECT_TRUE(damage().empty());
  EXPECT_EQ(value_of(test::read_back(*repository_, snapshot_)), tree_);
  EXPECT_TRUE(value_of(repair()).damaged.empty());
}

TEST_F(Repair, KeepsAllButTheDamagedRecordAndNotesIt) {
  flip_body(1);
  open();
  const auto report = value_of(repair());
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].kept, records_.size() - 1);
  ASSERT_EQ(report.damaged[0].lost, std::vector<ChunkId>{records_[1].id});
  open();
  EXPECT_CODE(Code::not_found, repository_->chunks().get(ChunkKind::data, records_[1].id));
  for (std::size_t i = 0; i < records_.size(); ++i) {
    if (i == 1) continue;
    EXPECT_OK(repository_->chunks().get(ChunkKind::data, records_[i].id));
  }
  const DamageMarks marks(value_of(read_notes(*repository_)));
  EXPECT_TRUE(marks.is_damaged(records_[1].id, pack_));
  // The same content again heals it, also for the snapshot that was there before.
  value_of(test::back_up(*repository_, tree_, {.instant = snapshot_.instant + kSecond}));
  EXPECT_TRUE(damage().empty());
  EXPECT_EQ(value_of(test::read_back(*repository_, snapshot_)), tree_);
  EXPECT_TRUE(DamageMarks(value_of(read_notes(*repository_))).chunks().empty());
}

TEST_F(Repair, OnlySaysWhatItWouldDo) {
  flip_body(0);
  const Bytes before = test::read_whole(path_);
  open();
  const auto report = value_of(repair({.dry_run = true}));
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].lost.size(), 1u);
  EXPECT_EQ(report.damaged[0].moved_to, "");
  EXPECT_EQ(test::read_whole(path_), before);
  EXPECT_EQ(files_in("damaged") + files_in("notes") + files_in("tmp"), 0u);
}

TEST_F(Repair, TakesBasesFromAnywhereAndKeepsDeltasWithoutOne) {
  const Bytes one = test::noise(5000, 11);
  Bytes two = one;
  two[9] ^= 1;
  Bytes three = one;
  three[9] ^= 2;
  const Bytes nowhere = test::noise(5000, 12);
  Bytes four = nowhere;
  four[9] ^= 4;
  test::write_pack(*repository_, {{.raw = one, .base = std::nullopt}});
  const PackId deltas =
      test::write_pack(*repository_, {{.raw = two, .base = one, .depth = 1},
                                      {.raw = three, .base = one, .depth = 1},
                                      {.raw = four, .base = nowhere, .depth = 1}});
  test::flip_bit(pack_path(repository_->path(), deltas), -3);
  open();
  const auto report = value_of(repair());
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].kept, 3u);
  EXPECT_TRUE(report.damaged[0].lost.empty());
  const auto read = [&](const Bytes& raw) {
    return repository_->chunks().get(ChunkKind::data,
                                     repository_->keys().chunk_id(ChunkKind::data, raw));
  };
  EXPECT_EQ(*value_of(read(two)), two);
  EXPECT_EQ(*value_of(read(three)), three);
  EXPECT_FALSE(read(four).ok());
  // The base comes back, and with it the delta.
  test::write_pack(*repository_, {{.raw = nowhere, .base = std::nullopt}});
  open();
  EXPECT_EQ(*value_of(read(four)), four);
}

// Once a prune has deleted anything, there is a list for ever, without packs.
TEST_F(Repair, FindsWhatABackupStoredAgainAlsoAfterAPrune) {
  test::write_pack(*repository_, {{.raw = test::noise(5000, 11), .base = std::nullopt}});
  const PruneOptions all{.spare_orphans = std::chrono::seconds(0)};
  EXPECT_EQ(value_of(prune(*repository_, all, {}, cancel_)).packs_deleted, 1u);
  EXPECT_EQ(files_in("condemned"), 1u);
  flip_body(1);
  open();
  EXPECT_FALSE(damage().empty());
  value_of(test::back_up(*repository_, tree_, {.instant = snapshot_.instant + kSecond}));
  const auto copy = value_of(repository_->index().find(records_[1].id));
  ASSERT_TRUE(copy.has_value());
  ASSERT_NE(copy->pack, pack_);
  const auto lost = [&] {
    open();
    const auto report = value_of(repair({.dry_run = true}));
    EXPECT_EQ(report.damaged.size(), 1u);
    return report.damaged.at(0).lost;
  };
  EXPECT_TRUE(lost().empty());
  // Of two copies the index names one.
  value_of(repository_->index().insert({{.pack = pack_, .chunks = chunk_ids(records_)}}));
  EXPECT_TRUE(lost().empty());
  // One that is about to be deleted is none, nor is any when nobody knows which.
  value_of(
      write_condemned(system_files(), repository_->keys(), folder_ / "repo", {9, {copy->pack}}));
  EXPECT_EQ(lost(), std::vector<ChunkId>{records_[1].id});
  test::flip_bit(folder_ / "repo/condemned/9", 50);
  EXPECT_EQ(lost(), std::vector<ChunkId>{records_[1].id});
  value_of(write_condemned(system_files(), repository_->keys(), folder_ / "repo", {9, {}}));
  const auto report = value_of(repair());
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_TRUE(report.damaged[0].lost.empty());
  EXPECT_EQ(report.damaged[0].kept, records_.size());
  open();
  EXPECT_TRUE(damage().empty());
  EXPECT_EQ(value_of(test::read_back(*repository_, snapshot_)), tree_);
}

// Trap 2 of deltas: each of two packs holds one chunk as a delta on the other. The copy elsewhere
// of what leaves with a pack must not need that pack.
TEST_F(Repair, KeepsOneCopyOfChunksThatAreDeltasOnEachOther) {
  const Bytes x = test::noise(5000, 11);
  Bytes y = x;
  y[9] ^= 1;
  const Bytes other = test::noise(5000, 12);
  const auto damage_last = [&](const PackId& pack) {
    const auto reader = value_of(repository_->chunks().pack(pack));
    test::flip_bit(pack_path(repository_->path(), pack),
                   static_cast<std::int64_t>(reader->records().back().offset) + 200);
  };
  for (const bool both : {false, true}) {
    SCOPED_TRACE(both);
    const PackId first = test::write_pack(*repository_, {{.raw = x, .base = std::nullopt},
                                                         {.raw = y, .base = x, .depth = 1},
                                                         {.raw = other, .base = std::nullopt}});
    value_of(repository_->chunks().adopt_packs());
    std::vector<test::TestRecord> crosswise{{.raw = x, .base = y, .depth = 1}};
    if (both) crosswise.push_back({.raw = y, .base = std::nullopt});
    crosswise.push_back({.raw = other, .base = std::nullopt});
    const PackId second = test::write_pack(*repository_, crosswise);
    value_of(repository_->chunks().adopt_packs());
    damage_last(first);
    if (both) damage_last(second);
    open();
    const auto report = value_of(repair());
    EXPECT_EQ(report.damaged.size(), both ? 2u : 1u);
    open();
    for (const Bytes& raw : {x, y}) {
      const ChunkId id = repository_->keys().chunk_id(ChunkKind::data, raw);
      const auto read = repository_->chunks().get(ChunkKind::data, id);
      ASSERT_OK(read);
      EXPECT_EQ(**read, raw);
    }
    for (const PackId& pack : value_of(repository_->chunks().list_packs())) {
      if (pack != pack_ && value_of(repository_->chunks().pack(pack))->kind() == ChunkKind::data) {
        filesystem::remove(pack_path(repository_->path(), pack));
      }
    }
  }
}

TEST_F(Repair, SaysWhichDeltasAreLostWithTheirBase) {
  const Bytes base = test::noise(5000, 11);
  const auto on = [](Bytes raw, std::size_t at) {
    raw[at] ^= 1;
    return raw;
  };
  const Bytes middle = on(base, 9);
  const Bytes top = on(middle, 99);
  const Bytes copied = on(base, 999);
  const Bytes nowhere = test::noise(5000, 12);
  const PackId plain = test::write_pack(*repository_, {{.raw = base, .base = std::nullopt}});
  test::write_pack(*repository_, {{.raw = top, .base = middle, .depth = 2},
                                  {.raw = middle, .base = base, .depth = 1},
                                  {.raw = copied, .base = base, .depth = 1},
                                  {.raw = on(nowhere, 1), .base = nowhere, .depth = 1}});
  test::write_pack(*repository_, {{.raw = copied, .base = std::nullopt}});
  test::flip_bit(pack_path(repository_->path(), plain), 128 + 200);
  open();
  const auto report = value_of(repair());
  const auto id = [&](const Bytes& raw) {
    return repository_->keys().chunk_id(ChunkKind::data, raw);
  };
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].lost, std::vector<ChunkId>{id(base)});
  EXPECT_EQ(std::set<ChunkId>(report.without_base.begin(), report.without_base.end()),
            (std::set<ChunkId>{id(middle), id(top)}));
  // Kept as they are: the base comes back, and with it both.
  test::write_pack(*repository_, {{.raw = base, .base = std::nullopt}});
  open();
  EXPECT_EQ(*value_of(repository_->chunks().get(ChunkKind::data, id(top))), top);
}

TEST_F(Repair, NotesAPackOfWhichNothingIsLeftAndMovesItAside) {
  test::write_whole(path_, test::noise(5000, 1));
  open();
  const auto report = value_of(repair());
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_FALSE(report.damaged[0].complete);
  EXPECT_FALSE(report.damaged[0].copy.has_value());
  EXPECT_EQ(DamageMarks(value_of(read_notes(*repository_))).packs(), std::set<PackId>{pack_});
  value_of(test::back_up(*repository_, tree_, {.instant = snapshot_.instant + kSecond}));
  EXPECT_TRUE(damage(0).empty());
  EXPECT_TRUE(DamageMarks(value_of(read_notes(*repository_))).packs().empty())
      << "verify takes the mark back once nothing is missing";
}

TEST_F(Repair, NeverOverwritesWhatWasMovedAsideBefore) {
  test::write_whole(folder_ / "repo/damaged/pack-" + pack_.hex(), as_bytes("older"));
  test::flip_bit(path_, -3);
  open();
  const auto report = value_of(repair());
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].moved_to, "damaged/pack-" + pack_.hex() + ".2");
  EXPECT_EQ(as_text(test::read_whole(folder_ / "repo/damaged/pack-" + pack_.hex())), "older");
}

TEST_F(Repair, DoesNotRunBesideAPrune) {
  const Fd held =
      value_of(system_files().open(folder_ / "repo/locks/prune", O_RDWR | O_CREAT, 0600));
  ASSERT_TRUE(value_of(system_files().try_lock(held, Lock::exclusive)));
  EXPECT_CODE(Code::busy, repair());
}

TEST_F(Repair, NamesAPackThatIsNotThere) {
  EXPECT_CODE(Code::not_found, repair({.packs = {random_id<PackId>()}}));
}

// What a repair must never do, wherever it was cut short: lose what could be read.
class RepairCrash : public Repair {
 protected:
  std::string fault_of(const std::string& path) {
    const auto repository = value_of(Repository::open(path, test::key_file()));
    for (int round = 0; round < 2; ++round) {
      const auto report = repair_packs(*repository, {}, {}, cancel_);
      if (!report) return report.error().message;
      if (round == 1 && !report->damaged.empty()) return "a second repair finds work";
    }
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const bool there = repository->chunks().get(ChunkKind::data, records_[i].id).ok();
      if (there != (i != 1)) return "record " + std::to_string(i) + (there ? " is" : " is not");
    }
    if (value_of(system_files().list(path + "/damaged")).empty()) return "the old pack is gone";
    const auto next = test::back_up(*repository, tree_, {.instant = snapshot_.instant + kSecond});
    if (!next) return next.error().message;
    const auto report = verify(*repository, {.read_data_percent = 100}, {}, cancel_);
    if (!report) return report.error().message;
    return report->damage.empty() ? "" : report->damage.front();
  }
  void damage_pack() {
    flip_body(1);
    test::flip_bit(path_, -3);
    repository_.reset();
    filesystem::rename(folder_ / "repo", folder_ / "origin");
  }
};

TEST_F(RepairCrash, SurvivesAFaultAndADeathAtEveryCall) {
  damage_pack();
  const std::string path = folder_ / "repo";
  for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
    for (std::size_t n = 1;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      filesystem::remove_all(path);
      filesystem::copy(folder_ / "origin", path, filesystem::copy_options::recursive);
      FaultyFiles files(system_files());
      auto repository = value_of(Repository::open(path, test::key_file(), {.files = &files}));
      files.fail_at(n, n % 2 == 0 ? ENOSPC : EACCES, then);
      const auto report = repair_packs(*repository, {}, {}, cancel_);
      const bool fired = files.fired();
      repository.reset();
      if (!fired) {
        EXPECT_OK(report);
        EXPECT_GT(n, 30u);
        break;
      }
      const std::string where = files.failed_call().second;
      ASSERT_EQ(fault_of(path), "") << where;
      n += files.calls_alike();
    }
  }
}

TEST_F(RepairCrash, SurvivesAPowerCutAfterEveryCall) {
  damage_pack();
  class Cutting final : public test::WatchedFiles {
   public:
    Cutting(PowerCutFiles& inner, std::string target)
        : WatchedFiles(inner), inner_files_(inner), target_(std::move(target)) {}
    std::size_t at = 0, calls = 0;
    PowerCutFiles::Unsynced unsynced = PowerCutFiles::Unsynced::nothing;

   protected:
    Result<void> before(test::Call call, const std::string&) override {
      const bool changes = call != test::Call::read && call != test::Call::list &&
                           call != test::Call::info && call != test::Call::lock;
      if (changes && ++calls == at) inner_files_.cut(target_, unsynced);
      return {};
    }

   private:
    PowerCutFiles& inner_files_;
    std::string target_;
  };
  const std::string path = folder_ / "repo";
  const std::string cut = folder_ / "cut";
  for (const auto unsynced : PowerCutFiles::kCuts) {
    for (std::size_t at = 1;; at += test::kCallStride) {
      SCOPED_TRACE(at);
      filesystem::remove_all(path);
      filesystem::remove_all(cut);
      filesystem::copy(folder_ / "origin", path, filesystem::copy_options::recursive);
      filesystem::remove_all(path + "/index");
      PowerCutFiles power(system_files(), path);
      Cutting files(power, cut);
      auto repository = value_of(Repository::open(
          path, test::key_file(), {.index_dir = folder_ / "index", .files = &files}));
      files.unsynced = unsynced;
      files.calls = 0;
      files.at = at;
      value_of(repair_packs(*repository, {}, {}, cancel_));
      const bool was_cut = files.calls >= at;
      repository.reset();
      filesystem::remove_all(folder_ / "index");
      if (!was_cut) {
        EXPECT_GT(at, 10u);
        break;
      }
      ASSERT_EQ(fault_of(cut), "");
    }
  }
}

class RepairRecords : public Repair {
 protected:
  std::string file() { return folder_ / "repo/snapshots/" + snapshot_.id.hex(); }
};

TEST_F(RepairRecords, ListsNothingWhereAllIsWholeAndTouchesNothingWhole) {
  EXPECT_TRUE(value_of(find_damaged(*repository_, RecordKind::snapshot)).empty());
  EXPECT_CODE(Code::invalid, repair_record(*repository_, RecordKind::snapshot, snapshot_.id.hex()));
  EXPECT_CODE(Code::not_found,
              repair_record(*repository_, RecordKind::snapshot, random_id<SnapshotId>().hex()));
}

TEST_F(RepairRecords, WritesADamagedSnapshotAgainFromTheIndex) {
  const Bytes whole = test::read_whole(file());
  test::flip_bit(file(), 100);
  open();
  const auto found = value_of(find_damaged(*repository_, RecordKind::snapshot));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].can_be_restored);
  EXPECT_FALSE(damage(0).empty()) << "verify reads the file and not the index";
  const auto repaired =
      value_of(repair_record(*repository_, RecordKind::snapshot, snapshot_.id.hex()));
  EXPECT_TRUE(repaired.restored);
  EXPECT_EQ(test::read_whole(file()), whole);
  EXPECT_NE(test::read_whole(folder_ / "repo/" + repaired.moved_to), whole);
  EXPECT_TRUE(damage(0).empty());
}

// Whoever meets a chunk that is elsewhere rebuilds the index on his own.
TEST_F(RepairRecords, WritesADamagedSnapshotAgainFromAnIndexThatWasRebuilt) {
  const Bytes whole = test::read_whole(file());
  test::flip_bit(file(), 100);
  open();
  value_of(repository_->chunks().rebuild_index());
  EXPECT_TRUE(
      value_of(repair_record(*repository_, RecordKind::snapshot, snapshot_.id.hex())).restored);
  EXPECT_EQ(test::read_whole(file()), whole);
}

TEST_F(RepairRecords, MovesADamagedSnapshotAsideWhenNoCopyIsLeft) {
  test::flip_bit(file(), 100);
  repository_.reset();
  filesystem::remove_all(folder_ / "repo/index");
  open();
  const auto found = value_of(find_damaged(*repository_, RecordKind::snapshot));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_FALSE(found[0].can_be_restored);
  const auto repaired =
      value_of(repair_record(*repository_, RecordKind::snapshot, snapshot_.id.hex()));
  EXPECT_FALSE(repaired.restored);
  EXPECT_FALSE(filesystem::exists(file()));
  EXPECT_EQ(repaired.moved_to, "damaged/snapshot-" + snapshot_.id.hex());
  EXPECT_TRUE(filesystem::exists(folder_ / "repo/" + repaired.moved_to));
}

TEST_F(RepairRecords, MovesADamagedNoteAside) {
  value_of(mark_damage(*repository_, {{records_[0].id, pack_}}, {}, 1));
  const std::string name = value_of(system_files().list(folder_ / "repo/notes")).at(0);
  test::flip_bit(folder_ / "repo/notes/" + name, 40);
  const auto found = value_of(find_damaged(*repository_, RecordKind::note));
  ASSERT_EQ(found.size(), 1u);
  value_of(repair_record(*repository_, RecordKind::note, name));
  EXPECT_TRUE(value_of(find_damaged(*repository_, RecordKind::note)).empty());
  EXPECT_TRUE(value_of(read_notes(*repository_)).unreadable().empty());
}

// Wherever the repair of a snapshot's record was cut short: the damaged bytes stand somewhere, a
// record of which there is a copy never lacks its name, and a second run ends it.
class RepairRecordsCrash : public RepairRecords {
 protected:
  RepairRecordsCrash() : whole_(test::read_whole(file())) {
    test::flip_bit(file(), 100);
    damaged_ = test::read_whole(file());
    repository_.reset();
    filesystem::rename(folder_ / "repo/index", folder_ / "copies");
    filesystem::remove_all(folder_ / "repo/packs");  // nothing here looks at them
  }

  // A repository with an index that has a copy of the record, or none.
  Result<std::unique_ptr<Repository>> open_with(bool copy, const std::string& path,
                                                Files& files = system_files()) {
    filesystem::remove_all(folder_ / "index");
    if (copy) filesystem::copy(folder_ / "copies", folder_ / "index");
    return Repository::open(path, test::key_file(),
                            {.index_dir = folder_ / "index", .files = &files});
  }

  std::string fault_of(const std::string& path, bool copy) {
    const std::string record = path + "/snapshots/" + snapshot_.id.hex();
    const bool here = filesystem::exists(record);
    if (copy && !here) return "the record lacks its name";
    const Bytes now = here ? test::read_whole(record) : Bytes();
    if (here && now != damaged_ && (!copy || now != whole_)) return "the record has other bytes";
    bool kept = now == damaged_;
    for (const auto& each : filesystem::directory_iterator(path + "/damaged")) {
      kept = kept || test::read_whole(each.path()) == damaged_;
    }
    if (!kept) return "the damaged bytes are gone";
    const auto repository = open_with(copy, path);
    if (!repository) return repository.error().message;
    if (now == damaged_) {
      const auto again = repair_record(**repository, RecordKind::snapshot, snapshot_.id.hex());
      if (!again) return again.error().message;
    }
    const auto found = find_damaged(**repository, RecordKind::snapshot);
    if (!found) return found.error().message;
    if (!found->empty()) return "it is still damaged";
    return filesystem::exists(record) == copy ? "" : "it should not be there";
  }

  // Fails the n-th call of a repair, and looks at what is left with the power on and after a cut.
  // False: there is no n-th call.
  bool survives(std::size_t n, FaultyFiles::Then then, bool copy) {
    const std::string root = folder_ / "disk";
    filesystem::remove_all(root);
    filesystem::create_directory(root);
    filesystem::copy(folder_ / "repo", root + "/repo", filesystem::copy_options::recursive);
    PowerCutFiles disk(system_files(), root);
    FaultyFiles files(disk);
    {
      const auto repository = value_of(open_with(copy, root + "/repo", files));
      files.fail_at(n, n % 2 == 0 ? ENOSPC : EACCES, then);
      const auto done = repair_record(*repository, RecordKind::snapshot, snapshot_.id.hex());
      if (!files.fired()) {
        EXPECT_OK(done);
      }
    }
    const std::string where = files.failed_call().second;
    for (const auto unsynced : PowerCutFiles::kCuts) {
      disk.cut(folder_ / "after", unsynced);
      EXPECT_EQ(fault_of(folder_ / "after/repo", copy), "") << where;
      filesystem::remove_all(folder_ / "after");
    }
    EXPECT_EQ(fault_of(root + "/repo", copy), "") << where;
    return files.fired();
  }

  const Bytes whole_;
  Bytes damaged_;
};

TEST_F(RepairRecordsCrash, LosesNothingAtAnyCall) {
  for (const bool copy : {true, false}) {
    for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
      std::size_t n = 1;
      while (survives(n, then, copy)) {
        ASSERT_FALSE(HasFailure()) << "call " << n << (copy ? " with a copy" : " without");
        n += test::kCallStride;
      }
      EXPECT_GT(n, copy ? 15u : 8u);
    }
  }
}

}  // namespace
}  // namespace bygone::store
