// SPDX-License-Identifier: Apache-2.0
#include "store/fold_notes.h"

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/format.h"
#include "store/index.h"
#include "store/memory.h"
#include "store/session.h"
#include "tests/store/fold_fixture.h"
#include "tests/support/damage.h"
#include "tests/support/faulty_files.h"

namespace bygone::store {
namespace {

using test::Call;

constexpr Nanoseconds kEightDays = Nanoseconds{8 * 86'400} * kSecond;

TEST(GoneList, GivesBackWhatItWasAndRefusesWhatItCannotBe) {
  const auto id = [](std::uint64_t seed) { return SnapshotId::from(test::noise(16, seed)); };
  const SnapshotId low = std::min(id(1), id(2)), high = std::max(id(1), id(2));
  const GoneList list{.up_to = 300, .records = {{7, id(3)}, {301, low}, {301, high}, {9000, low}}};
  const Bytes bytes = encode_gone_list(list);
  EXPECT_EQ(bytes.size(), 2 + 4 * 16 + 1 + 2 + 1 + 2u);
  EXPECT_EQ(value_of(decode_gone_list(bytes)), list);
  EXPECT_EQ(value_of(decode_gone_list(encode_gone_list({}))), GoneList{});
  std::size_t whole = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    if (decode_gone_list(ByteView(bytes).first(size)).ok()) ++whole;
  }
  EXPECT_EQ(whole, list.records.size());  // cut between two of them; the seal proves the rest
  const GoneList twice{.up_to = 0, .records = {{301, low}, {301, low}}};
  EXPECT_CODE(Code::corrupt, decode_gone_list(encode_gone_list(twice)));
  const GoneList backwards{.up_to = 0, .records = {{301, high}, {301, low}}};
  EXPECT_CODE(Code::corrupt, decode_gone_list(encode_gone_list(backwards)));
  const GoneList beyond{.up_to = 0, .records = {{UINT64_MAX, low}, {5, high}}};
  EXPECT_CODE(Code::corrupt, decode_gone_list(encode_gone_list(beyond)));
}

// Two sources whose snapshots are forgotten, expire and leave, for as long as one likes.
TEST_F(FoldTest, NotesDoNotGrowWithWhatEverWas) {
  std::vector<Snapshot> all;
  std::size_t after_four = 0;
  for (int round = 1; round <= 20; ++round) {
    std::vector<Snapshot> old;
    for (const char* source : {"db", "cache"}) {
      for (int i = 0; i < 3; ++i) {
        all.push_back(back_up(source));
        if (i < 2) old.push_back(all.back());
      }
      say(*pin_note(notes(), old.back().id, Pinning::pin));
      say(*pin_note(notes(), old.back().id, Pinning::unpin));
      say(*tag_note(notes(), old.back(), Tagging::add, "t"));
    }
    trash(old);
    now_ += kEightDays;
    prune();
    EXPECT_EQ(value_of(repository_->trashed_ids()).size(), 0u) << round;
    // The last of each round stay; a note explains the gap before each of them.
    const std::size_t count = note_files().size() - 2 * static_cast<std::size_t>(round);
    if (round == 4) after_four = count;
    if (round > 4) {
      EXPECT_EQ(count, after_four) << round;
    }
  }
  EXPECT_TRUE(damage().empty());
  for (const Snapshot& each : all) {
    EXPECT_TRUE(value_of(repository_->has_record(each.id)) || accounts_for(each)) << each.sequence;
  }
  // What nobody needs an explanation for any more leaves nothing but its source's list.
  std::vector<Snapshot> live = value_of(repository_->snapshots());
  std::erase_if(live, [&](const Snapshot& each) { return each.sequence == 60; });
  remove(live);
  prune();
  EXPECT_EQ(note_files().size(), 2 + 2u);
  EXPECT_TRUE(damage().empty());
}

TEST_F(FoldTest, TheIndexKeepsNoCopyOfWhatWasRemovedForGood) {
  const auto all = back_up_many(3);
  remove({all[0], all[1]});
  EXPECT_TRUE(value_of(repository_->index().snapshot(all[0].id)));
  fold();
  EXPECT_FALSE(value_of(repository_->index().snapshot(all[0].id)));
  EXPECT_TRUE(value_of(repository_->index().snapshot(all[2].id)));
}

TEST_F(FoldTest, AListNamesTheNewestAndTellsOfOlderOnesByNumber) {
  const auto all = back_up_many(8);
  const SourceId source = all.front().source;
  remove({all.begin(), all.begin() + 3});
  fold(3);
  // The note on number 3 explains the gap before number 4.
  EXPECT_EQ(list_of(source).records, (std::vector<GoneRecord>{{1, all[0].id}, {2, all[1].id}}));
  EXPECT_EQ(list_of(source).up_to, 0u);
  remove({all.begin() + 3, all.begin() + 7});
  fold(3);
  EXPECT_EQ(list_of(source).records,
            (std::vector<GoneRecord>{{4, all[3].id}, {5, all[4].id}, {6, all[5].id}}));
  EXPECT_EQ(list_of(source).up_to, 3u);
  EXPECT_TRUE(gone(notes(), all[6].id));
  EXPECT_EQ(note_files().size(), 2u);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_TRUE(accounts_for(all[i])) << i;
  EXPECT_FALSE(accounts_for(all[7]));
  // One of another history: by its number alone as far as the list forgot, not further.
  const GoneRecords gone_now(notes());
  EXPECT_TRUE(gone_now.account_for(source, {3, all[7].id}));
  EXPECT_FALSE(gone_now.account_for(source, {4, all[7].id}));
  EXPECT_FALSE(gone_now.names(all[0].id));
  EXPECT_FALSE(gone_now.account_for(back_up("cache").source, {1, all[0].id}));
  const auto before = note_files();
  EXPECT_EQ(fold(3), 0u);
  EXPECT_EQ(note_files(), before);
}

TEST_F(FoldTest, AListHasRoomForAllThatItIsMeantToName) {
  GoneList list{.up_to = UINT64_MAX, .records = {}};
  for (std::size_t i = 0; i < kGoneListed; ++i) {
    list.records.push_back({(i + 1) << 50, SnapshotId::from(test::noise(16, i))});
  }
  EXPECT_LT(encode_gone_list(list).size(), kMaxNoteValue);
}

TEST_F(FoldTest, WhatExplainsAGapIsNamedUntilTheGapHasGone) {
  const auto all = back_up_many(6);
  remove({all[0], all[2], all[3]});
  fold(0);
  EXPECT_TRUE(damage().empty());
  EXPECT_TRUE(gone(notes(), all[0].id));
  EXPECT_FALSE(gone(notes(), all[2].id));
  EXPECT_TRUE(gone(notes(), all[3].id));
  remove({all[1], all[4]});
  fold(0);
  EXPECT_TRUE(damage().empty());
  EXPECT_EQ(note_files().size(), 2u);  // the list, and before number 6
}

TEST_F(FoldTest, ASuccessorThatIsCommittedAfterwardsFindsItsPredecessorNamed) {
  const auto all = back_up_many(2);
  const std::string record = path_ + "/snapshots/" + all[1].id.hex();
  filesystem::rename(record, folder_ / "not-yet-committed");
  remove({all[0]});
  fold();
  EXPECT_FALSE(gone(notes(), all[0].id));
  filesystem::rename(folder_ / "not-yet-committed", record);
  EXPECT_TRUE(damage().empty());
  const auto more = back_up_many(4);
  remove({more.begin(), more.begin() + 3});
  fold(1);
  EXPECT_TRUE(damage().empty());
  EXPECT_EQ(list_of(all[0].source).records.front().id, all[0].id);
}

TEST_F(FoldTest, WhatIsSaidOfRecordsThatAreThereStays) {
  const auto all = back_up_many(4);
  say(*pin_note(notes(), all[0].id, Pinning::pin));
  say(*tag_note(notes(), all[0], Tagging::add, "t"));
  say(verified_note(all[1].id, now_));
  say(shrink_note(all[1].id));
  trash({all[1]});
  // Cut short before its record went.
  say(gone_note(all[2]));
  say({.subject = Subject::of(all[3].id), .key = "of a later version", .value = {1}});
  const auto before = note_files();
  EXPECT_EQ(fold(), 0u);
  EXPECT_EQ(note_files(), before);
  remove({all[2], all[3]});
  EXPECT_GT(fold(), 0u);
  EXPECT_TRUE(is_pinned(notes(), all[0].id));
  EXPECT_EQ(tags_of(notes(), all[0]), std::vector<std::string>{"t"});
  EXPECT_EQ(trashed_at(notes(), all[1].id), now_);
  EXPECT_TRUE(verified_at(notes(), all[1].id));
  EXPECT_TRUE(shrink_is_meant(notes(), all[1].id));
  EXPECT_NE(notes().find(Subject::of(all[3].id), "of a later version"), nullptr);
  EXPECT_EQ(note_files().size(), 5 + 1 + 1u);  // the list, and what only a later version knows
}

TEST_F(FoldTest, ADamagedNoteIsNeverLostInAList) {
  const auto all = back_up_many(4);
  trash({all[0], all[1], all[2]});
  remove({all[0], all[1]});
  const auto before = note_files();
  for (const std::string& each : before) {
    test::flip_bit(each, 200);
    EXPECT_EQ(fold(), 0u);
    EXPECT_EQ(note_files(), before);
    EXPECT_EQ(notes().damaged_names().size(), 1u);
    PruneOptions options;
    options.clock = [this] { return now_; };
    EXPECT_CODE(Code::corrupt, store::prune(*repository_, options, {}, go_on_));
    EXPECT_EQ(note_files(), before);
    test::flip_bit(each, 200);
  }
  EXPECT_GT(fold(), 0u);
}

TEST_F(FoldTest, ARecordThatCannotBeReadMayNeedAnyNote) {
  const auto all = back_up_many(5);
  trash({all[1]});
  remove({all[0], all[2], all[3]});
  const std::string record = path_ + "/trash/" + all[1].id.hex();
  repository_.reset();
  repository_ = test::reopen(path_, folder_ / "index");  // has no copy of it
  test::flip_bit(record, 100);
  const auto before = note_files();
  EXPECT_EQ(fold(), 0u);
  EXPECT_EQ(note_files(), before);
  test::flip_bit(record, 100);
  EXPECT_GT(fold(), 0u);
  EXPECT_TRUE(damage().empty());
}

TEST_F(FoldTest, AListOfALaterVersionIsLeftAlone) {
  const auto all = back_up_many(3);
  say({.subject = Subject::of(all[0].source), .key = std::string(kGoneKey), .value = {0xff}});
  remove({all[0], all[1]});
  const auto before = note_files();
  EXPECT_EQ(fold(), 0u);
  EXPECT_EQ(note_files(), before);
  EXPECT_TRUE(accounts_for(all[0]));
}

TEST_F(FoldTest, OfADamagedRecordThatWentNobodyKnowsTheSource) {
  const auto all = back_up_many(2);
  trash({all[0]});
  test::flip_bit(path_ + "/trash/" + all[0].id.hex(), 100);
  repository_.reset();
  repository_ = test::reopen(path_, folder_ / "index");
  EXPECT_EQ(value_of(remove_from_trash(*repository_, {all[0].id}, now_)).done.size(), 1u);
  fold();
  // What was said of it stays as well: a copy may be put back.
  EXPECT_EQ(note_files().size(), 2u);
  EXPECT_TRUE(damage().empty());
  remove({all[1]});
  fold();
  EXPECT_TRUE(accounts_for(all[0]));
}

TEST_F(FoldTest, ADryRunOfPruneChangesNothing) {
  const auto all = back_up_many(4);
  trash({all[0], all[1], all[2]});
  remove({all[0], all[1]});
  const auto before = note_files();
  prune({.dry_run = true});
  EXPECT_EQ(note_files(), before);
  prune();
  EXPECT_LT(note_files().size(), before.size());
}

// Shows another listing of notes than the folder's.
class ListedFiles final : public test::WatchedFiles {
 public:
  using Change = std::function<void(std::vector<std::string>& names)>;
  explicit ListedFiles(Change change) : WatchedFiles(system_files()), change_(std::move(change)) {}
  Result<std::vector<std::string>> list(const std::string& path) override {
    auto names = TRY(inner_.list(path));
    if (path.ends_with("/notes")) change_(names);
    return names;
  }
  std::string denied;  // how the paths end that nobody may open

 protected:
  Result<void> before(Call call, const std::string& path) override {
    if (call == Call::open && !denied.empty() && path.ends_with(denied)) {
      return os_error(EACCES, path);
    }
    return {};
  }

 private:
  Change change_;
};

class FoldListings : public FoldTest {
 protected:
  void open_with(Files& files) {
    repository_.reset();
    repository_ = value_of(Repository::open(path_, test::key_file(), {.files = &files}));
  }
};

TEST_F(FoldListings, MoreNotesThanTheFormatAllowsAreMadeFewer) {
  const auto all = back_up_many(6);
  trash({all.begin(), all.begin() + 5});
  remove({all.begin(), all.begin() + 5});
  ListedFiles files([](std::vector<std::string>& names) {
    if (names.size() >= 10) names.resize(kMaxNotes + 1, "other");
  });
  open_with(files);
  EXPECT_CODE(Code::unsupported, read_notes(*repository_));
  EXPECT_CODE(Code::unsupported, Session::begin(*repository_, Compression::fastest));
  prune();
  EXPECT_EQ(note_files().size(), 2u);
  EXPECT_OK(Session::begin(*repository_, Compression::fastest));
}

// A listing that runs beside a folding may show neither what was there before nor what came.
TEST_F(FoldListings, OneThatShowsNothingIsNoAlarmAndNoDamage) {
  const std::string state = folder_ / "state";
  const auto all = back_up_many(3);
  value_of(remember(*repository_, state, all[1]));
  remove({all[0], all[1]});
  fold();
  int lies = 0;
  ListedFiles files([&lies](std::vector<std::string>& names) {
    if (lies-- > 0) names.clear();
  });
  open_with(files);
  lies = 1;
  EXPECT_TRUE(value_of(check_memory(*repository_, state)).empty());
  lies = 2;  // one to find damaged notes
  EXPECT_TRUE(damage().empty());
  lies = 1;
  value_of(remember(*repository_, state, all[2]));
  EXPECT_TRUE(value_of(check_memory(*repository_, state)).empty());
  // It is one where it is true, for who cannot have the lock as well.
  filesystem::remove(path_ + "/snapshots/" + all[2].id.hex());
  EXPECT_EQ(value_of(check_memory(*repository_, state)).size(), 1u);
  files.denied = "/locks/names";
  EXPECT_EQ(value_of(check_memory(*repository_, state)).size(), 1u);
}

TEST_F(FoldListings, NotesThatWereReadAreNotReadAgain) {
  const auto all = back_up_many(6);
  remove({all[0], all[1], all[2]});
  class Opened final : public test::WatchedFiles {
   public:
    Opened() : WatchedFiles(system_files()) {}
    std::size_t notes = 0;

   protected:
    Result<void> before(Call call, const std::string& path) override {
      if (call == Call::open && path.find("/notes/") != std::string::npos) ++notes;
      return {};
    }
  } files;
  open_with(files);
  NoteReader reader(*repository_);
  EXPECT_EQ(value_of(reader.read()).size(), 3u);
  EXPECT_EQ(files.notes, 3u);
  say(*pin_note({}, all[5].id, Pinning::pin));
  files.notes = 0;
  EXPECT_EQ(value_of(reader.read()).size(), 4u);
  EXPECT_EQ(files.notes, 1u);
  fold();
  files.notes = 0;
  EXPECT_EQ(value_of(reader.read()).size(), 3u);
  EXPECT_EQ(files.notes, 1u);
}

// Counts records that are read in the trash, and those of them for which everybody has to wait.
class TrashReads final : public test::WatchedFiles {
 public:
  TrashReads(Files& inner, std::string repository)
      : WatchedFiles(inner), repository_(std::move(repository)) {}
  std::size_t reads = 0, while_locked = 0;

 protected:
  Result<void> before(Call call, const std::string& path) override {
    if (call != Call::open || path.find("/trash/") == std::string::npos) return {};
    ++reads;
    const Fd names = value_of(inner_.open(repository_ + "/locks/names", O_RDWR, 0));
    if (!value_of(inner_.try_lock(names, Lock::shared))) ++while_locked;
    return {};
  }

 private:
  std::string repository_;
};

// A commit waits for it, and a cold disk takes minutes for the records of a busy week.
TEST_F(FoldTest, NoRecordOfTheTrashIsReadWhileOthersWait) {
  const auto list = back_up_many(5);
  trash({list[0], list[1]});
  remove({list[4]});
  TrashReads files(system_files(), path_);
  repository_.reset();
  repository_ = value_of(Repository::open(path_, test::key_file(), {.files = &files}));
  EXPECT_GT(fold(), 0u);
  EXPECT_EQ(files.reads, 2u);
  EXPECT_EQ(files.while_locked, 0u);
  repository_.reset();
}

TEST_F(FoldTest, WhoLooksBesideItSeesNoAlarm) {
  const std::string state = folder_ / "state";
  std::atomic<bool> done{false};
  value_of(remember(*repository_, state, back_up()));
  std::size_t looks = 0;
  std::thread other([&] {
    for (; !done; ++looks) {
      EXPECT_TRUE(value_of(check_memory(*repository_, state)).empty());
    }
  });
  Snapshot before = back_up();
  for (int round = 0; round < 40; ++round) {
    const Snapshot next = back_up();
    remove({before});
    fold(2);
    before = next;
    if (round == 20) remove({value_of(repository_->snapshots()).front()});
  }
  done = true;
  other.join();
  EXPECT_GT(looks, 0u);
}

}  // namespace
}  // namespace bygone::store
