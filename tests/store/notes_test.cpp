// SPDX-License-Identifier: Apache-2.0
#include "store/notes.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "store/base/codec.h"
#include "store/format.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/sync_order.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::value_of;

const SnapshotId kOne = SnapshotId::from(test::noise(16, 1));
const SnapshotId kTwo = SnapshotId::from(test::noise(16, 2));
constexpr Nanoseconds kWritten = 1'710'000'000 * kSecond;

Bytes text(std::string_view value) { return {value.begin(), value.end()}; }

Note full_note() {
  return {.subject = Subject::of(ChunkId::from(test::noise(32, 3))),
          .key = "damaged",
          .value = text("why"),
          .counter = UINT64_MAX,
          .time = -kWritten,
          .unknown_fields = {{100, {1, 2}}, {200, {}}}};
}

TEST(Note, GivesEveryFieldBackAndIsCanonical) {
  const Bytes bytes = encode_note(full_note());
  EXPECT_EQ(value_of(decode_note(bytes)), full_note());
  EXPECT_EQ(encode_note(value_of(decode_note(bytes))), bytes);
  const Note small{.subject = Subject::of(kOne), .key = "k", .counter = 1};
  EXPECT_EQ(value_of(decode_note(encode_note(small))), small);
}

TEST(Note, RefusesWhatItMustKnowAndDoesNot) {
  Note note = full_note();
  note.unknown_fields.emplace_back(0x8000 | 300, text("x"));
  EXPECT_CODE(Code::unsupported, decode_note(encode_note(note)));
  note = full_note();
  note.subject.kind = static_cast<Subject::Kind>(9);
  EXPECT_CODE(Code::unsupported, decode_note(encode_note(note)));
}

TEST(Note, RefusesWhatLacksAFieldOrIsOutOfRange) {
  const std::pair<const char*, void (*)(Note&)> cases[] = {
      {"no key", [](Note& n) { n.key.clear(); }},
      {"a long key", [](Note& n) { n.key.assign(kMaxNoteKey + 1, 'x'); }},
      {"a long value", [](Note& n) { n.value.assign(kMaxNoteValue + 1, 1); }},
      {"no counter", [](Note& n) { n.counter = 0; }},
      {"a short subject", [](Note& n) { n.subject.id.pop_back(); }},
      {"the id of another kind", [](Note& n) { n.subject.kind = Subject::Kind::pack; }},
  };
  for (const auto& [name, change] : cases) {
    Note note = full_note();
    change(note);
    EXPECT_CODE(Code::corrupt, decode_note(encode_note(note))) << name;
  }
  EXPECT_CODE(Code::corrupt, decode_note({}));
}

TEST(Note, OfRandomOrChangedBytesIsDecodedWithinItsBounds) {
  const Bytes whole = encode_note(full_note());
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    ignore(decode_note(test::noise(seed % 100, seed)), "only that it returns");
    Bytes changed = whole;
    const Bytes random = test::noise(2, seed);
    changed[random[0] % changed.size()] = random[1];
    ignore(decode_note(changed), "only that it returns");
  }
}

class NotesTest : public testing::Test {
 protected:
  void say(const Subject& subject, const std::string& key, std::string_view value) {
    Notes notes = value_of(read_notes(*repository_));
    value_of(write_notes(*repository_, notes, {{subject, key, text(value)}}, kWritten));
  }
  std::string said(const Subject& subject, const std::string& key) {
    const Notes notes = value_of(read_notes(*repository_));
    const Note* note = notes.find(subject, key);
    return note == nullptr ? "(nothing)" : std::string(as_text(note->value));
  }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> list;
    for (const auto& each : filesystem::directory_iterator(folder_ / "repo/notes")) {
      list.push_back(each.path());
    }
    return list;
  }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_ = test::new_repository(folder_ / "repo");
};

TEST_F(NotesTest, TheLatestOfOneKeyCounts) {
  say(Subject::of(kOne), "a", "1");
  say(Subject::of(kOne), "a", "2");
  say(Subject::of(kOne), "b", "3");
  say(Subject::of(kTwo), "a", "4");
  EXPECT_EQ(said(Subject::of(kOne), "a"), "2");
  EXPECT_EQ(said(Subject::of(kOne), "b"), "3");
  EXPECT_EQ(said(Subject::of(kTwo), "a"), "4");
  const Notes notes = value_of(read_notes(*repository_));
  EXPECT_EQ(notes.about(Subject::of(kOne)).size(), 2u);
  EXPECT_EQ(notes.with_key(Subject::Kind::snapshot, "a").size(), 2u);
  EXPECT_EQ(notes.with_key(Subject::Kind::pack, "a").size(), 0u);
  EXPECT_EQ(notes.superseded().size(), 1u);
}

TEST_F(NotesTest, AnEmptyValueTakesBackWhatWasSaid) {
  say(Subject::of(kOne), "a", "1");
  say(Subject::of(kOne), "a", "");
  EXPECT_EQ(said(Subject::of(kOne), "a"), "(nothing)");
  say(Subject::of(kOne), "a", "again");
  EXPECT_EQ(said(Subject::of(kOne), "a"), "again");
}

TEST_F(NotesTest, TwoWritersThatSawTheSameAgreeOnTheWinner) {
  Notes first = value_of(read_notes(*repository_));
  Notes second = value_of(read_notes(*repository_));
  value_of(write_notes(*repository_, first, {{Subject::of(kOne), "a", text("x")}}, kWritten));
  value_of(write_notes(*repository_, second, {{Subject::of(kOne), "a", text("y")}}, kWritten));
  const Notes all = value_of(read_notes(*repository_));
  ASSERT_EQ(all.superseded().size(), 1u);
  EXPECT_LT(all.superseded().front(), all.find(Subject::of(kOne), "a")->id);
  Notes other_order;
  other_order.add(*second.find(Subject::of(kOne), "a"));
  other_order.add(*first.find(Subject::of(kOne), "a"));
  EXPECT_EQ(other_order.find(Subject::of(kOne), "a")->id, all.find(Subject::of(kOne), "a")->id);
}

TEST_F(NotesTest, RemovingWhatIsSupersededChangesNothingThatIsSaid) {
  for (const char* value : {"1", "2", "3"}) say(Subject::of(kOne), "a", value);
  say(Subject::of(kTwo), "a", "x");
  say(Subject::of(kTwo), "a", "");
  EXPECT_EQ(files().size(), 5u);
  EXPECT_EQ(value_of(remove_superseded(*repository_, value_of(read_notes(*repository_)))), 4u);
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ(said(Subject::of(kOne), "a"), "3");
  EXPECT_EQ(said(Subject::of(kTwo), "a"), "(nothing)");
}

TEST_F(NotesTest, ADamagedNoteIsNamedAndKeepsTombstones) {
  say(Subject::of(kOne), "a", "1");
  const std::string damaged = files().front();
  say(Subject::of(kTwo), "a", "x");
  say(Subject::of(kTwo), "a", "");
  const std::int64_t size = static_cast<std::int64_t>(filesystem::file_size(damaged));
  for (std::int64_t at = 0; at < size; ++at) {
    test::flip_bit(damaged, at);
    const Notes notes = value_of(read_notes(*repository_));
    ASSERT_EQ(notes.unreadable().size(), 1u) << at;
    ASSERT_EQ(notes.damaged_names().size(), 1u) << at;
    EXPECT_EQ(notes.find(Subject::of(kOne), "a"), nullptr);
    test::flip_bit(damaged, at);
  }
  test::cut_to(damaged, 100);
  EXPECT_EQ(value_of(remove_superseded(*repository_, value_of(read_notes(*repository_)))), 1u);
  EXPECT_EQ(said(Subject::of(kTwo), "a"), "(nothing)");
  EXPECT_EQ(files().size(), 2u);
}

TEST_F(NotesTest, ANoteUnderTheNameOfAnotherIsRefused) {
  say(Subject::of(kOne), "a", "1");
  filesystem::copy_file(files().front(), folder_ / "repo/notes/" + std::string(32, 'a'));
  EXPECT_EQ(value_of(read_notes(*repository_)).unreadable().size(), 1u);
}

TEST_F(NotesTest, ANoteOfALaterVersionIsUnreadableButNotDamaged) {
  Note note{.subject = Subject::of(kOne), .key = "k", .counter = 1};
  note.unknown_fields = {{0x8000 | 99, text("x")}};
  const Bytes encoded = encode_note(note);
  const std::string name = repository_->keys().note_id(encoded).hex();
  test::write_whole(folder_ / "repo/notes/" + name,
                    repository_->keys().seal_object(ObjectKind::note, name, encoded));
  const Notes notes = value_of(read_notes(*repository_));
  EXPECT_EQ(notes.unreadable().size(), 1u);
  EXPECT_EQ(notes.damaged_names().size(), 0u);
}

TEST_F(NotesTest, SnapshotsAndNotesAreNotTakenForEachOther) {
  const Snapshot snapshot = value_of(test::back_up(*repository_, {{"a", test::noise(100, 1)}}));
  filesystem::copy_file(folder_ / "repo/snapshots/" + snapshot.id.hex(),
                        folder_ / "repo/notes/" + snapshot.id.hex());
  EXPECT_EQ(value_of(read_notes(*repository_)).damaged_names().size(), 1u);
}

TEST_F(NotesTest, WhatIsTooLongIsNotWritten) {
  Notes notes;
  const std::string key(kMaxNoteKey + 1, 'k');
  EXPECT_CODE(Code::invalid,
              write_notes(*repository_, notes, {{Subject::of(kOne), key, text("x")}}, kWritten));
  EXPECT_EQ(files().size(), 0u);
}

TEST_F(NotesTest, AnswersAreOldOrNewAfterAFaultOrAPowerCutAtEveryCall) {
  say(Subject::of(kOne), "a", "old");
  repository_.reset();
  filesystem::remove(folder_ / "repo/reserve");
  for (std::size_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    const std::string root = folder_ / "disk";
    filesystem::create_directory(root);
    filesystem::copy(folder_ / "repo", root + "/repo", filesystem::copy_options::recursive);
    test::PowerCutFiles disk(system_files(), root);
    test::FaultyFiles files(disk);
    repository_ = value_of(Repository::open(root + "/repo", test::key_file(),
                                            {.index_dir = folder_ / "index", .files = &files}));
    Notes notes = value_of(read_notes(*repository_));
    files.fail_at(n, EIO, test::FaultyFiles::Then::stay_dead);
    const auto done = [&]() -> Result<void> {
      TRY(write_notes(*repository_, notes, {{Subject::of(kOne), "a", text("new")}}, kWritten));
      TRY(remove_superseded(*repository_, notes));
      return {};
    }();
    for (const auto unsynced : test::PowerCutFiles::kCuts) {
      disk.cut(folder_ / "after", unsynced);
      repository_ = test::reopen(folder_ / "after/repo", folder_ / "index2");
      const std::string now = said(Subject::of(kOne), "a");
      if (done) {
        EXPECT_EQ(now, "new");
      }
      EXPECT_TRUE(now == "old" || now == "new") << now << " after " << files.failed_call().second;
      repository_.reset();
      filesystem::remove_all(folder_ / "after");
    }
    filesystem::remove_all(root);
    if (files.fired()) continue;
    EXPECT_OK(done);
    EXPECT_GT(n, 8u);
    break;
  }
}

// A note is taken back, and then both it and what took it back are removed: whatever part of that
// reaches the disk, it never speaks again.
TEST_F(NotesTest, EachSyncUpToATombstonesRemovalIsNeeded) {
  say(Subject::of(kOne), "a", "old");
  repository_.reset();
  filesystem::remove(folder_ / "repo/reserve");
  const std::string root = folder_ / "disk";
  const auto fault_without = [&](std::size_t n) {
    filesystem::create_directory(root);
    filesystem::copy(folder_ / "repo", root + "/repo", filesystem::copy_options::recursive);
    const test::LeftOutSync left_out(n);
    test::PowerCutFiles disk(system_files(), root);
    disk.lie_about(left_out.lies());
    test::ChangingFiles files(disk);
    repository_ = value_of(Repository::open(root + "/repo", test::key_file(),
                                            {.index_dir = folder_ / "index", .files = &files}));
    Notes notes = value_of(read_notes(*repository_));
    bool is_taken_back = false;
    std::string fault;
    const auto look = [&] {
      for (const bool with_removal : {false, true}) {
        disk.cut(folder_ / "after", test::PowerCutFiles::Unsynced::nothing);
        if (with_removal) files.apply_last_removal(root, folder_ / "after");
        const auto other = test::reopen(folder_ / "after/repo", folder_ / "index2");
        const bool is_said = value_of(read_notes(*other)).find(Subject::of(kOne), "a") != nullptr;
        if (is_taken_back && is_said) fault = "it is said again";
        filesystem::remove_all(folder_ / "after");
      }
    };
    files.look = look;
    value_of(write_notes(*repository_, notes, {{Subject::of(kOne), "a", {}}}, kWritten));
    is_taken_back = true;
    EXPECT_EQ(value_of(remove_superseded(*repository_, notes)), 2u);
    files.look = nullptr;
    look();
    repository_.reset();
    filesystem::remove_all(root);
    EXPECT_EQ(left_out.is_told(), n > 0);
    return fault;
  };
  EXPECT_EQ(fault_without(0), "");
  for (const std::size_t n : {1U, 2U, 3U}) EXPECT_NE(fault_without(n), "") << n;
  // A tombstone that comes back says what is so.
  EXPECT_EQ(fault_without(4), "");
}

}  // namespace
}  // namespace bygone::store
