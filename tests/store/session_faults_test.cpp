// SPDX-License-Identifier: Apache-2.0
//
// Sessions with several sources, of which one meets a fault and the others would not notice.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/prune.h"
#include "store/session.h"
#include "store/trash.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::MemoryTree;
using test::value_of;

// The disk is full for one write to a pack, and then no more; or one folder of packs cannot be
// synced, once.
class OneBadCall final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::atomic<int> good_pack_writes{1'000'000};
  std::atomic<bool> fail_bucket_sync{false};
  std::atomic<int> packs_made{0};
  std::string unsynced;  // that folder

  Result<void> write_at(const Fd& fd, ByteView data, std::uint64_t offset) override {
    const std::string path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd.get())).string();
    if (path.find("/tmp/pack-") != std::string::npos && good_pack_writes-- == 0) {
      return os_error(ENOSPC, path);
    }
    return inner_.write_at(fd, data, offset);
  }
  Result<void> sync_directory(const std::string& path) override {
    if (path.find("/packs/") != std::string::npos && fail_bucket_sync.exchange(false)) {
      unsynced = path;
      return os_error(EIO, path);
    }
    return inner_.sync_directory(path);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (to.find("/packs/") != std::string::npos) ++packs_made;
    return inner_.rename(from, to);
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }
};

class SessionFaults : public testing::Test {
 protected:
  SessionFaults() {
    repository_ = test::new_repository(folder_ / "repo");
    value_of(
        test::back_up(*repository_, {{"a", test::noise(70'000, 99)}}, {.source = "unchanged"}));
    repository_.reset();
    repository_ =
        value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &files_}));
  }

  // Puts `count` chunks of which the last cannot be written; then a source that has not changed,
  // and for which nothing is put, is committed in the same session.
  void expect_no_hole_after(std::uint64_t count) {
    const std::size_t packs = count_packs();
    const Bytes last = test::noise(1'000'000, count);
    {
      const auto session = value_of(Session::begin(*repository_, Compression::off));
      ClaimedSource unchanged = claim_unchanged(*session);
      Compressor compressor(Compression::off);
      for (std::uint64_t i = 1; i < count; ++i) {
        value_of(session->put_data(test::noise(1'000'000, i), 1, compressor));
      }
      files_.good_pack_writes = 0;
      EXPECT_CODE(Code::no_space, session->put_data(last, 1, compressor));
      EXPECT_CODE(Code::no_space, session->commit(unchanged, *unchanged.parent));
      for (int i = 0; i < 20 && files_.packs_made == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
    EXPECT_EQ(files_.packs_made, 0);
    EXPECT_EQ(count_packs(), packs);
    // The next session does not take it for stored.
    const auto session = value_of(Session::begin(*repository_, Compression::off));
    Compressor compressor(Compression::off);
    const ChunkId id = value_of(session->put_data(last, 1, compressor));
    ClaimedSource unchanged = claim_unchanged(*session);
    value_of(session->commit(unchanged, *unchanged.parent));
    const auto back = repository_->chunks().get(ChunkKind::data, id);
    ASSERT_OK(back);
    EXPECT_EQ(**back, last);
  }

  ClaimedSource claim_unchanged(Session& session) {
    return value_of(session.claim(SourceKind::container, "engine", "host", "unchanged"));
  }
  // The packs in the folder that could not be synced: of the tests below, one.
  std::vector<std::filesystem::path> left_unsynced() {
    std::vector<std::filesystem::path> files;
    for (const auto& each : std::filesystem::directory_iterator(files_.unsynced)) {
      const auto known = value_of(repository_->index().packs());
      const auto id = PackId::from_hex_text(each.path().filename().string());
      if (std::find(known.begin(), known.end(), *id) == known.end()) files.push_back(each.path());
    }
    EXPECT_EQ(files.size(), 1u);
    return files;
  }
  std::size_t count_packs() { return value_of(repository_->chunks().list_packs()).size(); }

  test::TempFolder folder_;
  OneBadCall files_{system_files()};
  std::unique_ptr<Repository> repository_;
};

TEST_F(SessionFaults, APackThatLacksARecordIsNeverFinished) { expect_no_hole_after(2); }

TEST_F(SessionFaults, APackThatLacksTheRecordThatClosesItIsNeverFinished) {
  expect_no_hole_after(kPackTarget / 1'000'000 + 1);
}

TEST_F(SessionFaults, NothingIsCommittedAfterAFolderOfPacksCouldNotBeSynced) {
  const auto session = value_of(Session::begin(*repository_, Compression::off));
  const MemoryTree tree{{"a", test::noise(70'000, 7)}};
  files_.fail_bucket_sync = true;
  EXPECT_CODE(Code::io, test::back_up(*session, tree));
  EXPECT_FALSE(files_.fail_bucket_sync);
  EXPECT_CODE(Code::io, test::back_up(*session, tree));
  ClaimedSource unchanged = claim_unchanged(*session);
  EXPECT_CODE(Code::io, session->commit(unchanged, *unchanged.parent));
  EXPECT_EQ(value_of(repository_->snapshots()).size(), 1u);
}

// A second sync of that folder would say that all is well.
TEST_F(SessionFaults, NothingBuildsOnAPackWhoseFolderCouldNotBeSynced) {
  const Bytes content = test::noise(70'000, 7);
  const PackId pack = test::write_pack(*repository_, {{.raw = content}});
  files_.fail_bucket_sync = true;
  for (int i = 0; i < 2; ++i) {
    const auto session = value_of(Session::begin(*repository_, Compression::off));
    EXPECT_FALSE(files_.fail_bucket_sync);
    Compressor compressor(Compression::off);
    const ChunkId id = value_of(session->put_data(content, 1, compressor));
    ClaimedSource unchanged = claim_unchanged(*session);
    value_of(session->commit(unchanged, *unchanged.parent));
    EXPECT_NE(value_of(repository_->index().find(id)).value().pack, pack);
  }
}

TEST_F(SessionFaults, NothingBuildsOnWhatAnEarlierSessionCouldNotMakeDurable) {
  const MemoryTree tree{{"a", test::noise(70'000, 7)}};
  files_.fail_bucket_sync = true;
  EXPECT_CODE(Code::io, test::back_up(*repository_, tree));
  EXPECT_FALSE(files_.fail_bucket_sync);
  const auto left = left_unsynced();
  const Snapshot snapshot = value_of(test::back_up(*repository_, tree));
  for (const auto& file : left) std::filesystem::remove(file);  // as the power may
  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  EXPECT_TRUE(value_of(test::read_back(*repository_, snapshot)) == tree);
}

TEST_F(SessionFaults, APruneDropsNothingForACopyThatItCouldNotMakeDurable) {
  const MemoryTree tree{{"a", test::noise(70'000, 7)}};
  MemoryTree more = tree;
  more["b"] = test::noise(900'000, 8);
  const Snapshot gone = value_of(test::back_up(*repository_, more));
  const Snapshot kept = value_of(test::back_up(*repository_, tree));
  value_of(remove_for_good(*repository_, {gone}, kept.instant));
  const auto before = value_of(repository_->chunks().list_packs());
  for (const PackId& pack : before) {
    const std::filesystem::path file = pack_path(repository_->path(), pack);
    last_write_time(file, last_write_time(file) - std::chrono::hours(1));
  }
  const std::atomic<bool> cancel{false};
  files_.fail_bucket_sync = true;
  EXPECT_CODE(Code::io, prune(*repository_, {.spare_orphans = {}}, {}, cancel));
  EXPECT_FALSE(files_.fail_bucket_sync);
  const auto left = left_unsynced();
  value_of(prune(*repository_, {.spare_orphans = {}}, {}, cancel));
  for (const auto& file : left) std::filesystem::remove(file);  // as the power may
  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  EXPECT_TRUE(value_of(test::read_back(*repository_, kept)) == tree);
}

}  // namespace
}  // namespace bygone::store
