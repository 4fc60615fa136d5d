// SPDX-License-Identifier: Apache-2.0
#include "store/session.h"

#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/index.h"
#include "store/locks.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

// Lets something else happen within the first call that makes a pack.
class NestingFiles final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::function<void()> within;

 protected:
  Result<void> before(test::Call call, const std::string& path) override {
    if (call != test::Call::open || path.find("/tmp/pack-") == std::string::npos) return {};
    if (const auto other = std::exchange(within, nullptr)) other();
    return {};
  }
};

class SessionTest : public testing::Test {
 protected:
  SessionTest() : repository_(test::new_repository(folder_ / "repo")) {}

  std::unique_ptr<Session> begin() {
    return value_of(Session::begin(*repository_, Compression::fastest));
  }
  Result<ClaimedSource> claim(Session& session, const std::string& name,
                              const std::string& host_id = "engine",
                              SourceKind kind = SourceKind::container) {
    return session.claim(kind, host_id, "host", name);
  }
  std::size_t count_packs() { return value_of(repository_->chunks().list_packs()).size(); }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
  const MemoryTree tree_ = {{"a", test::noise(70'000, 1)},
                            {"b/large", test::noise(900'000, 2)},
                            {"b/text", test::prose(300'000, 3)}};
};

TEST_F(SessionTest, CommitsWhatReadsBackAfterReopening) {
  const Snapshot one = value_of(test::back_up(*repository_, tree_));
  EXPECT_EQ(one.sequence, 1u);
  EXPECT_TRUE(one.previous.is_zero());
  EXPECT_EQ(one.display_name, "db");
  EXPECT_EQ(one.listed_name, "2024-03-09T16:00");
  EXPECT_GT(one.added_bytes, 900'000u);
  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  EXPECT_EQ(value_of(repository_->snapshots()), std::vector<Snapshot>{one});
  EXPECT_EQ(value_of(test::read_back(*repository_, one)), tree_);
}

TEST_F(SessionTest, StoresNothingTwice) {
  const Snapshot one = value_of(test::back_up(*repository_, tree_));
  const std::size_t packs = count_packs();
  const Snapshot two = value_of(test::back_up(*repository_, tree_, {.instant = one.instant + 1}));
  EXPECT_EQ(two.added_bytes, 0u);
  EXPECT_EQ(count_packs(), packs);
  EXPECT_EQ(two.sequence, 2u);
  EXPECT_EQ(two.previous, one.id);
  EXPECT_EQ(two.source, one.source);
  EXPECT_EQ(two.listed_name, "2024-03-09T16:00:00");
  EXPECT_EQ(two.volumes[0].root.node, one.volumes[0].root.node);
}

TEST_F(SessionTest, CountsTheBytesOfEachSnapshotForItself) {
  const auto session = begin();
  const Snapshot one = value_of(test::back_up(*session, tree_));
  const Snapshot two =
      value_of(test::back_up(*session, {{"x", test::noise(5000, 9)}}, {.source = "app"}));
  EXPECT_GT(one.added_bytes, 900'000u);
  EXPECT_LT(two.added_bytes, 20'000u);
  EXPECT_GT(two.added_bytes, 5000u);
}

TEST_F(SessionTest, RunsBesideAnotherOfAnotherSource) {
  const auto first = begin();
  const auto second = begin();
  const Snapshot one = value_of(test::back_up(*first, tree_));
  const Snapshot two = value_of(test::back_up(*second, tree_, {.source = "app"}));
  EXPECT_NE(one.source, two.source);
  for (const Snapshot& snapshot : {one, two}) {
    EXPECT_EQ(value_of(test::read_back(*repository_, snapshot)), tree_);
  }
}

TEST_F(SessionTest, KeepsItsBytesFromAnotherThatRunsWithinItsCalls) {
  NestingFiles files(system_files());
  const auto outer = value_of(Repository::open(folder_ / "repo", test::key_file(),
                                               {.index_dir = folder_ / "index", .files = &files}));
  std::optional<Snapshot> inner;
  files.within = [&] {
    inner = value_of(test::back_up(*repository_, {{"x", test::prose(90'000, 8)}}, {.source = "x"}));
  };
  const Snapshot one = value_of(test::back_up(*outer, {{"text", test::prose(80'000, 9)}}));
  ASSERT_TRUE(inner);
  EXPECT_EQ(value_of(test::read_back(*repository_, one)),
            (MemoryTree{{"text", test::prose(80'000, 9)}}));
}

TEST_F(SessionTest, OfTheSameSourceIsBusyUntilTheFirstIsDone) {
  const auto first = begin();
  const auto second = begin();
  {
    const ClaimedSource held = value_of(claim(*first, "db"));
    EXPECT_CODE(Code::busy, claim(*second, "db"));
    EXPECT_OK(claim(*second, "app"));
    EXPECT_OK(claim(*second, "db", "other engine"));
  }
  EXPECT_OK(claim(*second, "db"));
}

TEST_F(SessionTest, GivesEachHostANameOfItsOwn) {
  const auto session = begin();
  const auto commit = [&](const std::string& host_id) {
    ClaimedSource source = value_of(claim(*session, "db", host_id));
    Snapshot snapshot;
    snapshot.kind = SourceKind::container;
    snapshot.name = "db";
    snapshot.host_id = host_id;
    return value_of(session->commit(source, snapshot));
  };
  EXPECT_EQ(commit("one").display_name, "db");
  EXPECT_EQ(commit("two").display_name, "db+host");
  EXPECT_EQ(commit("three").display_name, "db+host~2");
  EXPECT_EQ(commit("two").display_name, "db+host");
  EXPECT_EQ(commit("one").display_name, "db");
}

TEST_F(SessionTest, RefusesANameThatIsAnotherKindOfSource) {
  value_of(test::back_up(*repository_, tree_));
  const auto session = begin();
  EXPECT_CODE(Code::invalid, claim(*session, "db", "engine", SourceKind::folder));
}

TEST_F(SessionTest, GoesOnBesideADamagedRecordOfAnotherSource) {
  const Snapshot app = value_of(test::back_up(*repository_, tree_, {.source = "app"}));
  const Snapshot one = value_of(test::back_up(*repository_, tree_));
  repository_.reset();
  test::flip_bit(folder_ / ("repo/snapshots/" + app.id.hex()), 100);
  repository_ = test::reopen(folder_ / "repo", folder_ / "new-index");
  const Snapshot two = value_of(test::back_up(*repository_, tree_));
  EXPECT_EQ(two.previous, one.id);
}

// The packs of a session that died are found by the next, which stores only what they lack.
TEST_F(SessionTest, AdoptsWhatAKilledSessionLeft) {
  MemoryTree large;
  for (std::uint64_t i = 0; i < 40; ++i) {
    large["f" + std::to_string(i)] = test::noise(1'000'000, 100 + i);
  }
  {
    const auto session = begin();
    const ClaimedSource source = value_of(claim(*session, "db"));
    Compressor compressor(Compression::off);
    for (const auto& [path, content] : large) {
      value_of(session->put_data(content, 1, compressor));
    }
    // Dies without a commit: one whole pack is in its place, the rest is gone.
    while (count_packs() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  EXPECT_TRUE(value_of(repository_->snapshots()).empty());
  EXPECT_EQ(count_packs(), 1u);
  const auto session = begin();
  ClaimedSource source = value_of(claim(*session, "db"));
  Compressor compressor(Compression::off);
  for (const auto& [path, content] : large) {
    value_of(session->put_data(content, 1, compressor));
  }
  EXPECT_LT(session->added_bytes(), 9'000'000u);
  for (const auto& [path, content] : large) {
    const ChunkId id = repository_->keys().chunk_id(ChunkKind::data, content);
    EXPECT_EQ(*value_of(session->get(ChunkKind::data, id)), content);
  }
}

TEST_F(SessionTest, LeavesNoSnapshotAndNoTemporaryFileWhenItIsDropped) {
  {
    const auto session = begin();
    Compressor compressor(Compression::fastest);
    value_of(session->put_data(test::noise(1000, 1), 1, compressor));
  }
  EXPECT_TRUE(value_of(repository_->snapshots()).empty());
  EXPECT_TRUE(filesystem::is_empty(folder_ / "repo/tmp"));
}

// The first sync of a file's data fails, once; what was not written may be gone without a trace,
// whatever a second one says.
class OneBadSync final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  Result<void> sync_data(const Fd& fd) override {
    const std::lock_guard lock(mutex_);
    const std::string path =
        filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd.get())).string();
    if (++syncs_[path] == 1 && syncs_.size() == 1) return os_error(EIO, path);
    return inner_.sync_data(fd);
  }
  [[nodiscard]] std::map<std::string, int> syncs() {
    const std::lock_guard lock(mutex_);
    return syncs_;
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }

 private:
  std::mutex mutex_;
  std::map<std::string, int> syncs_;
};

TEST_F(SessionTest, IsLostWithASyncThatFailsAndTriesNoneTwice) {
  OneBadSync files(system_files());
  repository_.reset();
  repository_ = value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &files}));
  {
    const auto session = begin();
    EXPECT_EQ(files.syncs().size(), 0u);
    EXPECT_CODE(Code::io, test::back_up(*session, tree_));
    EXPECT_CODE(Code::io, test::back_up(*session, tree_));
  }
  ASSERT_GE(files.syncs().size(), 1u);
  for (const auto& [path, times] : files.syncs()) EXPECT_EQ(times, 1) << path;
  EXPECT_TRUE(value_of(repository_->snapshots()).empty());
  EXPECT_TRUE(filesystem::is_empty(folder_ / "repo/tmp"));
  const Snapshot next = value_of(test::back_up(*repository_, tree_));
  EXPECT_EQ(value_of(test::read_back(*repository_, next)), tree_);
}

TEST_F(SessionTest, TakesChunksFromManyThreadsAndGivesThemBackAtOnce) {
  const auto session = begin();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Compressor compressor(Compression::fastest);
      for (std::uint64_t i = 0; i < 60; ++i) {
        // Two threads each put the same content, at the same time or nearly so.
        const Bytes content = i % 2 == 0 ? test::noise(20'000, 1000 * (t / 2) + i)
                                         : test::prose(20'000, 1000 * (t / 2) + i);
        const auto id = session->put_data(content, t / 2, compressor);
        ASSERT_OK(id);
        const auto back = session->get(ChunkKind::data, *id);
        ASSERT_OK(back);
        EXPECT_EQ(**back, content);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ClaimedSource source = value_of(claim(*session, "db"));
  Snapshot snapshot;
  snapshot.kind = SourceKind::container;
  snapshot.name = "db";
  snapshot.host_id = "engine";
  value_of(session->commit(source, snapshot));
  EXPECT_EQ(value_of(repository_->index().chunk_count()), 120u);
}

TEST_F(SessionTest, DoesNotGiveAPageForDataOrTheReverse) {
  const auto session = begin();
  Compressor compressor(Compression::fastest);
  const Bytes content = test::noise(500, 1);
  const ChunkId data = value_of(session->put_data(content, 1, compressor));
  EXPECT_CODE(Code::corrupt, session->get(ChunkKind::page, data));
  const ChunkId page = repository_->keys().chunk_id(ChunkKind::page, content);
  value_of(session->put_page(page, content));
  EXPECT_EQ(*value_of(session->get(ChunkKind::page, page)), content);
  EXPECT_CODE(Code::corrupt, session->get(ChunkKind::data, page));
}

// A row of a pack that another process pruned must not leave a hole in the snapshot.
TEST_F(SessionTest, StoresAgainWhatStandsInAPackThatIsGone) {
  const Snapshot one = value_of(test::back_up(*repository_, tree_));
  for (const PackId& pack : value_of(repository_->chunks().list_packs())) {
    filesystem::remove(pack_path(repository_->path(), pack));
  }
  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  const Snapshot two = value_of(test::back_up(*repository_, tree_, {.instant = one.instant + 1}));
  EXPECT_EQ(value_of(test::read_back(*repository_, two)), tree_);
}

TEST_F(SessionTest, StoresAgainWhatStandsInAPackWhoseFooterIsDamaged) {
  const Snapshot one = value_of(test::back_up(*repository_, tree_));
  for (const PackId& pack : value_of(repository_->chunks().list_packs())) {
    test::flip_bit(pack_path(repository_->path(), pack), -1);
  }
  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  const Snapshot two = value_of(test::back_up(*repository_, tree_, {.instant = one.instant + 1}));
  EXPECT_EQ(value_of(test::read_back(*repository_, two)), tree_);
}

TEST_F(SessionTest, HoldsTheNewestGenerationByNumber) {
  for (const char* generation : {"1", "2", "9", "10", "notes"}) {
    test::write_whole(folder_ / (std::string("repo/condemned/") + generation), {});
  }
  const auto session = begin();
  const Fd other =
      value_of(system_files().open(folder_ / "repo/locks/gen/10", O_RDWR | O_CREAT, 0600));
  EXPECT_FALSE(value_of(system_files().try_lock(other, Lock::exclusive)));
  const Fd ninth =
      value_of(system_files().open(folder_ / "repo/locks/gen/9", O_RDWR | O_CREAT, 0600));
  EXPECT_TRUE(value_of(system_files().try_lock(ninth, Lock::exclusive)));
}

TEST_F(SessionTest, WaitsForNoPruneThatFinishesItsGeneration) {
  const Fd prune =
      value_of(system_files().open(folder_ / "repo/locks/gen/0", O_RDWR | O_CREAT, 0600));
  ASSERT_TRUE(value_of(system_files().try_lock(prune, Lock::exclusive)));
  EXPECT_CODE(Code::busy, Session::begin(*repository_, Compression::fastest));
}

TEST_F(SessionTest, RefusesARecordThatWouldNotReadBack) {
  const auto session = begin();
  ClaimedSource source = value_of(claim(*session, "db"));
  Snapshot nameless;
  EXPECT_CODE(Code::corrupt, session->commit(source, nameless));
  EXPECT_TRUE(value_of(repository_->snapshots()).empty());
}

TEST_F(SessionTest, FillsPacksToTheTargetAndReadsThemAll) {
  const auto session = begin();
  Compressor compressor(Compression::off);
  std::vector<ChunkId> ids;
  for (std::uint64_t i = 0; i < 100; ++i) {
    ids.push_back(value_of(session->put_data(test::noise(1'000'000, i), 1, compressor)));
  }
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(*value_of(session->get(ChunkKind::data, ids[i])), test::noise(1'000'000, i));
  }
  ClaimedSource source = value_of(claim(*session, "db"));
  Snapshot snapshot;
  snapshot.name = "db";
  snapshot.kind = SourceKind::container;
  snapshot.host_id = "engine";
  value_of(session->commit(source, snapshot));
  EXPECT_EQ(count_packs(), 3u);
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(*value_of(repository_->chunks().get(ChunkKind::data, ids[i])),
              test::noise(1'000'000, i));
  }
}

}  // namespace
}  // namespace bygone::store
