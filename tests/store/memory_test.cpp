// SPDX-License-Identifier: Apache-2.0
#include "store/memory.h"

#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "store/fold_notes.h"
#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/sync_order.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::Call;
using test::value_of;

constexpr Nanoseconds kFirstSeen = 1'710'000'000 * kSecond;

class MemoryTest : public testing::Test {
 protected:
  Snapshot back_up(int n, const std::string& source = "db") {
    Snapshot snapshot = value_of(
        test::back_up(*repository_, {{"a", test::noise(100, 7)}},
                      {.source = source, .instant = kFirstSeen + Nanoseconds{n} * 60 * kSecond}));
    value_of(remember(*repository_, state_, snapshot));
    return snapshot;
  }
  std::vector<std::string> alarms() { return value_of(check_memory(*repository_, state_)); }
  // What an adversary keeps and puts back.
  void keep() { filesystem::copy(folder_ / "repo", folder_ / "old", kAll); }
  void put_back() {
    repository_.reset();
    filesystem::remove_all(folder_ / "repo");
    filesystem::copy(folder_ / "old", folder_ / "repo", kAll);
    repository_ = test::reopen(folder_ / "repo");
  }

  static constexpr auto kAll = filesystem::copy_options::recursive;
  test::TempFolder folder_;
  const std::string state_ = folder_ / "state/below";
  std::unique_ptr<Repository> repository_ = test::new_repository(folder_ / "repo");
};

TEST_F(MemoryTest, WhatIsThereForgottenOrGoneIsNoAlarm) {
  EXPECT_TRUE(alarms().empty());
  const Snapshot one = back_up(1);
  EXPECT_TRUE(alarms().empty());
  value_of(move_to_trash(*repository_, {one.id}, kFirstSeen));
  EXPECT_TRUE(alarms().empty());
  value_of(remove_for_good(*repository_, {one}, kFirstSeen));
  EXPECT_TRUE(alarms().empty());
}

TEST_F(MemoryTest, AnOlderStateIsAnAlarmUntilItIsAccepted) {
  back_up(1);
  keep();
  back_up(2);
  back_up(3, "cache");
  put_back();
  ASSERT_EQ(alarms().size(), 2u);
  EXPECT_NE((alarms()[0] + alarms()[1]).find("number 2 of db"), std::string::npos);
  // What is saved on top of it does not hide it.
  back_up(4);
  EXPECT_EQ(alarms().size(), 2u);
  back_up(5);
  EXPECT_EQ(alarms().size(), 2u);
  value_of(accept_rollback(*repository_, state_));
  EXPECT_TRUE(alarms().empty());
  back_up(6);
  EXPECT_TRUE(alarms().empty());
}

TEST_F(MemoryTest, IsKeptWhenNobodyCanTellWhatIsThere) {
  keep();
  back_up(1);
  put_back();
  ASSERT_EQ(alarms().size(), 1u);
  filesystem::rename(folder_ / "repo/snapshots", folder_ / "aside");
  EXPECT_FALSE(accept_rollback(*repository_, state_).ok());
  filesystem::rename(folder_ / "aside", folder_ / "repo/snapshots");
  EXPECT_EQ(alarms().size(), 1u);
}

TEST_F(MemoryTest, WhatIsGoneForLongIsNoAlarmAndWhatIsMissingStaysOne) {
  const std::string of_then = state_ + "/of-then";  // of a host that was away since
  const Snapshot one = back_up(1);
  value_of(remember(*repository_, of_then, one));
  std::vector<Snapshot> old{one};
  for (int n = 2; n < 8; ++n) old.push_back(back_up(n));
  back_up(8);
  value_of(remove_for_good(*repository_, old, kFirstSeen));
  for (const std::size_t listed : {std::size_t{4}, std::size_t{0}}) {
    value_of(fold_notes(*repository_, kFirstSeen, listed));
    EXPECT_TRUE(alarms().empty());
    EXPECT_TRUE(value_of(check_memory(*repository_, of_then)).empty());
    EXPECT_FALSE(gone(value_of(read_notes(*repository_)), one.id));
  }
  const Snapshot nine = back_up(9);
  filesystem::remove(folder_ / "repo/snapshots/" + nine.id.hex());
  value_of(fold_notes(*repository_, kFirstSeen, 0));
  EXPECT_EQ(alarms().size(), 1u);
}

// What others, who saw nothing of it, save and let go on top of an older state.
TEST_F(MemoryTest, AnOlderStateStaysAnAlarmWhenItsNumbersAreGivenAgainAndFolded) {
  back_up(1);
  keep();
  back_up(2);
  put_back();
  std::vector<Snapshot> old;
  for (int n = 3; n < 9; ++n) {
    old.push_back(value_of(test::back_up(*repository_, {{"a", test::noise(100, 7)}},
                                         {.instant = kFirstSeen + n * 60 * kSecond})));
  }
  EXPECT_EQ(old.front().sequence, 2u);
  old.pop_back();
  value_of(remove_for_good(*repository_, old, kFirstSeen));
  value_of(fold_notes(*repository_, kFirstSeen));
  EXPECT_EQ(alarms().size(), 1u);
  // Of four that went later the list still tells them apart; with none nobody can.
  value_of(fold_notes(*repository_, kFirstSeen, 4));
  EXPECT_EQ(alarms().size(), 1u);
}

TEST_F(MemoryTest, ARecordThatSomebodyDeletedIsAnAlarm) {
  const Snapshot one = back_up(1);
  filesystem::remove(folder_ / "repo/snapshots/" + one.id.hex());
  EXPECT_EQ(alarms().size(), 1u);
}

TEST_F(MemoryTest, AnotherConfigurationIsAnAlarm) {
  back_up(1);
  const std::string folder = state_ + "/" + repository_->id().hex();
  test::write_whole(folder + "/config", as_bytes("other"));
  ASSERT_EQ(alarms().size(), 1u);
  EXPECT_NE(alarms().front().find("configuration"), std::string::npos);
}

TEST_F(MemoryTest, FirstSourcesAreRememberedAtTheSameMoment) {
  std::vector<Snapshot> snapshots;
  for (int i = 0; i < 4; ++i) {
    snapshots.push_back(
        value_of(test::back_up(*repository_, {{"a", test::noise(100, 7)}},
                               {.source = "db" + std::to_string(i), .instant = kFirstSeen})));
  }
  for (int round = 0; round < 20; ++round) {
    const std::string state = folder_ / "round" + std::to_string(round);
    std::vector<std::thread> threads;
    for (const Snapshot& snapshot : snapshots) {
      threads.emplace_back([&] { EXPECT_OK(remember(*repository_, state, snapshot)); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(filesystem::exists(state + "/" + repository_->id().hex() + "/config"));
  }
}

TEST_F(MemoryTest, WhatCannotBeReadIsNamed) {
  const Snapshot one = back_up(1);
  const std::string path = state_ + "/" + repository_->id().hex() + "/source-" + one.source.hex();
  const Bytes whole = test::read_whole(path);
  for (std::size_t size = 0; size < whole.size() - 1; ++size) {
    test::write_whole(path, ByteView(whole).first(size));
    EXPECT_CODE(Code::corrupt, check_memory(*repository_, state_)) << size;
    EXPECT_CODE(Code::corrupt, remember(*repository_, state_, one)) << size;
  }
}

TEST_F(MemoryTest, APowerCutAtAnyCallLeavesTheOldOrTheNew) {
  const Snapshot one = back_up(1);
  const Snapshot two = value_of(test::back_up(*repository_, {{"b", test::noise(100, 8)}},
                                              {.instant = kFirstSeen + 999 * kSecond}));
  repository_.reset();
  for (std::size_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    const std::string root = folder_ / "disk";
    filesystem::copy(folder_ / "state", root, kAll);
    test::PowerCutFiles disk(system_files(), root);
    test::FaultyFiles files(disk);
    repository_ = value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &files}));
    files.fail_at(n, EIO, test::FaultyFiles::Then::stay_dead);
    const auto done = remember(*repository_, root + "/below", two);
    repository_.reset();
    repository_ = test::reopen(folder_ / "repo");
    for (const auto unsynced : test::PowerCutFiles::kCuts) {
      disk.cut(folder_ / "after", unsynced);
      EXPECT_OK(check_memory(*repository_, folder_ / "after/below"));
      EXPECT_TRUE(value_of(check_memory(*repository_, folder_ / "after/below")).empty());
      filesystem::remove_all(folder_ / "after");
    }
    // And the next one works, whatever was left.
    value_of(remember(*repository_, root + "/below", one));
    repository_.reset();
    filesystem::remove_all(root);
    if (files.fired()) continue;
    EXPECT_OK(done);
    break;
  }
}

// The power goes the moment that something was remembered, or the alarm was accepted. Each sync is
// left out in turn, and then does harm, or has a reason beside it.
class SyncOrderOfMemory : public MemoryTest {
 protected:
  enum class Case { first, next, accepted };

  // What is wrong with what is left; empty when nothing is.
  std::string fault_without(Case which, const test::LeftOutSync& left_out) {
    const std::string root = folder_ / "disk";
    const std::string state = root + "/state/below";
    filesystem::create_directory(root);
    const Snapshot one = store_snapshot(1);
    if (which != Case::first) value_of(remember(*repository_, state, one));
    const Snapshot two = store_snapshot(2);
    if (which == Case::accepted) forget_without_a_word({one, two});
    repository_.reset();
    test::PowerCutFiles disk(system_files(), root);
    disk.lie_about(left_out.lies());
    repository_ = value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &disk}));
    value_of(which == Case::accepted ? accept_rollback(*repository_, state)
                                     : remember(*repository_, state, two));
    repository_ = nullptr;
    repository_ = test::reopen(folder_ / "repo");
    disk.cut(folder_ / "after", test::PowerCutFiles::Unsynced::nothing);
    const std::string fault = fault_of(folder_ / "after/state/below", which, two);
    forget_without_a_word({one, two});
    for (const char* name : {"disk", "after"}) filesystem::remove_all(folder_ / name);
    return fault;
  }

  std::string fault_of(const std::string& state, Case which, const Snapshot& two) {
    auto alarms = check_memory(*repository_, state);
    if (!alarms) return alarms.error().message;
    if (!alarms->empty()) return "a false alarm: " + alarms->front();
    if (which == Case::accepted) return "";
    if (!filesystem::exists(state + "/" + repository_->id().hex() + "/config")) {
      return "the configuration is not remembered";
    }
    forget_without_a_word({two});
    alarms = check_memory(*repository_, state);
    if (!alarms) return alarms.error().message;
    return alarms->size() == 1 ? "" : "what was seen last is forgotten";
  }

  Snapshot store_snapshot(int n) {
    return value_of(test::back_up(*repository_, {{"a", test::noise(100, 7)}},
                                  {.instant = kFirstSeen + n * 60 * kSecond}));
  }
  // As whoever puts an older state in place.
  void forget_without_a_word(const std::vector<Snapshot>& snapshots) {
    for (const Snapshot& each : snapshots) {
      filesystem::remove(folder_ / "repo/snapshots/" + each.id.hex());
    }
  }

  struct Sync {
    const char* what;
    const char* why_not = "";  // it does no harm
  };
  void expect_harm(Case which, const std::vector<Sync>& syncs) {
    const std::string id = repository_->id().hex();
    const auto name_of = [&](Call call, const std::string& path) {
      std::string name = path.substr((folder_ / "disk").size());
      if (const auto at = name.find(id); at != std::string::npos) name.replace(at, id.size(), "ID");
      if (const auto at = name.find("source-"); at != std::string::npos) name.resize(at + 7);
      return test::LeftOutSync::whole_name(call, name);
    };
    EXPECT_EQ(fault_without(which, test::LeftOutSync(0, name_of)), "");
    for (std::size_t n = 0; n < syncs.size(); ++n) {
      const test::LeftOutSync left_out(n + 1, name_of);
      const std::string fault = fault_without(which, left_out);
      EXPECT_EQ(left_out.what(), syncs[n].what);
      EXPECT_EQ(fault.empty(), *syncs[n].why_not != '\0') << syncs[n].what << ": " << fault;
    }
    const test::LeftOutSync none(syncs.size() + 1, name_of);
    EXPECT_EQ(fault_without(which, none), "");
    EXPECT_EQ(none.what(), "");
  }
};

TEST_F(SyncOrderOfMemory, HasNoSyncTooMany) {
  expect_harm(Case::first, {{"folder "},
                            {"folder /state"},
                            {"folder /state/below"},
                            {"data of /state/below/ID/tmp/source-"},
                            {"folder /state/below/ID", "the next one of this folder is for both"},
                            {"data of /state/below/ID/tmp/config"},
                            {"folder /state/below/ID"}});
  expect_harm(Case::next, {{"data of /state/below/ID/tmp/source-"}, {"folder /state/below/ID"}});
  expect_harm(Case::accepted, {{"folder /state/below/ID"}});
}

}  // namespace
}  // namespace bygone::store
