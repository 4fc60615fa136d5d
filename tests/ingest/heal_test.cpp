// SPDX-License-Identifier: Apache-2.0
//
// Damage in a repository, and what the next backup makes of it.
#include <algorithm>

#include "fs/reader.h"
#include "store/index.h"
#include "store/repair.h"
#include "store/verify.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/damage.h"

namespace bygone::ingest {
namespace {

using store::ChunkKind;

class HealTest : public BackupTest {
 protected:
  HealTest() {
    for (int d = 0; d < 3; ++d) {
      const stdfs::path dir = source_dir() / ("d" + std::to_string(d));
      stdfs::create_directories(dir / "below");
      for (int i = 0; i < 20; ++i) write_file(dir / std::to_string(i), random_text(900, seed_++));
      write_file(dir / "below/large", random_text(1'500'000, seed_++));
      write_file(dir / "below/tiny", "tiny");
    }
  }

  // Each backup is one of a process of its own.
  BackupReport back_up() {
    open();
    return must_run();
  }

  std::vector<std::string> damage(double percent = 100) {
    open();
    auto report =
        store::verify(*repository_, {.read_data_percent = percent, .now = 1}, {}, cancel_);
    EXPECT_TRUE(report.ok());
    return report.ok() ? report->damage : std::vector<std::string>{"failed"};
  }

  // Another source with files of its own, in a process of its own.
  stdfs::path other_dir() const { return folder_.path() + "/other"; }
  BackupReport back_up_other() {
    open();
    auto source = folder_source("other", other_dir());
    EXPECT_TRUE(source.ok());
    auto report = run(*source, {});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  void add_other() {
    stdfs::create_directories(other_dir());
    write_file(other_dir() / "file", other_);
  }
  std::vector<PackId> lose_data_packs() {
    open();
    std::vector<PackId> gone;
    const auto packs = repository_->chunks().list_packs();
    EXPECT_TRUE(packs.ok());
    for (const PackId& id : *packs) {
      const auto reader = repository_->chunks().pack(id);
      EXPECT_TRUE(reader.ok());
      if ((*reader)->kind() != ChunkKind::data) continue;
      stdfs::remove(path_of(id));
      gone.push_back(id);
    }
    return gone;
  }

  // Reads as the mount does.
  Result<std::string> read(const Entry& entry, std::uint64_t offset, std::uint64_t size) {
    fs::Reader reader(repository_->trees(), repository_->chunks(), {.threads = 0});
    auto pieces = reader.read(1, std::make_shared<const Entry>(entry), offset, size);
    if (!pieces) return std::move(pieces).error();
    std::string out;
    for (const auto& piece : *pieces) out += as_text(piece.bytes);
    return out;
  }

  std::vector<Extent> extents(const Entry& entry) {
    std::vector<Extent> all;
    EXPECT_TRUE(repository_->trees()
                    .extents(entry, 0, entry.size,
                             [&](std::uint64_t, const Extent& extent) {
                               all.push_back(extent);
                               return true;
                             })
                    .ok());
    return all;
  }
  store::Location place_of(const ChunkId& chunk) {
    auto at = repository_->index().find(chunk);
    EXPECT_TRUE(at.ok() && at->has_value());
    return **at;
  }
  std::string path_of(const PackId& pack) { return store::pack_path(repository_dir(), pack); }
  void flip_chunk(const ChunkId& chunk) {
    const auto at = place_of(chunk);
    const auto reader = repository_->chunks().pack(at.pack);
    ASSERT_TRUE(reader.ok());
    test::flip_bit(path_of(at.pack),
                   static_cast<std::int64_t>((*reader)->records()[at.slot].offset) + 150);
  }
  PackId pack_of_kind(ChunkKind kind) {
    const auto packs = repository_->chunks().list_packs();
    EXPECT_TRUE(packs.ok());
    for (const PackId& id : *packs) {
      const auto reader = repository_->chunks().pack(id);
      if (reader.ok() && (*reader)->kind() == kind) return id;
    }
    ADD_FAILURE() << "no such pack";
    return {};
  }

  unsigned seed_ = 1;
  const std::string other_ = random_text(700'000, 1000);
};

TEST_F(HealTest, ADamagedChunkIsAnErrorForItsRangeUntilTheNextBackupStoresItAgain) {
  const BackupReport first = back_up();
  const Entry large = *find(first.snapshot, "d1/below/large");
  const auto all = extents(large);
  ASSERT_GT(all.size(), 2u);
  const std::uint64_t begin = all[0].length;
  const std::uint64_t end = begin + all[1].length;
  const PackId pack = place_of(all[1].chunk).pack;
  flip_chunk(all[1].chunk);

  const auto lines = damage();
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  EXPECT_NE(text.find("d1/below/large"), std::string::npos) << text;
  EXPECT_NE(text.find(all[1].chunk.hex()), std::string::npos) << text;
  EXPECT_NE(text.find(pack.hex()), std::string::npos) << text;

  std::ifstream in(source_dir() / "d1/below/large", std::ios::binary);
  const std::string wanted((std::istreambuf_iterator<char>(in)), {});
  EXPECT_FALSE(read(large, begin, 10).ok());
  EXPECT_FALSE(read(large, end - 1, 1).ok());
  const auto before = read(large, 0, begin);
  const auto behind = read(large, end, large.size - end);
  ASSERT_TRUE(before.ok() && behind.ok());
  EXPECT_TRUE(*before == wanted.substr(0, begin));
  EXPECT_TRUE(*behind == wanted.substr(end));

  const BackupReport second = back_up();
  EXPECT_TRUE(may_lack_);
  EXPECT_EQ(second.bytes_read, 1'500'000u) << "only the file that lacks something";
  EXPECT_TRUE(damage().empty());
  expect_equal(second.snapshot);
  expect_equal(first.snapshot);

  const BackupReport third = back_up();
  EXPECT_FALSE(may_lack_) << "what is healed costs nothing any more";
  EXPECT_EQ(third.bytes_read, 0u);
  EXPECT_EQ(third.snapshot.added_bytes, 0u);
}

TEST_F(HealTest, SmallFilesInADamagedChunkAreReadAgain) {
  const BackupReport first = back_up();
  flip_chunk(find(first.snapshot, "d0/3")->extents.at(0).chunk);
  EXPECT_FALSE(damage().empty());
  const BackupReport second = back_up();
  EXPECT_GT(second.bytes_read, 0u);
  EXPECT_LT(second.bytes_read, 1'000'000u);
  expect_equal(second.snapshot);
  for (const std::string& line : damage()) {
    EXPECT_EQ(line.find(second.snapshot.id.hex()), std::string::npos) << line;
  }
}

TEST_F(HealTest, AMissingPackIsStoredAgainWithoutAnyVerify) {
  const BackupReport first = back_up();
  const PackId pack = pack_of_kind(ChunkKind::data);
  stdfs::remove(path_of(pack));
  const BackupReport second = back_up();
  EXPECT_TRUE(may_lack_);
  expect_equal(second.snapshot);
  EXPECT_TRUE(damage(0).empty());
  back_up();
  EXPECT_FALSE(may_lack_) << "verify has found nothing missing";
}

// That packs are gone is seen by the first session only. Each source is looked at all the same.
TEST_F(HealTest, AMissingPackIsStoredAgainForEverySourceWhateverTheIndex) {
  add_other();
  struct Case {
    const char* name;
    std::string index_dir;
    bool copied;  // without its index
  };
  for (const Case& each :
       {Case{"in the repository", "", false}, Case{"elsewhere", folder_.path() + "/index", false},
        Case{"made anew in a copy", "", true}}) {
    SCOPED_TRACE(each.name);
    index_dir_ = each.index_dir;
    back_up();
    back_up_other();
    EXPECT_TRUE(damage().empty());
    lose_data_packs();
    repository_.reset();
    if (each.copied) stdfs::remove_all(repository_dir() + "/index");
    const BackupReport one = back_up();
    EXPECT_TRUE(may_lack_);
    expect_equal(one.snapshot);
    const BackupReport two = back_up_other();
    EXPECT_TRUE(may_lack_);
    EXPECT_TRUE(content(two.snapshot, "file") == other_);
    EXPECT_TRUE(damage().empty());
    back_up();
    EXPECT_FALSE(may_lack_);
    back_up_other();
    EXPECT_FALSE(may_lack_);
  }
}

// A hole that no index remembers: verify finds it, and then every source is looked at.
TEST_F(HealTest, WhatVerifyFindsInNoPackIsStoredAgainByWhoeverHasIt) {
  add_other();
  back_up();
  back_up_other();
  const auto gone = lose_data_packs();
  ASSERT_TRUE(repository_->index().remove_packs(gone).ok());
  EXPECT_FALSE(damage(0).empty());
  const BackupReport one = back_up();
  EXPECT_TRUE(may_lack_);
  expect_equal(one.snapshot);
  EXPECT_FALSE(damage(0).empty()) << "the other source is not healed yet";
  const BackupReport two = back_up_other();
  EXPECT_TRUE(may_lack_);
  EXPECT_TRUE(content(two.snapshot, "file") == other_);
  EXPECT_TRUE(damage(0).empty());
  back_up();
  EXPECT_FALSE(may_lack_) << "verify has found nothing missing";
}

// An index that never knew a pack cannot see that it is gone.
TEST_F(HealTest, WhatWasCommittedThroughAnotherIndexIsLookedUp) {
  const std::string here = folder_.path() + "/here";
  const std::string there = folder_.path() + "/there";
  index_dir_ = here;
  back_up();
  back_up();
  EXPECT_FALSE(may_lack_);
  index_dir_ = there;
  write_file(source_dir() / "new", random_text(300'000, seed_++));
  const BackupReport second = back_up();
  const Entry added = *find(second.snapshot, "new");
  stdfs::remove(path_of(place_of(extents(added).at(0).chunk).pack));
  index_dir_ = here;
  const BackupReport third = back_up();
  EXPECT_TRUE(may_lack_);
  expect_equal(third.snapshot);
  EXPECT_TRUE(damage().empty());
}

TEST_F(HealTest, AMissingPackIsNotForgottenWhenAReaderRebuildsTheIndexFirst) {
  const BackupReport first = back_up();
  stdfs::remove(path_of(pack_of_kind(ChunkKind::data)));
  open();
  const Entry large = *find(first.snapshot, "d1/below/large");
  EXPECT_FALSE(read(large, 0, 10).ok());
  ASSERT_TRUE(repository_->chunks().rebuild_index().ok());  // as one does who misses what is there
  const BackupReport second = back_up();
  EXPECT_TRUE(may_lack_);
  expect_equal(second.snapshot);
}

TEST_F(HealTest, AParentWhoseFoldersCannotBeReadDoesNotStopABackup) {
  struct Case {
    const char* name;
    std::function<void(const std::string& path)> damage;
  };
  const Case cases[] = {
      {"missing", [](const std::string& path) { stdfs::remove(path); }},
      {"footer", [](const std::string& path) { test::flip_bit(path, -3); }},
      {"record", [](const std::string& path) { test::flip_bit(path, 128 + 150); }},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.name);
    write_file(source_dir() / "d2/changes", random_text(100, seed_++));
    back_up();
    open();
    const auto snapshots = repository_->snapshots();
    ASSERT_TRUE(snapshots.ok());
    const auto newest =
        std::max_element(snapshots->begin(), snapshots->end(),
                         [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
    each.damage(path_of(place_of(newest->volumes.at(0).root.node.page).pack));
    const BackupReport next = back_up();
    EXPECT_TRUE(next.unreadable.empty());
    expect_equal(next.snapshot);
  }
}

TEST_F(HealTest, RepairThenBackupLeavesNothingDamaged) {
  const BackupReport first = back_up();
  const auto all = extents(*find(first.snapshot, "d2/below/large"));
  flip_chunk(all[0].chunk);
  test::flip_bit(path_of(place_of(all[0].chunk).pack), -5);
  open();
  const auto repaired = store::repair_packs(*repository_, {.now = 1}, {}, cancel_);
  ASSERT_TRUE(repaired.ok()) << repaired.error().message;
  ASSERT_EQ(repaired->damaged.size(), 1u);
  EXPECT_EQ(repaired->damaged[0].lost, std::vector<ChunkId>{all[0].chunk});
  const BackupReport second = back_up();
  EXPECT_EQ(second.bytes_read, 1'500'000u);
  EXPECT_TRUE(damage().empty());
  expect_equal(first.snapshot);
}

TEST_F(HealTest, LooksNothingUpWhereAllIsWell) {
  back_up();
  back_up();
  EXPECT_FALSE(may_lack_);
}

}  // namespace
}  // namespace bygone::ingest
