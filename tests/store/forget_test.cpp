// SPDX-License-Identifier: Apache-2.0
#include "store/forget.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::value_of;

constexpr Nanoseconds kFirst = 1'710'000'000 * kSecond;
constexpr Nanoseconds kNow = kFirst + 100 * kDay;

Clock at(Nanoseconds now) {
  return [now] { return now; };
}

class ForgetTest : public testing::Test {
 protected:
  Snapshot back_up(int day, const std::string& source = "db") {
    return value_of(test::back_up(*repository_, {{"a", test::noise(100, 7)}},
                                  {.source = source, .instant = kFirst + day * kDay}));
  }
  void say(const NewNote& note) {
    Notes notes = value_of(read_notes(*repository_));
    value_of(write_notes(*repository_, notes, {note}, kNow));
  }
  std::vector<SnapshotId> let_go(const RetentionRules& rules,
                                 const ForgetOptions& options = {.clock = at(kNow)}) {
    std::vector<SnapshotId> ids;
    for (const Snapshot& each : value_of(plan_forgetting(*repository_, rules, options)).let_go()) {
      ids.push_back(each.id);
    }
    return ids;
  }
  void damage(const Snapshot& snapshot) {
    repository_.reset();
    test::flip_bit(folder_ / "repo/snapshots/" + snapshot.id.hex(), 50);
    repository_ = test::reopen(folder_ / "repo", folder_ / "fresh");
  }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_ = test::new_repository(folder_ / "repo");
};

TEST_F(ForgetTest, JudgesEachSourceByItself) {
  const Snapshot one = back_up(1), two = back_up(2), other = back_up(1, "cache");
  EXPECT_EQ(let_go({.last = 1}), std::vector{one.id});
  EXPECT_EQ(let_go({.last = 1}, {.only = {other.source}}), std::vector<SnapshotId>{});
  EXPECT_CODE(Code::invalid, plan_forgetting(*repository_, {}, {.clock = at(kNow)}));
}

TEST_F(ForgetTest, WhatIsMadeMeanwhileIsNotOfTheFuture) {
  const Snapshot one = back_up(1), two = back_up(2);
  const Clock clock = [&] {
    back_up(200);
    return kNow;
  };
  EXPECT_EQ(let_go({.last = 1, .within = kSecond}, {.clock = clock}), std::vector{one.id});
}

TEST_F(ForgetTest, ListensToNotes) {
  const Snapshot one = back_up(1), two = back_up(2), three = back_up(3), four = back_up(4);
  EXPECT_EQ(let_go({.last = 1}), (std::vector{three.id, two.id, one.id}));
  say(*pin_note({}, one.id, Pinning::pin));
  EXPECT_EQ(let_go({.last = 1}), (std::vector{three.id, two.id}));
  say(verified_note(two.id, kNow));
  EXPECT_EQ(let_go({.last = 1}), (std::vector{three.id}));
  say(*tag_note({}, three, Tagging::add, "t"));
  EXPECT_EQ(let_go({.last = 1, .tags = {"t"}}), (std::vector<SnapshotId>{}));
  EXPECT_EQ(let_go({.last = 1, .tags = {"u"}}), (std::vector{three.id}));
}

TEST_F(ForgetTest, ANoteThatCannotBeReadStopsRules) {
  const Snapshot one = back_up(1);
  back_up(2);
  say(*pin_note({}, one.id, Pinning::pin));
  for (const auto& each : filesystem::directory_iterator(folder_ / "repo/notes")) {
    test::flip_bit(each.path(), 60);
  }
  EXPECT_CODE(Code::corrupt, plan_forgetting(*repository_, {.last = 1}, {.clock = at(kNow)}));
}

TEST_F(ForgetTest, ADamagedRecordBlocksItsSourceAlone) {
  back_up(1);
  const Snapshot two = back_up(2);
  back_up(3);
  const Snapshot other = back_up(1, "cache");
  back_up(2, "cache");
  damage(two);
  EXPECT_EQ(let_go({.last = 1}), std::vector{other.id});
  EXPECT_EQ(
      value_of(plan_forgetting(*repository_, {.last = 1}, {.clock = at(kNow)})).damaged.size(), 1u);
}

TEST_F(ForgetTest, ADamagedRecordOfAnUnknownSourceBlocksAll) {
  back_up(1);
  back_up(2);
  const Snapshot newest = back_up(3);
  back_up(1, "cache");
  back_up(2, "cache");
  damage(newest);
  EXPECT_EQ(let_go({.last = 1}), std::vector<SnapshotId>{});
}

TEST_F(ForgetTest, NothingGoesByAClockThatIsBehindOrLeapt) {
  const Snapshot one = back_up(1);
  back_up(2);
  EXPECT_EQ(let_go({.last = 1}, {.clock = at(kFirst - 3650 * kDay)}), std::vector<SnapshotId>{});
  const Nanoseconds leapt = kFirst + 3650 * kDay;
  const RetentionRules within{.within = kDay / 2};
  EXPECT_EQ(let_go(within, {.clock = at(leapt)}), std::vector<SnapshotId>{});
  EXPECT_EQ(let_go(within, {.clock = at(leapt), .accept_clock = true}), std::vector{one.id});
  // The trash remembers the last time too.
  value_of(move_to_trash(*repository_, {back_up(3).id}, kNow));
  EXPECT_EQ(let_go(within, {.clock = at(kFirst + 2 * kDay + 1)}), std::vector<SnapshotId>{});
}

TEST_F(ForgetTest, TwoRunsAtOnceAreRefused) {
  const Fd held = value_of(lock_forget(repository_->files(), repository_->path()));
  const auto again = lock_forget(repository_->files(), repository_->path());
  EXPECT_CODE(Code::busy, again);
  EXPECT_NE(again.error().message.find("(forget)"), std::string::npos);
}

}  // namespace
}  // namespace bygone::store
