// SPDX-License-Identifier: Apache-2.0
#include "store/trash.h"

#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "store/locks.h"
#include "store/reserve.h"
#include "store/snapshot_notes.h"
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
using test::Call;
using test::FaultyFiles;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

constexpr Nanoseconds kThen = 1'710'000'000 * kSecond;
constexpr Nanoseconds kAnHourLater = kThen + 3600 * kSecond;

class TrashTest : public testing::Test {
 protected:
  Snapshot back_up(int n) {
    return value_of(test::back_up(*repository_, {{"a", test::noise(3000, 7)}},
                                  {.instant = kThen + Nanoseconds{n} * 60 * kSecond}));
  }
  void say(const NewNote& note) {
    Notes notes = value_of(read_notes(*repository_));
    value_of(write_notes(*repository_, notes, {note}, kAnHourLater));
  }
  [[nodiscard]] std::set<SnapshotId> live() const {
    const auto ids = value_of(repository_->snapshot_ids());
    return {ids.begin(), ids.end()};
  }
  [[nodiscard]] std::set<SnapshotId> trashed() const {
    const auto ids = value_of(repository_->trashed_ids());
    return {ids.begin(), ids.end()};
  }
  [[nodiscard]] std::vector<std::string> damage() const {
    const std::atomic<bool> cancel{false};
    return value_of(verify(*repository_, {}, {}, cancel)).damage;
  }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_ = test::new_repository(folder_ / "repo");
};

TEST_F(TrashTest, ARecordGoesToTheTrashAndComesBack) {
  const Snapshot one = back_up(1), two = back_up(2);
  const Moved moved = value_of(move_to_trash(*repository_, {one.id}, kAnHourLater));
  EXPECT_EQ(moved.done, std::vector{one.id});
  EXPECT_EQ(live(), std::set{two.id});
  EXPECT_EQ(trashed(), std::set{one.id});
  EXPECT_EQ(value_of(repository_->trashed_snapshot(one.id)), one);
  EXPECT_CODE(Code::not_found, repository_->snapshot(one.id));
  EXPECT_EQ(trashed_at(value_of(read_notes(*repository_)), one.id), kAnHourLater);
  EXPECT_TRUE(damage().empty());
  EXPECT_OK(restore_from_trash(*repository_, one.id));
  EXPECT_EQ(value_of(repository_->snapshot(one.id)), one);
  EXPECT_TRUE(trashed().empty());
  EXPECT_CODE(Code::not_found, restore_from_trash(*repository_, one.id));
}

TEST_F(TrashTest, WhatIsPinnedStays) {
  const Snapshot one = back_up(1), two = back_up(2);
  say(*pin_note({}, one.id, Pinning::pin));
  const Moved moved = value_of(move_to_trash(*repository_, {one.id, two.id}, kAnHourLater));
  EXPECT_EQ(moved.pinned, std::vector{one.id});
  EXPECT_EQ(live(), std::set{one.id});
  EXPECT_EQ(value_of(remove_for_good(*repository_, {one, two}, kAnHourLater)).pinned,
            std::vector{one.id});
  EXPECT_EQ(live(), std::set{one.id});
  EXPECT_TRUE(trashed().empty());
}

TEST_F(TrashTest, WhatIsGoneIsExplainedAndWhatWasTakenAwayIsNot) {
  const Snapshot one = back_up(1), two = back_up(2);
  back_up(3);
  EXPECT_EQ(value_of(remove_for_good(*repository_, {two}, kAnHourLater)).done, std::vector{two.id});
  EXPECT_TRUE(damage().empty());
  const auto said = gone(value_of(read_notes(*repository_)), two.id);
  ASSERT_TRUE(said);
  EXPECT_EQ(said->source, two.source);
  EXPECT_EQ(said->sequence, 2u);
  EXPECT_FALSE(gone(value_of(read_notes(*repository_)), one.id));
  for (const auto& each : filesystem::directory_iterator(folder_ / "repo/notes")) {
    filesystem::remove(each.path());
  }
  ASSERT_EQ(damage().size(), 1u);
  EXPECT_NE(damage().front().find("number 2"), std::string::npos);
}

TEST_F(TrashTest, NumbersAndListedNamesAreNeverGivenTwice) {
  const Snapshot one = back_up(1), two = back_up(2);
  value_of(move_to_trash(*repository_, {one.id, two.id}, kAnHourLater));
  const Snapshot three = back_up(2);
  EXPECT_EQ(three.sequence, 3u);
  EXPECT_EQ(three.previous, two.id);
  EXPECT_EQ(three.source, one.source);
  EXPECT_NE(three.listed_name, two.listed_name);
  EXPECT_OK(restore_from_trash(*repository_, two.id));
  EXPECT_TRUE(damage().empty());
}

TEST_F(TrashTest, ARecordInBothFoldersWasNotForgotten) {
  const Snapshot one = back_up(1);
  filesystem::copy_file(folder_ / "repo/snapshots/" + one.id.hex(),
                        folder_ / "repo/trash/" + one.id.hex());
  EXPECT_EQ(live(), std::set{one.id});
  EXPECT_TRUE(trashed().empty());
  EXPECT_EQ(value_of(move_to_trash(*repository_, {one.id}, kAnHourLater)).done,
            std::vector{one.id});
  EXPECT_EQ(trashed(), std::set{one.id});
}

// Where the power went within the rename, the two names are of one file, as rename(2) leaves them.
TEST_F(TrashTest, ARecordWithBothNamesMovesAllTheSame) {
  const Snapshot one = back_up(1);
  const auto live_name = folder_ / "repo/snapshots/" + one.id.hex();
  const auto trash_name = folder_ / "repo/trash/" + one.id.hex();
  filesystem::create_hard_link(live_name, trash_name);
  value_of(move_to_trash(*repository_, {one.id}, kAnHourLater));
  EXPECT_EQ(trashed(), std::set{one.id});
  EXPECT_TRUE(live().empty());
  filesystem::create_hard_link(trash_name, live_name);
  value_of(restore_from_trash(*repository_, one.id));
  EXPECT_EQ(live(), std::set{one.id});
  EXPECT_FALSE(filesystem::exists(trash_name));
}

TEST_F(TrashTest, VerifyNotesWhatItReadWhole) {
  const Snapshot one = back_up(1);
  const std::atomic<bool> cancel{false};
  EXPECT_TRUE(damage().empty());
  EXPECT_FALSE(verified_at(value_of(read_notes(*repository_)), one.id));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(
        value_of(verify(*repository_, {.read_data_percent = 100}, {}, cancel)).damage.empty());
  }
  const Notes notes = value_of(read_notes(*repository_));
  EXPECT_TRUE(verified_at(notes, one.id));
  EXPECT_EQ(notes.superseded().size(), 0u);
  for (const auto& each : filesystem::recursive_directory_iterator(folder_ / "repo/packs")) {
    if (each.is_regular_file()) test::flip_bit(each.path(), 300);
  }
  const Snapshot two = value_of(
      test::back_up(*repository_, {{"b", test::noise(100, 8)}}, {.instant = kAnHourLater}));
  EXPECT_FALSE(
      value_of(verify(*repository_, {.read_data_percent = 100}, {}, cancel)).damage.empty());
  EXPECT_FALSE(verified_at(value_of(read_notes(*repository_)), one.id) ==
               verified_at(value_of(read_notes(*repository_)), two.id));
}

TEST_F(TrashTest, TagsOfBirthCanBeTakenAwayAndOthersAdded) {
  Snapshot one = back_up(1);
  one.tags = {"born"};
  const auto tags = [&] { return tags_of(value_of(read_notes(*repository_)), one); };
  const auto tag = [&](Tagging how, const char* word) {
    const auto note = tag_note(value_of(read_notes(*repository_)), one, how, word);
    if (note) say(*note);
    return note.has_value();
  };
  EXPECT_EQ(tags(), std::vector<std::string>{"born"});
  EXPECT_TRUE(tag(Tagging::add, "x"));
  EXPECT_FALSE(tag(Tagging::add, "x"));
  EXPECT_FALSE(tag(Tagging::add, "born"));
  EXPECT_EQ(tags(), (std::vector<std::string>{"born", "x"}));
  EXPECT_TRUE(tag(Tagging::remove, "born"));
  EXPECT_FALSE(tag(Tagging::remove, "born"));
  EXPECT_TRUE(tag(Tagging::remove, "x"));
  EXPECT_EQ(tags(), std::vector<std::string>{});
}

TEST_F(TrashTest, ABusySourceSaysWhoHoldsIt) {
  const auto session = value_of(Session::begin(*repository_, Compression::fastest));
  const auto held = value_of(session->claim(SourceKind::folder, "h", "host", "etc"));
  const auto again = session->claim(SourceKind::folder, "h", "host", "etc");
  EXPECT_CODE(Code::busy, again);
  EXPECT_NE(again.error().message.find("process " + std::to_string(::getpid())), std::string::npos)
      << again.error().message;
}

TEST_F(TrashTest, WhatExpiredLeavesTheTrashByARightClockAlone) {
  const Snapshot one = back_up(1), two = back_up(2), three = back_up(3);
  value_of(move_to_trash(*repository_, {one.id}, kAnHourLater));
  value_of(move_to_trash(*repository_, {two.id}, kAnHourLater + kKeepTrash / 2));
  const auto expired = [&](Nanoseconds now) {
    return value_of(expired_trash(
        *repository_, [&] { return now; }, kKeepTrash, Remember::yes));
  };
  EXPECT_TRUE(expired(kAnHourLater + kKeepTrash - 1).empty());
  // A note of a later move lies ahead: the clock is behind.
  EXPECT_EQ(expired(kAnHourLater + kKeepTrash), std::set{one.id});
  constexpr Nanoseconds kTenYears = Nanoseconds{3650} * 86'400 * kSecond;
  EXPECT_TRUE(expired(kAnHourLater + kTenYears).empty());
  EXPECT_TRUE(expired(kAnHourLater - kTenYears).empty());
  EXPECT_EQ(value_of(remove_from_trash(*repository_, {one.id, three.id}, kAnHourLater)).done,
            std::vector{one.id});
  EXPECT_EQ(live(), std::set{three.id});
  EXPECT_EQ(trashed(), std::set{two.id});
  EXPECT_TRUE(damage().empty());
  // Without a note it begins to expire when somebody first looks.
  for (const auto& each : filesystem::directory_iterator(folder_ / "repo/notes")) {
    filesystem::remove(each.path());
  }
  EXPECT_TRUE(expired(kAnHourLater + kKeepTrash).empty());
  EXPECT_TRUE(expired(kAnHourLater + 2 * kKeepTrash - 1).empty());
  EXPECT_EQ(expired(kAnHourLater + 2 * kKeepTrash), std::set{two.id});
}

TEST_F(TrashTest, AClockThatLeapsEmptiesNoTrashThatHoldsEverything) {
  const Snapshot one = back_up(1), two = back_up(2);
  value_of(move_to_trash(*repository_, {one.id, two.id}, kAnHourLater));
  ASSERT_TRUE(live().empty());
  const auto expired = [&](Nanoseconds now) {
    return value_of(expired_trash(
        *repository_, [&] { return now; }, kKeepTrash, Remember::yes));
  };
  constexpr Nanoseconds kTenYears = Nanoseconds{3650} * 86'400 * kSecond;
  EXPECT_TRUE(expired(kAnHourLater + kTenYears).empty());
  EXPECT_TRUE(expired(kAnHourLater - kTenYears).empty());
  EXPECT_EQ(expired(kAnHourLater + kKeepTrash), (std::set{one.id, two.id}));
}

// Time goes by while the snapshots are read.
class SlowFiles final : public test::WatchedFiles {
 public:
  SlowFiles(Files& inner, Nanoseconds& now) : WatchedFiles(inner), now_(now) {}

 protected:
  Result<void> before(Call call, const std::string& path) override {
    if (call == Call::list && path.ends_with("/snapshots")) now_ += 3600 * kSecond;
    return {};
  }

 private:
  Nanoseconds& now_;
};

TEST_F(TrashTest, ASnapshotThatIsCommittedMeanwhileIsNotOfTomorrow) {
  const Snapshot one = back_up(1);
  back_up(40);  // the one that is committed meanwhile
  value_of(move_to_trash(*repository_, {one.id}, kThen - kKeepTrash));
  repository_.reset();
  Nanoseconds now = kThen + 30 * 60 * kSecond;
  SlowFiles files(system_files(), now);
  repository_ = value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &files}));
  now = kThen + 30 * 60 * kSecond;
  EXPECT_EQ(value_of(expired_trash(
                *repository_, [&] { return now; }, kKeepTrash, Remember::yes)),
            std::set{one.id});
}

// A disk with no room for new files until the reserve is gone, or not even then.
class FullFiles final : public test::WatchedFiles {
 public:
  FullFiles(Files& inner, std::string reserve)
      : WatchedFiles(inner), reserve_(std::move(reserve)) {}
  void fill(bool for_good) {
    full_ = true;
    for_good_ = for_good;
  }

 protected:
  Result<void> before(Call call, const std::string& path) override {
    if (call == Call::remove && !for_good_ && path == reserve_) full_ = false;
    if (call == Call::remove && path.find("/snapshots/") != std::string::npos) full_ = false;
    if (full_ && call == Call::write) return os_error(ENOSPC, path);
    return {};
  }

 private:
  std::string reserve_;
  bool full_ = false, for_good_ = false;
};

TEST_F(TrashTest, ForgettingWorksOnAFullDisk) {
  for (const bool for_good : {false, true}) {
    for (const bool to_trash : {true, false}) {
      SCOPED_TRACE(for_good);
      SCOPED_TRACE(to_trash);
      const std::string path =
          folder_ / (std::string("full") + (for_good ? "1" : "0") + (to_trash ? "t" : "g"));
      repository_.reset();  // LMDB opens an index once in a process
      repository_ = test::new_repository(path);
      const Snapshot one = back_up(1), two = back_up(2);
      back_up(3);
      FullFiles files(system_files(), path + "/reserve");
      repository_.reset();
      repository_ = value_of(Repository::open(path, test::key_file(), {.files = &files}));
      files.fill(for_good);
      const auto moved = to_trash ? move_to_trash(*repository_, {one.id, two.id}, kAnHourLater)
                                  : remove_for_good(*repository_, {one, two}, kAnHourLater);
      EXPECT_FALSE(filesystem::exists(path + "/reserve"));
      if (for_good && to_trash) {
        EXPECT_CODE(Code::no_space, moved);
        EXPECT_EQ(live().size(), 3u);
        continue;
      }
      EXPECT_EQ(value_of(moved).done.size(), 2u);
      EXPECT_EQ(live().size(), 1u);
      EXPECT_EQ(trashed().size(), to_trash ? 2u : 0u);
      EXPECT_TRUE(damage().empty());
      repository_.reset();
      repository_ = test::reopen(path);
      back_up(4);
      EXPECT_EQ(filesystem::file_size(path + "/reserve"), 8u << 20);
    }
  }
}

// Every call of forgetting, bringing back, removing and tagging fails, the process dies there, and
// the power goes there: the records are where they were or where they should go, the one that was
// not named is never touched, and the repository works on.
class TrashCrash : public TrashTest {
 protected:
  void SetUp() override {
    one_ = back_up(1);
    two_ = back_up(2);
    three_ = back_up(3);
    value_of(move_to_trash(*repository_, {one_.id}, kAnHourLater));
    repository_.reset();
    test::write_whole(folder_ / "repo/reserve", {});  // 8 MiB to copy each time
    filesystem::remove_all(folder_ / "repo/index");
    filesystem::create_directory(folder_ / "repo/index");
  }

  Result<void> work(Repository& repository) {
    TRY(move_to_trash(repository, {two_.id}, kAnHourLater));
    TRY(restore_from_trash(repository, one_.id));
    const Fd lock = TRY(lock_names(repository.files(), repository.path(), Lock::exclusive));
    Notes notes = TRY(read_notes(repository));
    TRY(write_notes(repository, notes, {*tag_note(notes, three_, Tagging::add, "t")},
                    kAnHourLater));
    return {};
  }
  Result<void> remove(Repository& repository) {
    TRY(remove_for_good(repository, {one_, two_}, kAnHourLater));
    return {};
  }

  // What is wrong, empty when nothing is.
  std::string fault_of(const std::string& path, bool removing) {
    repository_ = test::reopen(path, folder_ / "index2");
    const auto here = live(), there = trashed();
    if (!here.contains(three_.id)) return "a snapshot that nobody named is gone";
    for (const Snapshot& each : {one_, two_}) {
      const bool is_there = here.contains(each.id) || there.contains(each.id);
      const bool said = gone(value_of(read_notes(*repository_)), each.id).has_value();
      if (!is_there && !(removing && said)) return "a snapshot is lost: " + each.id.hex();
    }
    const auto found = damage();
    if (!found.empty()) return found.front();
    const Snapshot next = back_up(9);
    if (next.sequence != 4) return "the next backup has a number of its own";
    repository_.reset();
    filesystem::remove_all(folder_ / "index2");
    return "";
  }

  void attack(bool removing) {
    for (std::size_t n = 1;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      bool fired = false;
      for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
        const std::string root = folder_ / "disk";
        filesystem::create_directory(root);
        filesystem::copy(folder_ / "repo", root + "/repo", filesystem::copy_options::recursive);
        PowerCutFiles disk(system_files(), root);
        FaultyFiles files(disk);
        repository_ = value_of(Repository::open(root + "/repo", test::key_file(),
                                                {.index_dir = folder_ / "index", .files = &files}));
        files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
        const auto done = removing ? remove(*repository_) : work(*repository_);
        fired = files.fired();
        if (!fired) {
          EXPECT_OK(done);
        }
        repository_.reset();
        const std::string where = files.failed_call().second;
        for (const auto unsynced : PowerCutFiles::kCuts) {
          disk.cut(folder_ / "after", unsynced);
          ASSERT_EQ(fault_of(folder_ / "after/repo", removing), "") << where;
          filesystem::remove_all(folder_ / "after");
        }
        ASSERT_EQ(fault_of(root + "/repo", removing), "") << where;
        filesystem::remove_all(root);
      }
      if (fired) continue;
      EXPECT_GT(n, removing ? 15u : 30u);
      break;
    }
  }

  Snapshot one_, two_, three_;
};

TEST_F(TrashCrash, ForgettingAndBringingBackLosesNothing) { attack(false); }
TEST_F(TrashCrash, RemovingForGoodRemovesOnlyWhatWasNamed) { attack(true); }

// Mutations of the code: with any one sync left out a power cut does harm, and these tests see it.
class TrashSyncOrder : public TrashCrash {
 protected:
  // The power goes the moment all is done.
  std::string fault_after(bool removing, const PowerCutFiles::Lies& lies) {
    const std::string root = folder_ / "disk";
    filesystem::create_directory(root);
    filesystem::copy(folder_ / "repo", root + "/repo", filesystem::copy_options::recursive);
    PowerCutFiles disk(system_files(), root);
    disk.lie_about(lies);
    repository_ = value_of(Repository::open(root + "/repo", test::key_file(),
                                            {.index_dir = folder_ / "index", .files = &disk}));
    value_of(removing ? remove(*repository_) : work(*repository_));
    repository_.reset();
    disk.cut(folder_ / "after", PowerCutFiles::Unsynced::nothing);
    std::string fault = fault_of(folder_ / "after/repo", removing);
    repository_.reset();
    for (const char* name : {"disk", "after", "index2"}) filesystem::remove_all(folder_ / name);
    return fault;
  }

  static PowerCutFiles::Lies about_folder(const std::string& name) {
    return [=](Call call, const std::string& path) {
      return call == Call::sync_directory && path.ends_with(name);
    };
  }
};

TEST_F(TrashSyncOrder, IsSufficient) {
  for (const bool removing : {false, true}) EXPECT_EQ(fault_after(removing, {}), "");
}

TEST_F(TrashSyncOrder, HasNoSyncTooMany) {
  EXPECT_NE(fault_after(false, about_folder("/trash")), "");
  EXPECT_NE(fault_after(false, about_folder("/snapshots")), "");
  EXPECT_NE(fault_after(true, about_folder("/notes")), "");
  EXPECT_NE(
      fault_after(true, [](Call call, const std::string&) { return call == Call::sync_data; }), "");
}

}  // namespace
}  // namespace bygone::store
