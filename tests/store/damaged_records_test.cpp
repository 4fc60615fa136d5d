// SPDX-License-Identifier: Apache-2.0
//
// What stands in small files of its own and is damaged: verify names it by path, repair moves it
// aside where that costs nobody anything, and verify is clean afterwards.
#include <cerrno>
#include <filesystem>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/format.h"
#include "store/notes.h"
#include "store/prune.h"
#include "store/repair.h"
#include "store/slots.h"
#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/damage.h"
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

const std::atomic<bool> kKeepGoing{false};

// Three snapshots of one source, of which the middle one was forgotten, two key slots, and a list
// of prune that waits.
class DamagedRecords : public testing::Test {
 protected:
  DamagedRecords() {
    value_of(Repository::create(path_, test::key_file()));
    filesystem::remove(path_ + "/reserve");
    open();
    for (int i = 0; i < 3; ++i) {
      tree_["a"][0] = static_cast<std::uint8_t>(i);
      snapshots_.push_back(
          value_of(test::back_up(*repository_, tree_, {.instant = (instant_ + i) * kSecond})));
    }
    value_of(move_to_trash(*repository_, {middle()}, instant_ * kSecond));
    other_slot_ = value_of(add_slot(*repository_, test::key_file("another"), "in the safe"));
    value_of(write_condemned(system_files(), repository_->keys(), path_,
                             {3, value_of(repository_->chunks().list_packs())}));
  }

  void open(Files& files = system_files()) {
    repository_.reset();
    repository_ = value_of(Repository::open(
        path_, test::key_file(),
        {.index_dir = folder_ / ("index" + std::to_string(++indexes_)), .files = &files}));
  }
  const SnapshotId& middle() const { return snapshots_[1].id; }
  std::string trashed() const { return "trash/" + middle().hex(); }
  std::string slot() const { return "keys/" + other_slot_; }
  void flip(const std::string& file, std::int64_t at = 100) {
    test::flip_bit(path_ + "/" + file, at);
  }
  std::vector<std::string> damage() {
    return value_of(verify(*repository_, {.read_data_percent = 100}, {}, kKeepGoing)).damage;
  }
  Result<RecordRepair> repair(RecordKind kind, const std::string& name) {
    return repair_record(*repository_, kind, name);
  }
  void expect_both_live_whole() {
    for (const std::size_t i : {0u, 2u}) {
      MemoryTree tree = tree_;
      tree["a"][0] = static_cast<std::uint8_t>(i);
      EXPECT_EQ(value_of(test::read_back(*repository_, snapshots_[i])), tree);
    }
  }

  test::TempFolder folder_;
  const std::string path_ = folder_ / "repo";
  const Nanoseconds instant_ = 1'710'000'000;
  MemoryTree tree_ = {{"a", test::noise(70'000, 1)}, {"b", test::prose(2000, 2)}};
  std::unique_ptr<Repository> repository_;
  std::vector<Snapshot> snapshots_;
  std::string other_slot_;
  int indexes_ = 0;
};

TEST_F(DamagedRecords, AreNamedByVerifyWithWhatToDo) {
  ASSERT_EQ(damage(), std::vector<std::string>());
  const std::string note =
      "notes/" +
      value_of(read_notes(*repository_)).find(Subject::of(middle()), "trashed")->id.hex();
  struct Case {
    std::string file;
    std::int64_t at;
    std::string remedy;
  };
  const Case cases[] = {
      {trashed(), 100, "bygone repair trash " + middle().hex() + " moves it aside"},
      {note, 100, "bygone repair notes"},
      {"condemned/3", 100, "bygone repair lists 3, or the next bygone prune"},
      {slot(), 0, "bygone repair keys " + other_slot_ + " moves it aside"},
      {slot(), 80, "bygone key remove " + other_slot_},
      {slot(), -1, "bygone key remove " + other_slot_},
      {"keys/" + repository_->slot(), -1, "bygone key remove " + repository_->slot()},
      {"snapshots/" + snapshots_[2].id.hex(), 100, "moves it aside"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.file);
    flip(each.file, each.at);
    open();  // without copies of records
    const auto lines = damage();
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find(each.file), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find(each.remedy), std::string::npos) << lines[0];
    flip(each.file, each.at);
  }
}

// A record that a power cut left in both folders counts as not forgotten; it is looked at all the
// same, and the other one is its copy.
TEST_F(DamagedRecords, InTheTrashAreSeenBesideALiveOne) {
  const std::string live = "snapshots/" + middle().hex();
  filesystem::copy_file(path_ + "/" + trashed(), path_ + "/" + live);
  for (const std::string& each : {trashed(), live}) {
    SCOPED_TRACE(each);
    const Bytes whole = test::read_whole(path_ + "/" + each);
    flip(each);
    open();
    const auto lines = damage();
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find(each), std::string::npos) << lines[0];
    const RecordKind kind = each == live ? RecordKind::snapshot : RecordKind::trashed;
    EXPECT_TRUE(value_of(repair(kind, middle().hex())).restored);
    EXPECT_EQ(test::read_whole(path_ + "/" + each), whole);
    EXPECT_EQ(damage(), std::vector<std::string>());
  }
}

TEST_F(DamagedRecords, WithAnyBitOfAKeySlotFlippedAreSeen) {
  const Bytes whole = test::read_whole(path_ + "/" + slot());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes flipped = whole;
      flipped[at] ^= static_cast<std::uint8_t>(1u << bit);
      test::write_whole(path_ + "/" + slot(), flipped);
      const auto found = value_of(find_damaged(*repository_, RecordKind::key));
      ASSERT_EQ(found.size(), 1u) << "byte " << at << " bit " << bit;
      EXPECT_EQ(found[0].path, slot());
      // Where it can be known that it opens for nobody it may go.
      const auto head = KeyRing::read_head(other_slot_, flipped);
      EXPECT_EQ(found[0].must_stay, head.ok() || head.error().code == Code::unsupported);
    }
  }
  for (std::size_t size = 0; size < whole.size(); ++size) {
    test::write_whole(path_ + "/" + slot(), ByteView(whole).first(size));
    ASSERT_EQ(value_of(find_damaged(*repository_, RecordKind::key)).size(), 1u) << size;
  }
}

TEST_F(DamagedRecords, OfKeysAreMovedAsideWhereNobodyLosesTheWayIn) {
  flip(slot(), -1);  // the label: its secret opens as ever
  EXPECT_CODE(Code::invalid, repair(RecordKind::key, other_slot_));
  EXPECT_OK(Repository::open(path_, test::key_file("another"), {.index_dir = folder_ / "other"}));
  flip(slot(), -1);
  EXPECT_CODE(Code::invalid, repair(RecordKind::key, other_slot_));  // whole
  flip(slot(), 0);
  const Bytes broken = test::read_whole(path_ + "/" + slot());
  // The one that opened: nobody knows of another.
  flip("keys/" + repository_->slot(), 0);
  EXPECT_CODE(Code::invalid, repair(RecordKind::key, repository_->slot()));
  EXPECT_CODE(Code::invalid, repair(RecordKind::key, other_slot_));
  EXPECT_EQ(value_of(system_files().list(path_ + "/keys")).size(), 2u);
  flip("keys/" + repository_->slot(), 0);
  const auto repaired = value_of(repair(RecordKind::key, other_slot_));
  EXPECT_EQ(repaired.moved_to, "damaged/key-" + other_slot_);
  EXPECT_FALSE(repaired.restored);
  EXPECT_EQ(test::read_whole(path_ + "/" + repaired.moved_to), broken);
  EXPECT_EQ(damage(), std::vector<std::string>());
  EXPECT_OK(Repository::open(path_, test::key_file(), {.index_dir = folder_ / "other"}));
}

// A list of which nobody knows what it named: it stops nothing, and lets nothing go.
TEST_F(DamagedRecords, OfPruneAreWrittenAgainWithoutPacks) {
  const auto before = value_of(repository_->chunks().list_packs());
  flip("condemned/3");
  const Bytes broken = test::read_whole(path_ + "/condemned/3");
  const auto repaired = value_of(repair(RecordKind::list, "3"));
  EXPECT_TRUE(repaired.restored);
  EXPECT_EQ(repaired.moved_to, "damaged/condemned-3");
  EXPECT_EQ(test::read_whole(path_ + "/damaged/condemned-3"), broken);
  EXPECT_EQ(value_of(read_condemned(system_files(), repository_->keys(), path_, 3)),
            (CondemnedList{3, {}}))
      << "numbers never repeat";
  EXPECT_EQ(damage(), std::vector<std::string>());
  EXPECT_CODE(Code::invalid, repair(RecordKind::list, "3"));
  EXPECT_CODE(Code::not_found, repair(RecordKind::list, "4"));
  EXPECT_CODE(Code::not_found, repair(RecordKind::list, "03"));
  EXPECT_EQ(value_of(repository_->chunks().list_packs()), before);
  // What it named counts as stored again, and prune looks for itself.
  EXPECT_EQ(value_of(test::back_up(*repository_, {{"b", tree_["b"]}}, {.source = "other"})).bytes,
            2000u);
  EXPECT_OK(prune(*repository_, {.spare_orphans = std::chrono::seconds(0)}, {}, kKeepGoing));
  expect_both_live_whole();
  EXPECT_EQ(damage(), std::vector<std::string>());
}

TEST_F(DamagedRecords, InTheTrashAreWrittenAgainFromTheIndex) {
  const Bytes whole = test::read_whole(path_ + "/" + trashed());
  flip(trashed());
  repository_.reset();
  indexes_ = 0;  // that of whoever made the snapshot
  open();
  EXPECT_TRUE(value_of(repair(RecordKind::trashed, middle().hex())).restored);
  EXPECT_EQ(test::read_whole(path_ + "/" + trashed()), whole);
  EXPECT_EQ(damage(), std::vector<std::string>());
  value_of(restore_from_trash(*repository_, middle()));
}

// Its successor names it: that it is gone is explained, and what was said of it stays for the day
// on which somebody brings a copy from elsewhere.
TEST_F(DamagedRecords, OfSnapshotsThatAreLostLeaveAnExplanationAndTheirPin) {
  const auto pin = [&] {
    Notes notes = value_of(read_notes(*repository_));
    value_of(write_notes(*repository_, notes, {*pin_note(notes, middle(), Pinning::pin)}, 1));
  };
  const auto prune_all = [&] {
    return prune(*repository_, {.spare_orphans = std::chrono::seconds(0)}, {}, kKeepGoing);
  };
  pin();
  const Bytes whole = test::read_whole(path_ + "/" + trashed());
  for (const RecordKind kind : {RecordKind::trashed, RecordKind::snapshot}) {
    const std::string file =
        kind == RecordKind::trashed ? trashed() : "snapshots/" + middle().hex();
    flip(file);
    open();
    EXPECT_CODE(Code::corrupt, prune_all());
    const auto repaired = value_of(repair(kind, middle().hex()));
    EXPECT_FALSE(repaired.restored);
    EXPECT_TRUE(filesystem::exists(path_ + "/" + repaired.moved_to));
    EXPECT_EQ(damage(), std::vector<std::string>());
    EXPECT_OK(prune_all());
    EXPECT_EQ(damage(), std::vector<std::string>());
    EXPECT_TRUE(is_pinned(value_of(read_notes(*repository_)), middle()));
    expect_both_live_whole();
    test::write_whole(path_ + "/snapshots/" + middle().hex(), whole);
    EXPECT_FALSE(damage().empty()) << "what it needs went with prune";
    EXPECT_TRUE(test::is_ok(repository_->snapshot(middle())));
  }
}

// Wherever a repair was cut short: the damaged bytes stand somewhere, a list never lacks its
// number, a record that is gone is explained, and a second run ends it.
class DamagedRecordsCrash : public DamagedRecords {
 protected:
  std::string fault_of(const std::string& path, RecordKind kind, const std::string& name,
                       const std::string& file, const Bytes& broken) {
    const auto repository =
        Repository::open(path, test::key_file(), {.index_dir = folder_ / "after-index"});
    if (!repository) return repository.error().message;
    const bool here = filesystem::exists(path + "/" + file);
    const Bytes now = here ? test::read_whole(path + "/" + file) : Bytes();
    bool kept = now == broken;
    for (const auto& each : filesystem::directory_iterator(path + "/damaged")) {
      kept = kept || test::read_whole(each.path()) == broken;
    }
    if (!kept) return "the damaged bytes are gone";
    if (kind == RecordKind::list && !here) return "the list lacks its number";
    if (kind == RecordKind::trashed && !here &&
        !gone(value_of(read_notes(**repository)), *SnapshotId::from_hex_text(name))) {
      return "that it is gone is not explained";
    }
    if (now == broken) {
      const auto again = repair_record(**repository, kind, name);
      if (!again) return again.error().message;
    }
    const auto found = find_damaged(**repository, kind);
    if (!found) return found.error().message;
    return found->empty() ? "" : "it is still damaged";
  }

  // Fails the n-th call. False: there is none.
  bool survives(std::size_t n, FaultyFiles::Then then, RecordKind kind, const std::string& name,
                const std::string& file) {
    const std::string root = folder_ / "disk";
    filesystem::remove_all(root);
    filesystem::create_directory(root);
    filesystem::copy(path_, root + "/repo", filesystem::copy_options::recursive);
    const Bytes broken = test::read_whole(path_ + "/" + file);
    PowerCutFiles disk(system_files(), root);
    FaultyFiles files(disk);
    {
      const auto repository =
          value_of(Repository::open(root + "/repo", test::key_file(),
                                    {.index_dir = folder_ / "during-index", .files = &files}));
      files.fail_at(n, n % 2 == 0 ? ENOSPC : EACCES, then);
      const auto done = repair_record(*repository, kind, name);
      if (!files.fired()) {
        EXPECT_OK(done);
      }
    }
    const std::string where = files.failed_call().second;
    for (const auto unsynced : PowerCutFiles::kCuts) {
      disk.cut(folder_ / "after", unsynced);
      EXPECT_EQ(fault_of(folder_ / "after/repo", kind, name, file, broken), "") << where;
      filesystem::remove_all(folder_ / "after");
    }
    EXPECT_EQ(fault_of(root + "/repo", kind, name, file, broken), "") << where;
    return files.fired();
  }
};

TEST_F(DamagedRecordsCrash, LoseNothingAtAnyCall) {
  filesystem::remove_all(path_ + "/packs");  // nothing here looks at them
  flip("condemned/3");
  flip(trashed());
  flip(slot(), 0);
  struct Case {
    RecordKind kind;
    std::string name, file;
  };
  const Case cases[] = {{RecordKind::list, "3", "condemned/3"},
                        {RecordKind::trashed, middle().hex(), trashed()},
                        {RecordKind::key, other_slot_, slot()}};
  for (const Case& each : cases) {
    SCOPED_TRACE(each.file);
    for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
      std::size_t n = 1;
      while (survives(n, then, each.kind, each.name, each.file)) {
        ASSERT_FALSE(HasFailure()) << "call " << n;
        n += test::kCallStride;
      }
      EXPECT_GT(n, 8u);
    }
  }
}

}  // namespace
}  // namespace bygone::store
