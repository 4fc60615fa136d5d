// SPDX-License-Identifier: Apache-2.0
//
// A program whose keys were rotated by another one since it opened the repository: what it cannot
// open is no damage, and it neither moves nor overwrites any of it, nor goes on as if it were not
// there.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/forget.h"
#include "store/memory.h"
#include "store/prune.h"
#include "store/record.h"
#include "store/repair.h"
#include "store/session.h"
#include "store/slots.h"
#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

const std::atomic<bool> kNotCancelled{false};

class OldKeys : public testing::Test {
 protected:
  OldKeys() {
    value_of(Repository::create(path_, test::key_file()));
    auto repository = test::reopen(path_);
    one_ = value_of(test::back_up(*repository, tree_));
    repository.reset();
    // The program of the test: another one, with an index of its own.
    old_ = test::reopen(path_, folder_ / "old-index");
    repository = test::reopen(path_);
    std::vector<Secret> secrets;
    secrets.push_back(test::key_file());
    value_of(rotate_keys(*repository, secrets, Others::keep));
    repository.reset();
    new_ = test::reopen(path_);
  }

  Snapshot back_up_anew() {
    return value_of(test::back_up(*new_, {{"b", test::noise(90'000, 2)}},
                                  {.instant = 1'710'000'100 * kSecond}));
  }
  NoteId pin_anew(const SnapshotId& id) {
    Notes notes = value_of(read_notes(*new_));
    value_of(write_notes(*new_, notes, {*pin_note(notes, id, Pinning::pin)}, 1));
    return notes.find(Subject::of(id), "pin")->id;
  }
  // Names and content of all that counts.
  std::map<std::string, Bytes> truth() const {
    std::map<std::string, Bytes> files;
    for (const char* part :
         {"keys", "packs", "snapshots", "notes", "trash", "condemned", "damaged"}) {
      for (const auto& each : filesystem::recursive_directory_iterator(path_ + "/" + part)) {
        if (each.is_regular_file()) files[each.path()] = test::read_whole(each.path());
      }
    }
    return files;
  }
  bool still_has(const std::map<std::string, Bytes>& before) const {
    const auto now = truth();
    return std::includes(now.begin(), now.end(), before.begin(), before.end());
  }
  static void expect_refused(const Error& error) {
    EXPECT_TRUE(needs_newer_key(error)) << error.message;
    EXPECT_NE(error.message.find("sealed with a newer key"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("hint: start it again"), std::string::npos) << error.message;
  }
  template <typename T>
  static void expect_refused(const Result<T>& result) {
    ASSERT_FALSE(result.ok());
    expect_refused(result.error());
  }

  test::TempFolder folder_;
  const std::string path_ = folder_ / "repo";
  const MemoryTree tree_ = {{"a", test::noise(90'000, 1)}};
  Snapshot one_;
  std::unique_ptr<Repository> old_, new_;
};

TEST_F(OldKeys, AnObjectOfALaterEpochIsDeniedAndNotDamaged) {
  const Snapshot two = back_up_anew();
  expect_refused(old_->snapshot(two.id));
  expect_refused(old_->snapshots());
  std::vector<std::string> damaged, locked;
  expect_refused(old_->snapshots(&damaged));
  // Who only reads goes on with what he can.
  EXPECT_EQ(value_of(old_->snapshots(&damaged, &locked)), std::vector{one_});
  EXPECT_TRUE(damaged.empty());
  EXPECT_EQ(locked.size(), 1u);
  EXPECT_EQ(value_of(test::read_back(*old_, one_)), tree_);
}

TEST_F(OldKeys, VerifyFailsAndCallsNothingDamaged) {
  const Snapshot two = back_up_anew();
  const auto verified = [&] {
    return verify(*old_, {.read_data_percent = 100}, {}, kNotCancelled);
  };
  expect_refused(verified());
  // A record alone, a pack alone, a note alone.
  value_of(remove_for_good(*new_, {two}, 1));
  filesystem::remove_all(path_ + "/notes");
  filesystem::create_directory(path_ + "/notes");
  expect_refused(verified());
  for (const PackId& pack : value_of(new_->chunks().list_packs())) {
    if (!old_->chunks().pack(pack)) filesystem::remove(pack_path(path_, pack));
  }
  EXPECT_TRUE(value_of(verified()).damage.empty());
  pin_anew(one_.id);
  expect_refused(verified());
  EXPECT_TRUE(filesystem::is_empty(path_ + "/damaged"));
}

TEST_F(OldKeys, RepairLeavesAloneWhatIsWhole) {
  const Snapshot two = back_up_anew();
  const NoteId pin = pin_anew(one_.id);
  const auto before = truth();
  expect_refused(find_damaged(*old_, RecordKind::snapshot));
  expect_refused(find_damaged(*old_, RecordKind::note));
  expect_refused(repair_record(*old_, RecordKind::snapshot, two.id.hex()));
  expect_refused(repair_record(*old_, RecordKind::note, pin.hex()));
  expect_refused(repair_packs(*old_, {}, {}, kNotCancelled));
  EXPECT_TRUE(still_has(before));
}

TEST_F(OldKeys, NoBackupIsNumberedByAHistoryOfWhichAPartIsMissing) {
  back_up_anew();
  const auto session = value_of(Session::begin(*old_, Compression::fastest));
  expect_refused(session->claim(SourceKind::folder, "host", "host", "db"));
  expect_refused(test::back_up(*old_, tree_));
  EXPECT_EQ(value_of(old_->snapshot_ids()).size(), 2u);
}

TEST_F(OldKeys, AListOfALaterEpochIsNeverWrittenOver) {
  const PackId pack = value_of(new_->chunks().list_packs()).front();
  value_of(
      write_condemned(system_files(), new_->keys(), path_, {.generation = 3, .packs = {pack}}));
  const auto before = truth();
  expect_refused(prune(*old_, {}, {}, kNotCancelled));
  expect_refused(Session::begin(*old_, Compression::fastest));
  EXPECT_TRUE(still_has(before));
}

TEST_F(OldKeys, NothingIsForgottenPrunedOrSaidPastANoteOfALaterEpoch) {
  pin_anew(one_.id);
  const auto before = truth();
  expect_refused(plan_forgetting(*old_, {.last = 1}, {}));
  expect_refused(move_to_trash(*old_, {one_.id}, 1));
  expect_refused(remove_for_good(*old_, {one_}, 1));
  expect_refused(prune(*old_, {}, {}, kNotCancelled));
  expect_refused(Session::begin(*old_, Compression::fastest));
  Notes notes = value_of(read_notes(*old_));
  expect_refused(write_notes(*old_, notes, {shrink_note(one_.id)}, 1));
  EXPECT_TRUE(notes.damaged_names().empty());
  EXPECT_TRUE(still_has(before));
}

TEST_F(OldKeys, NothingIsForgottenOrPrunedPastARecordOfALaterEpoch) {
  const Snapshot two = back_up_anew();
  value_of(move_to_trash(*new_, {two.id}, 1));
  filesystem::remove_all(path_ + "/notes");
  filesystem::create_directory(path_ + "/notes");
  for (const bool is_trashed : {true, false}) {
    SCOPED_TRACE(is_trashed);
    if (!is_trashed) value_of(restore_from_trash(*new_, two.id));
    const auto before = truth();
    expect_refused(plan_forgetting(*old_, {.last = 1}, {}));
    expect_refused(prune(*old_, {}, {}, kNotCancelled));
    if (is_trashed) {
      expect_refused(prune(*old_, {.empty_trash = true}, {}, kNotCancelled));
      expect_refused(remove_from_trash(*old_, {two.id}, 1));
    }
    EXPECT_TRUE(still_has(before));
  }
}

// That a newer snapshot is gone on purpose says a note that cannot be read: no reason to cry.
TEST_F(OldKeys, NoAlarmIsRaisedByWhatCannotBeRead) {
  const Snapshot two = back_up_anew();
  value_of(remember(*new_, folder_ / "state", two));
  value_of(remove_for_good(*new_, {two}, 1));
  EXPECT_TRUE(value_of(check_memory(*new_, folder_ / "state")).empty());
  expect_refused(check_memory(*old_, folder_ / "state"));
}

// A bit that flips in the epoch of an object names one that no slot has: damage, as ever.
TEST_F(OldKeys, AnEpochThatNoSlotNamesIsDamage) {
  const std::string file = path_ + "/snapshots/" + one_.id.hex();
  const auto with_flipped_bit = [&](unsigned bit) {
    test::flip_bit(file, static_cast<std::int64_t>(bit / 8), bit % 8);
    filesystem::remove_all(folder_ / "fresh");
    const auto fresh = test::reopen(path_, folder_ / "fresh");
    auto read = fresh->snapshot(one_.id);
    test::flip_bit(file, static_cast<std::int64_t>(bit / 8), bit % 8);
    return read;
  };
  for (unsigned bit = 0; bit < 32; ++bit) EXPECT_CODE(Code::corrupt, with_flipped_bit(bit)) << bit;
  test::flip_bit(file, 0, 3);
  old_ = nullptr;
  filesystem::remove_all(folder_ / "old-index");
  old_ = test::reopen(path_, folder_ / "old-index");
  EXPECT_EQ(value_of(find_damaged(*old_, RecordKind::snapshot)).size(), 1u);
  EXPECT_OK(repair_record(*old_, RecordKind::snapshot, one_.id.hex()));
  EXPECT_TRUE(filesystem::exists(path_ + "/damaged/snapshot-" + one_.id.hex()));
}

}  // namespace
}  // namespace bygone::store
