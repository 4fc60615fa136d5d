// SPDX-License-Identifier: Apache-2.0
#include "store/verify.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/index.h"
#include "store/pack_writer.h"
#include "store/session.h"
#include "store/trash.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

VerifyReport run_verify(Repository& repository, double percent = 0) {
  const std::atomic<bool> cancel{false};
  return value_of(verify(repository, {.read_data_percent = percent}, {}, cancel));
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

class Verify : public testing::Test {
 public:
  Verify() {
    first_ = {{"small", test::prose(50, 1)},
              {"a/medium", test::prose(3000, 2)},
              {"a/b/large", test::noise(700'000, 3)},
              {"c/empty/", {}},
              {"c/sub/file", test::noise(60'000, 4)}};
    second_ = first_;
    second_["c/sub/file"] = test::noise(60'000, 5);
    repository_ = test::new_repository(folder_ / "repo");
    one_ = value_of(test::back_up(*repository_, first_));
    two_ =
        value_of(test::back_up(*repository_, second_, {.instant = one_.instant + 3600 * kSecond}));
  }

  std::vector<std::string> packs(ChunkKind kind) {
    std::vector<std::string> found;
    for (const PackId& id : value_of(repository_->chunks().list_packs())) {
      if (value_of(repository_->chunks().pack(id))->kind() == kind) {
        found.push_back(pack_path(repository_->path(), id));
      }
    }
    return found;
  }
  PackId id_of(const std::string& pack) {
    return *PackId::from_hex_text(filesystem::path(pack).filename().string());
  }
  // The pack and record that hold a chunk.
  std::pair<std::string, Record> place_of(const ChunkId& chunk) {
    const Location at = *value_of(repository_->index().find(chunk));
    return {pack_path(repository_->path(), at.pack),
            value_of(repository_->chunks().pack(at.pack))->records()[at.slot]};
  }
  ChunkId chunk_of(const Bytes& content) {
    return repository_->keys().chunk_id(ChunkKind::data, content);
  }
  void reopen() {
    repository_.reset();
    repository_ = test::reopen(folder_ / "repo");
  }
  std::string structure() { return joined(run_verify(*repository_).damage); }
  std::string everything() { return joined(run_verify(*repository_, 100).damage); }

  test::TempFolder folder_;
  MemoryTree first_, second_;
  std::unique_ptr<Repository> repository_;
  Snapshot one_, two_;
};

TEST_F(Verify, ReportsNothingOnAHealthyRepository) {
  const VerifyReport structure = run_verify(*repository_);
  EXPECT_EQ(joined(structure.damage), "");
  EXPECT_EQ(structure.snapshots, 2u);
  EXPECT_GE(structure.packs, 4u);
  EXPECT_EQ(structure.records_read, 0u);
  const VerifyReport data = run_verify(*repository_, 100);
  EXPECT_EQ(joined(data.damage), "");
  EXPECT_EQ(data.records_read, data.records);
  EXPECT_GT(data.bytes_read, 800'000u);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(Verify, NamesSnapshotPathAndRangeOfALostDataPack) {
  // The chunk of c/sub/file of the second snapshot stands in a pack of its own.
  const auto [file, record] = place_of(chunk_of(second_.at("c/sub/file")));
  filesystem::remove(file);
  reopen();
  const std::string damage = structure();
  EXPECT_TRUE(has(damage, two_.id.hex())) << damage;
  EXPECT_TRUE(has(damage, "(db " + two_.listed_name +
                              "): /data/c/sub/file: bytes 0 to 59999 are "
                              "lost"))
      << damage;
  EXPECT_FALSE(has(damage, one_.id.hex())) << damage;
  EXPECT_EQ(std::count(damage.begin(), damage.end(), '\n'), 1) << damage;
}

// Until it expires, a forgotten snapshot can be had back.
TEST_F(Verify, NamesTheDamageOfASnapshotInTheTrash) {
  value_of(move_to_trash(*repository_, {one_.id}, one_.instant));
  const VerifyReport healthy = run_verify(*repository_);
  EXPECT_EQ(joined(healthy.damage), "");
  EXPECT_EQ(healthy.snapshots, 1u);
  EXPECT_EQ(healthy.trashed, 1u);
  const auto [file, record] = place_of(chunk_of(first_.at("c/sub/file")));
  filesystem::remove(file);
  reopen();
  const std::string damage = structure();
  EXPECT_TRUE(has(damage, "forgotten snapshot " + one_.id.hex())) << damage;
  EXPECT_TRUE(has(damage, "/data/c/sub/file: bytes 0 to 59999 are lost")) << damage;
}

TEST_F(Verify, NamesEverySnapshotThatSharesTheDamage) {
  const auto [file, record] = place_of(chunk_of(first_.at("a/medium")));
  filesystem::remove(file);
  reopen();
  const std::string damage = structure();
  EXPECT_TRUE(has(damage, two_.id.hex())) << damage;
  EXPECT_TRUE(has(damage, one_.id.hex())) << damage;
  EXPECT_TRUE(has(damage, "/data/a/medium: bytes 0 to 2999 are lost")) << damage;
  EXPECT_TRUE(has(damage, "/data/a/b/large: bytes 0 to 699999 are lost")) << damage;
}

TEST_F(Verify, NamesWhatALostPagePackCosts) {
  for (const std::string& pack : packs(ChunkKind::page)) filesystem::remove(pack);
  reopen();
  const std::string damage = structure();
  EXPECT_TRUE(has(damage, one_.id.hex() + " (db " + one_.listed_name + "): /data: all below it"))
      << damage;
  EXPECT_TRUE(has(damage, two_.id.hex())) << damage;
}

TEST_F(Verify, FindsEachKindOfDamage) {
  struct Case {
    const char* name;
    std::function<void(Verify&)> damage;
    std::string said;   // in a line of the full verification
    bool in_structure;  // found without reading data
  };
  const auto first_pack = [](Verify& t) { return t.packs(ChunkKind::data).front(); };
  const Case cases[] = {
      {"a flipped bit in a record's body",
       [](Verify& t) {
         const auto [file, record] = t.place_of(t.chunk_of(t.first_.at("a/medium")));
         test::flip_bit(file, static_cast<std::int64_t>(record.offset + kSealedHeadBytes + 5));
       },
       "/data/a/medium: bytes 0 to 2999 are lost", false},
      {"a flipped bit in a record's head",
       [](Verify& t) {
         const auto [file, record] = t.place_of(t.chunk_of(t.first_.at("a/medium")));
         test::flip_bit(file, static_cast<std::int64_t>(record.offset + 3));
       },
       "/data/a/medium: bytes 0 to 2999 are lost", false},
      {"a damaged trailer", [&](Verify& t) { test::flip_bit(first_pack(t), -1); },
       "none of its records can be found", true},
      {"a pack cut short", [&](Verify& t) { test::cut_to(first_pack(t), 5000); },
       "none of its records can be found", true},
      {"an empty pack", [&](Verify& t) { test::cut_to(first_pack(t), 0); },
       "none of its records can be found", true},
      {"a pack under another's name",
       [&](Verify& t) {
         const std::string pack = first_pack(t);
         std::string renamed = pack;
         renamed.back() = renamed.back() == '0' ? '1' : '0';
         filesystem::rename(pack, renamed);
       },
       "belongs elsewhere", true},
      {"a pack in the wrong folder",
       [&](Verify& t) {
         const filesystem::path pack = first_pack(t);
         const bool is_00 = pack.parent_path().filename() == "00";
         filesystem::rename(pack, t.repository_->path() + (is_00 ? "/packs/01/" : "/packs/00/") +
                                      pack.filename().string());
       },
       "does not belong here", true},
      {"a foreign file among the packs",
       [](Verify& t) {
         test::write_whole(t.repository_->path() + "/packs/00/notes", as_bytes("x"));
       },
       "does not belong here", true},
      {"a damaged snapshot record",
       [](Verify& t) {
         test::flip_bit(t.repository_->path() + "/snapshots/" + t.two_.id.hex(), 60);
       },
       "does not prove itself", true},
      {"a snapshot record that was taken away",
       [](Verify& t) {
         filesystem::remove(t.repository_->path() + "/snapshots/" + t.one_.id.hex());
       },
       "the snapshot before it, number 1", true},
  };
  filesystem::copy(folder_ / "repo", folder_ / "origin", filesystem::copy_options::recursive);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    repository_.reset();
    filesystem::remove_all(folder_ / "repo");
    filesystem::copy(folder_ / "origin", folder_ / "repo", filesystem::copy_options::recursive);
    filesystem::remove_all(folder_ / "repo/index");
    repository_ = test::reopen(folder_ / "repo");
    ASSERT_EQ(everything(), "");
    c.damage(*this);
    filesystem::rename(folder_ / "repo/index", folder_ / "old-index");
    reopen();
    EXPECT_TRUE(has(everything(), c.said)) << everything();
    EXPECT_EQ(structure() != "", c.in_structure) << structure();
    filesystem::remove_all(folder_ / "old-index");
  }
}

// Prune keeps a pack for what is alive in it, and a base for living deltas alone.
TEST_F(Verify, CountsADeltaThatNothingNeedsAsNoDamageWithoutItsBase) {
  Bytes next = first_.at("a/medium");
  next[0] ^= 1;
  Bytes base = first_.at("a/medium");
  base[1] ^= 1;
  Bytes last = next;
  last[2] ^= 1;
  test::write_pack(*repository_, {{.raw = next, .base = base, .depth = 1},
                                  {.raw = last, .base = next, .depth = 2}});
  reopen();
  testing::internal::CaptureStderr();
  EXPECT_EQ(structure(), "");
  EXPECT_EQ(everything(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "it rebuilt the index in vain";
}

TEST_F(Verify, CountsASecondGoodCopyAsNoLossButNamesTheBadRecord) {
  const auto [file, record] = place_of(chunk_of(first_.at("a/medium")));
  test::write_pack(*repository_, {{.raw = first_.at("a/medium")}});
  test::flip_bit(file, static_cast<std::int64_t>(record.offset + kSealedHeadBytes));
  reopen();
  const VerifyReport report = run_verify(*repository_, 100);
  EXPECT_EQ(joined(report.damage), "");
  EXPECT_TRUE(has(joined(report.spare_damage), record.id.hex())) << joined(report.spare_damage);
}

TEST_F(Verify, FollowsDeltasAndLosesThemWithTheirBase) {
  const Bytes base = test::noise(50'000, 77);
  Bytes next = base;
  next[100] ^= 1;
  Bytes third = next;
  third[200] ^= 1;
  const PackId plain = test::write_pack(*repository_, {{.raw = base}});
  test::write_pack(*repository_, {{.raw = third, .base = next, .depth = 2},
                                  {.raw = next, .base = base, .depth = 1}});
  const Snapshot three = value_of(
      test::back_up(*repository_, {{"x", third}}, {.instant = two_.instant + 7200 * kSecond}));
  EXPECT_EQ(everything(), "");
  const Record record = value_of(repository_->chunks().pack(plain))->records()[0];
  test::flip_bit(pack_path(repository_->path(), plain),
                 static_cast<std::int64_t>(record.offset + kSealedHeadBytes));
  reopen();
  EXPECT_EQ(structure(), "");
  const std::string damage = everything();
  EXPECT_TRUE(has(damage, three.id.hex())) << damage;
  EXPECT_TRUE(has(damage, "/data/x: bytes 0 to 49999 are lost")) << damage;
}

TEST_F(Verify, FindsARecordWhoseBytesAreNotWhatItsIdNames) {
  // Sealed by a writer with the right keys and a fault in its memory.
  const Bytes content = test::noise(500, 1);
  auto writer = value_of(PackWriter::create(system_files(), repository_->keys(),
                                            repository_->path(), ChunkKind::data));
  Record record{.id = chunk_of(test::noise(500, 2)), .volume_tag = 1};
  record.raw_size = record.stored_size = 500;
  writer->reserve(record);
  value_of(writer->write(record, content));
  value_of(writer->finish());
  EXPECT_EQ(structure(), "");
  EXPECT_TRUE(has(everything(), "decodes to other bytes than its id names"));
}

TEST_F(Verify, FindsTreesThatContradictThemselves) {
  const auto session = value_of(Session::begin(*repository_, Compression::off));
  TreeWriter writer(repository_->keys(), *session);
  Compressor compressor(Compression::off);
  const ChunkId chunk = value_of(session->put_data(test::noise(500, 1), 1, compressor));
  Entry beyond{.name = "beyond", .size = 600, .content = Entry::Content::extents};
  beyond.extents = {{.length = 600, .offset = 0, .chunk = chunk}};
  Entry hollow{.name = "hollow", .size = 5};
  Entry below{.name = "below", .type = FileType::directory};
  value_of(writer.add_directory(below, {}));
  below.entries = 3;
  Entry large{.name = "large"};
  value_of(writer.add_extents(large,
                              std::vector<Extent>(10, {.length = 500, .offset = 0, .chunk = chunk}),
                              nullptr, nullptr));
  large.size = 4999;
  Entry root{.type = FileType::directory};
  value_of(writer.add_directory(root, std::vector<Entry>{below, beyond, hollow, large}));
  Entry* const roots[] = {&root};
  value_of(writer.finish(roots));
  ClaimedSource source = value_of(session->claim(SourceKind::folder, "h", "h", "bad"));
  Snapshot snapshot;
  snapshot.name = "bad";
  snapshot.host_id = "h";
  snapshot.volumes.push_back({.root = root});
  value_of(session->commit(source, snapshot));
  const std::string damage = structure();
  EXPECT_TRUE(has(damage, "/below: holds 0 names where 3 are stated")) << damage;
  EXPECT_TRUE(has(damage, "/beyond: bytes 0 to 599 are lost")) << damage;
  EXPECT_TRUE(has(damage, "/hollow: 5 bytes without content")) << damage;
  EXPECT_TRUE(has(damage, "/large: extents add up to 5000 bytes where 4999 are stated")) << damage;
}

TEST_F(Verify, ReadsAShareOfThePacks) {
  const VerifyReport all = run_verify(*repository_, 100);
  const VerifyReport half = run_verify(*repository_, 50);
  const VerifyReport little = run_verify(*repository_, 0.001);
  EXPECT_LT(half.records_read, all.records_read);
  EXPECT_GT(half.records_read, 0u);
  EXPECT_GT(little.records_read, 0u);
  EXPECT_LE(little.records_read, half.records_read + 10);
}

TEST_F(Verify, WalksTreesOfAnyDepth) {
  const auto session = value_of(Session::begin(*repository_, Compression::fastest));
  TreeWriter writer(repository_->keys(), *session);
  Entry below{.name = "d", .type = FileType::directory};
  value_of(writer.add_directory(below, {}));
  for (int i = 0; i < 20'000; ++i) {
    Entry above{.name = "d", .type = FileType::directory};
    value_of(writer.add_directory(above, {&below, 1}));
    below = above;
  }
  below.name.clear();
  Entry* const roots[] = {&below};
  value_of(writer.finish(roots));
  ClaimedSource source = value_of(session->claim(SourceKind::folder, "h", "h", "deepest"));
  Snapshot snapshot;
  snapshot.name = "deepest";
  snapshot.host_id = "h";
  snapshot.volumes.push_back({.root = below});
  value_of(session->commit(source, snapshot));
  EXPECT_EQ(structure(), "");
}

TEST_F(Verify, StopsWhenCancelled) {
  const std::atomic<bool> cancel{true};
  EXPECT_CODE(Code::cancelled, verify(*repository_, {}, {}, cancel));
  EXPECT_CODE(Code::cancelled, verify(*repository_, {.read_data_percent = 100}, {}, cancel));
}

TEST_F(Verify, TellsHowFarItIs) {
  const std::atomic<bool> cancel{false};
  std::set<std::string> phases;
  value_of(verify(
      *repository_, {.read_data_percent = 100},
      [&](const VerifyProgress& progress) {
        EXPECT_LT(progress.done, progress.total);
        phases.insert(progress.phase);
      },
      cancel));
  EXPECT_EQ(phases, (std::set<std::string>{"data", "packs", "snapshots"}));
}

// A backup commits while packs are being listed: its chunks are no damage.
TEST_F(Verify, RunsBesideABackup) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (std::uint64_t i = 0; !stop.load() && i < 100; ++i) {
      EXPECT_OK(test::back_up(*repository_, {{"x", test::noise(1000, i)}}, {.source = "other"}));
    }
  });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(everything(), "");
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace bygone::store
