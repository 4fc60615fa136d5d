// SPDX-License-Identifier: Apache-2.0
#include "store/prune.h"

#include <filesystem>
#include <set>

#include <fcntl.h>

#include "store/condemned.h"
#include "store/index.h"
#include "store/session.h"
#include "store/trash.h"
#include "tests/store/prune_fixture.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/faulty_files.h"

namespace bygone::store {
namespace {

TEST_F(PruneTest, OfWhatIsAllLiveDeletesNothing) {
  const Snapshot one = back_up(one_);
  const auto before = packs();
  const PruneReport report = value_of(prune());
  EXPECT_EQ(report.packs_deleted, 0u);
  EXPECT_EQ(packs(), before);
  EXPECT_TRUE(lists().empty());
  expect_whole({{one, one_}});
}

TEST_F(PruneTest, DropsWhatNoSnapshotReaches) {
  const Snapshot one = back_up(one_);
  const Snapshot app = back_up({{"x", test::noise(90'000, 9)}}, "app");
  forget(one);
  const std::uint64_t before = disk_bytes();
  const PruneReport report = value_of(prune());
  EXPECT_GT(report.bytes_deleted, 600'000u);
  EXPECT_EQ(disk_bytes(), before - report.bytes_deleted + report.bytes_written);
  EXPECT_LT(disk_bytes(), 120'000u);
  expect_whole({{app, {{"x", test::noise(90'000, 9)}}}});
}

TEST_F(PruneTest, CopiesWhatLivesOutOfAPackThatIsMostlyDead) {
  const Snapshot one = back_up(one_);
  const Snapshot two = back_up(two_);
  forget(one);
  const std::uint64_t before = disk_bytes();
  const PruneReport report = value_of(prune());
  EXPECT_GT(report.packs_rewritten, 0u);
  EXPECT_GT(report.records_copied, 0u);
  EXPECT_EQ(disk_bytes(), before - report.bytes_deleted + report.bytes_written);
  EXPECT_LT(disk_bytes(), 700'000u);
  expect_whole({{two, two_}});
  // The same process reads on, and finds everything again for the next backup.
  EXPECT_TRUE(value_of(test::read_back(*repository_, two)) == two_);
  EXPECT_EQ(back_up(two_, "app").added_bytes, 0u);
}

TEST_F(PruneTest, IsDoneAfterOneRun) {
  back_up(one_);
  const Snapshot two = back_up(two_);
  forget(value_of(repository_->snapshots())[0]);
  value_of(prune());
  const auto after = packs();
  const PruneReport again = value_of(prune());
  EXPECT_EQ(again.packs_deleted, 0u);
  EXPECT_EQ(packs(), after);
  expect_whole({{two, two_}});
}

TEST_F(PruneTest, AnnouncesExactlyWhatItFrees) {
  const Snapshot one = back_up(one_);
  const Snapshot two = back_up(two_);
  const Snapshot old = back_up({{"old", test::noise(300'000, 5)}}, "app");
  forget(one);
  trash(old);
  PruneOptions options = kAll;
  for (const bool empty : {false, true}) {
    SCOPED_TRACE(empty);
    options.empty_trash = empty;
    options.dry_run = true;
    const auto untouched = packs();
    const PruneReport said = value_of(prune(options));
    EXPECT_EQ(packs(), untouched);
    EXPECT_EQ(said.trash_kept, empty ? 0u : 1u);
    EXPECT_EQ(said.trash_bytes > 300'000u, !empty);
    const std::uint64_t before = disk_bytes();
    options.dry_run = false;
    const PruneReport done = value_of(prune(options));
    EXPECT_EQ(done.bytes_deleted, said.bytes_deleted);
    EXPECT_EQ(done.bytes_written, said.bytes_written);
    EXPECT_EQ(done.trash_removed, said.trash_removed);
    EXPECT_EQ(before - disk_bytes(), said.bytes_deleted - said.bytes_written);
  }
  expect_whole({{two, two_}});
}

TEST_F(PruneTest, MergesSmallPacksInTheOrderOfPaths) {
  MemoryTree tree;
  for (int i = 9; i > 0; --i) {
    tree[std::to_string(i)] = test::noise(70'000, static_cast<std::uint64_t>(i));
    back_up(tree);
  }
  const auto all = value_of(repository_->snapshots());
  value_of(prune());
  EXPECT_EQ(packs().size(), 2u);  // data and pages
  for (const PackId& id : packs()) {
    const auto pack = value_of(repository_->chunks().pack(id));
    if (pack->kind() != ChunkKind::data) continue;
    ASSERT_EQ(pack->records().size(), 9u);
    for (std::uint64_t i = 0; i < 9; ++i) {
      EXPECT_EQ(pack->records()[i].id,
                repository_->keys().chunk_id(ChunkKind::data, test::noise(70'000, i + 1)));
    }
  }
  expect_whole({{all.back(), tree}});
}

TEST_F(PruneTest, SparesYoungPacksThatNothingEverReached) {
  test::write_pack(*repository_, {{.raw = test::noise(100'000, 1)}});
  const PruneReport spared = value_of(prune({}));
  EXPECT_EQ(spared.packs_deleted, 0u);
  EXPECT_EQ(spared.spared_packs, 1u);
  EXPECT_GT(spared.spared_bytes, 100'000u);
  const Nanoseconds later = system_now() + Nanoseconds{8 * 86'400} * kSecond;
  EXPECT_EQ(value_of(prune({.clock = [later] { return later; }})).packs_deleted, 1u);
  EXPECT_TRUE(packs().empty());
}

// A file server's clock was ahead once.
TEST_F(PruneTest, DropsWhatNothingEverReachedBesideAPackOfTheFuture) {
  test::write_pack(*repository_, {{.raw = test::noise(100'000, 1)}});
  const PackId ahead = test::write_pack(*repository_, {{.raw = test::noise(100'000, 2)}});
  std::filesystem::last_write_time(
      pack_path(repository_->path(), ahead),
      std::filesystem::file_time_type::clock::now() + std::chrono::hours(30 * 24));
  const Nanoseconds later = system_now() + Nanoseconds{8 * 86'400} * kSecond;
  const PruneReport report = value_of(prune({.clock = [later] { return later; }}));
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_EQ(packs(), std::set<PackId>{ahead});
}

// An interrupted first backup would begin again from nothing.
TEST_F(PruneTest, SparesWhatNothingEverReachedFromAClockThatLeapt) {
  test::write_pack(*repository_, {{.raw = test::noise(100'000, 1)}});
  const Nanoseconds ten_years_on = system_now() + Nanoseconds{3650} * 86'400 * kSecond;
  const auto leapt = [&] { return ten_years_on; };
  const PruneReport spared = value_of(prune({.clock = leapt}));
  EXPECT_EQ(spared.packs_deleted, 0u);
  EXPECT_EQ(spared.spared_packs, 1u);
  ASSERT_EQ(spared.warnings.size(), 1u);
  EXPECT_NE(spared.warnings.front().find("the clock leapt"), std::string::npos);
  // Whoever says that they go means it.
  EXPECT_EQ(
      value_of(prune({.spare_orphans = std::chrono::seconds(0), .clock = leapt})).packs_deleted,
      1u);
}

TEST_F(PruneTest, KeepsWhatTheTrashReachesUntilItIsEmptied) {
  const Snapshot one = back_up(one_);
  trash(one);
  const PruneReport kept = value_of(prune());
  EXPECT_EQ(kept.packs_deleted, 0u);
  EXPECT_GT(kept.trash_bytes, 600'000u);
  // Young as they are: they are no orphans, a snapshot has reached them.
  const PruneReport emptied = value_of(prune({.empty_trash = true}));
  EXPECT_EQ(emptied.trash_removed, 1u);
  EXPECT_TRUE(packs().empty());
}

// To read all packs can take hours, in which people change their minds, twice.
TEST_F(PruneTest, WhatCameBackAndWasForgottenAgainMeanwhileStaysItsDaysInTheTrash) {
  const Snapshot one = back_up(one_);
  const Snapshot app = back_up({{"x", test::noise(90'000, 9)}}, "app");
  const Nanoseconds later = app.instant + kSecond;
  value_of(move_to_trash(*repository_, {one.id}, later));
  PruneOptions options = kAll;
  options.clock = [&] { return later + kKeepTrash + kSecond; };
  bool changed = false;
  const auto report = value_of(store::prune(
      *repository_, options,
      [&](const PruneProgress& progress) {
        if (progress.phase != "packs" || std::exchange(changed, true)) return;
        value_of(restore_from_trash(*repository_, one.id));
        value_of(move_to_trash(*repository_, {one.id}, options.clock()));
      },
      kGoOn));
  EXPECT_TRUE(changed);
  EXPECT_EQ(report.trash_removed, 0u);
  value_of(restore_from_trash(*repository_, one.id));
  expect_whole({{one, one_}});
  // Left there for its days, it goes.
  value_of(move_to_trash(*repository_, {one.id}, later));
  EXPECT_EQ(value_of(prune(options)).trash_removed, 1u);
}

TEST_F(PruneTest, WaitsForASessionThatBeganBeforeAndKeepsWhatItFound) {
  const Snapshot one = back_up(one_);
  forget(one);
  auto session = value_of(Session::begin(*repository_, Compression::fastest));
  const PruneReport waiting = value_of(prune());
  EXPECT_EQ(waiting.packs_deleted, 0u);
  EXPECT_GT(waiting.waiting_bytes, 600'000u);
  EXPECT_EQ(waiting.waiting_for, std::vector<int>{::getpid()});
  // It deduplicates against packs that are condemned by now.
  const Snapshot late = value_of(test::back_up(*session, one_, {.source = "late"}));
  EXPECT_LT(late.added_bytes, 100'000u);
  // A session that begins now does not.
  const Snapshot after = back_up({{"a", one_.at("a")}}, "after");
  EXPECT_GT(after.added_bytes, 400'000u);
  EXPECT_GT(value_of(prune()).waiting_bytes, 0u);
  session.reset();
  const PruneReport done = value_of(prune());
  EXPECT_EQ(done.waiting_packs, 0u);
  EXPECT_GT(done.taken_back, 0u);
  expect_whole({{late, one_}, {after, {{"a", one_.at("a")}}}});
}

// A running session may build on the one record that keeps a condemned pack.
TEST_F(PruneTest, TheTrashIsNotEmptiedWhileAListWaits) {
  forget(back_up({{"x", test::noise(90'000, 9)}}, "app"));
  trash(back_up(one_));
  auto session = value_of(Session::begin(*repository_, Compression::fastest));
  EXPECT_GT(value_of(prune()).waiting_packs, 0u);
  const PruneOptions emptying{.empty_trash = true, .spare_orphans = std::chrono::seconds(0)};
  const PruneReport waiting = value_of(prune(emptying));
  EXPECT_GT(waiting.waiting_packs, 0u);
  EXPECT_EQ(waiting.trash_removed, 0u);
  EXPECT_EQ(value_of(repository_->trashed_ids()).size(), 1u);
  session.reset();
  EXPECT_EQ(value_of(prune(emptying)).trash_removed, 1u);
  EXPECT_TRUE(packs().empty());
}

// A record that stood between a condemned pack and its deletion is not simply taken away: a
// session that builds on it fails rather than commit a hole.
TEST_F(PruneTest, ASessionWhoseParentIsRemovedForGoodDoesNotCommit) {
  const Snapshot parent = back_up(one_);
  const auto session = value_of(Session::begin(*repository_, Compression::fastest));
  auto source = value_of(session->claim(parent.kind, parent.host_id, parent.host, parent.name));
  ASSERT_TRUE(source.parent.has_value());
  trash(parent);
  EXPECT_OK(session->commit(source, parent));
  source.parent = parent;
  filesystem::remove(path_ + "/trash/" + parent.id.hex());
  EXPECT_CODE(Code::busy, session->commit(source, parent));
}

TEST_F(PruneTest, AnInterruptedRunIsFinishedByTheNext) {
  const Snapshot one = back_up(one_);
  const Snapshot two = back_up(two_);
  const auto before = packs();
  forget(one);
  std::vector<PackId> some(before.begin(), before.end());
  value_of(write_condemned(system_files(), repository_->keys(), path_, {5, some}));
  const PruneReport report = value_of(prune());
  EXPECT_GT(report.taken_back, 0u);
  EXPECT_EQ(lists().back(), report.packs_rewritten > 0 ? 6u : 5u);
  expect_whole({{two, two_}});
}

TEST_F(PruneTest, NumbersOfListsNeverRepeat) {
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < 3; ++i) {
    forget(back_up({{"x", test::noise(90'000, 50 + i)}}));
    value_of(prune());
    ASSERT_EQ(lists().size(), 1u);
    EXPECT_GT(lists()[0], last);
    last = lists()[0];
    EXPECT_TRUE(value_of(condemned_packs(system_files(), repository_->keys(), path_)).empty());
  }
}

TEST_F(PruneTest, MendsAListThatDoesNotProveItself) {
  const Snapshot one = back_up(one_);
  const auto all = packs();
  value_of(write_condemned(system_files(), repository_->keys(), path_,
                           {4, std::vector<PackId>(all.begin(), all.end())}));
  test::flip_bit(path_ + "/condemned/4", 50);
  value_of(prune());
  EXPECT_EQ(packs(), all);
  EXPECT_TRUE(
      value_of(read_condemned(system_files(), repository_->keys(), path_, 4)).packs.empty());
  expect_whole({{one, one_}});
}

TEST_F(PruneTest, RefusesWhenAnythingReachableCannotBeRead) {
  const Snapshot one = back_up(one_);
  const Snapshot two = back_up(two_);
  forget(one);
  const std::string record = path_ + "/snapshots/" + two.id.hex();
  const Bytes sealed = test::read_whole(record);
  test::flip_bit(record, 100);
  repository_ = test::reopen(path_, folder_ / "other-index");
  const auto before = packs();
  EXPECT_CODE(Code::corrupt, prune());
  test::write_whole(record, sealed);
  // A note that cannot be read may be a pin.
  const std::string note = path_ + "/notes/" + std::string(32, 'a');
  test::write_whole(note, {});
  EXPECT_CODE(Code::corrupt, prune());
  filesystem::remove(note);
  // In the trash as well.
  filesystem::rename(record, path_ + "/trash/" + two.id.hex());
  test::flip_bit(path_ + "/trash/" + two.id.hex(), 100);
  EXPECT_CODE(Code::corrupt, prune());
  EXPECT_EQ(packs(), before);
  // What is about to leave the trash is not needed.
  EXPECT_OK(prune({.empty_trash = true, .spare_orphans = std::chrono::seconds(0)}));
}

// NFS may list a record where it was before somebody forgot it: then it is in neither listing.
class StaleFiles final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::string moved;

  Result<std::vector<std::string>> list(const std::string& path) override {
    auto names = TRY(inner_.list(path));
    if (path.ends_with("/trash")) std::erase(names, moved);
    if (path.ends_with("/snapshots")) names.push_back(moved);
    return names;
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }
};

TEST_F(PruneTest, RefusesWhenASnapshotThatIsListedIsNotThere) {
  const Snapshot one = back_up(one_);
  const Snapshot app = back_up({{"x", test::noise(90'000, 9)}}, "app");
  trash(one);
  const auto before = packs();
  StaleFiles files(system_files());
  files.moved = one.id.hex();
  const auto stale = value_of(Repository::open(
      path_, test::key_file(), {.index_dir = folder_ / "other-index", .files = &files}));
  const auto refused = store::prune(*stale, kAll, {}, kGoOn);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find(one.id.hex()), std::string::npos);
  EXPECT_EQ(packs(), before);
  expect_whole({{one, one_}, {app, {{"x", test::noise(90'000, 9)}}}});
}

TEST_F(PruneTest, RefusesWhenAPackThatIsNeededIsDamagedOrGone) {
  const Snapshot one = back_up(one_);
  const auto needed = packs();
  forget(back_up({{"x", test::noise(200'000, 70)}}, "app"));
  filesystem::copy(path_, folder_ / "whole", filesystem::copy_options::recursive);
  const auto all = packs();
  for (const PackId& pack : all) {
    for (const bool gone : {false, true}) {
      const std::string path = pack_path(path_, pack);
      if (gone) {
        filesystem::remove(path);
      } else {
        test::flip_bit(path, -10);
      }
      repository_ = test::reopen(path_);
      const auto before = packs();
      const auto pruned = prune();
      if (needed.contains(pack)) {
        ASSERT_TRUE(test::fails_with(Code::corrupt, pruned));
        EXPECT_NE(pruned.error().message.find("hint: "), std::string::npos);
        EXPECT_EQ(packs(), before);
      } else {
        ASSERT_OK(pruned);
        EXPECT_EQ(pruned->warnings.size(), gone ? 0u : 1u);
        EXPECT_EQ(packs().contains(pack), !gone) << "what cannot be read is left alone";
      }
      repository_.reset();
      filesystem::remove_all(path_);
      filesystem::copy(folder_ / "whole", path_, filesystem::copy_options::recursive);
    }
  }
  expect_whole({{one, one_}});
}

TEST_F(PruneTest, OneAtATime) {
  const Fd other = value_of(system_files().open(path_ + "/locks/prune", O_RDWR | O_CREAT, 0600));
  ASSERT_TRUE(value_of(system_files().try_lock(other, Lock::exclusive)));
  EXPECT_CODE(Code::busy, prune());
}

TEST_F(PruneTest, BelievesNoIndex) {
  const Snapshot one = back_up(one_);
  const Snapshot two = back_up(two_);
  forget(one);
  // Every row names another chunk of another pack.
  std::vector<PackContents> wrong;
  std::vector<ChunkId> ids;
  for (const PackId& id : packs()) {
    for (const Record& r : value_of(repository_->chunks().pack(id))->records()) ids.push_back(r.id);
  }
  for (const PackId& id : packs()) {
    std::rotate(ids.begin(), ids.begin() + 1, ids.end());
    wrong.push_back({.pack = id, .chunks = ids});
  }
  value_of(repository_->index().insert(wrong));
  value_of(prune());
  expect_whole({{two, two_}});
}

TEST_F(PruneTest, RowsOfWhatIsGoneLeaveTheIndex) {
  const Snapshot one = back_up(one_);
  const Snapshot two = back_up(two_);
  forget(one);
  value_of(prune());
  std::uint64_t records = 0;
  for (const PackId& id : packs()) {
    records += value_of(repository_->chunks().pack(id))->records().size();
  }
  EXPECT_EQ(value_of(repository_->index().chunk_count()), records);
  EXPECT_EQ(value_of(repository_->index().packs()).size(), packs().size());
}

TEST_F(PruneTest, LeftoversOfDeadWritersGo) {
  test::write_whole(path_ + "/tmp/pack-0123", test::noise(1000, 1));
  value_of(prune());
  EXPECT_TRUE(filesystem::is_empty(path_ + "/tmp"));
}

}  // namespace
}  // namespace bygone::store
