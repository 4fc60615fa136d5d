// SPDX-License-Identifier: Apache-2.0
//
// The traps of deltas, as garbage collection sees them.
#include <filesystem>

#include "store/condemned.h"
#include "store/damage_marks.h"
#include "tests/store/prune_fixture.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"

namespace bygone::store {
namespace {

class PruneDeltas : public PruneTest {
 protected:
  const Bytes plain_ = test::noise(90'000, 20);
  Bytes changed(std::size_t at) const {
    Bytes next = plain_;
    next[at] ^= 0xff;
    return next;
  }
  Snapshot snapshot_of(const Bytes& bytes, const std::string& source = "db") {
    return back_up({{"f", bytes}}, source);
  }
};

// Trap 1: what is condemned and stored again stands twice; the copy that stays is the base.
TEST_F(PruneDeltas, ABaseThatWasCondemnedAndStoredAgainIsKeptOnce) {
  const PackId old = test::write_pack(*repository_, {{.raw = plain_}});
  value_of(write_condemned(system_files(), repository_->keys(), path_, {1, {old}}));
  const Snapshot again = snapshot_of(plain_);  // stores it once more
  test::write_pack(*repository_, {{.raw = changed(5), .base = plain_, .depth = 1}});
  const Snapshot delta = snapshot_of(changed(5), "app");
  EXPECT_LT(delta.added_bytes, 10'000u);
  forget(again);
  const PruneReport report = value_of(prune());
  EXPECT_FALSE(packs().contains(old));
  EXPECT_EQ(report.taken_back, 0u);
  expect_whole({{delta, {{"f", changed(5)}}}});
}

// The same when nobody stored it again: the delta's base is all that keeps the condemned pack.
TEST_F(PruneDeltas, ACondemnedPackWithTheOnlyBaseOfALiveDeltaStays) {
  const PackId old = test::write_pack(*repository_, {{.raw = plain_}});
  test::write_pack(*repository_, {{.raw = changed(5), .base = plain_, .depth = 1}});
  const Snapshot delta = snapshot_of(changed(5));
  value_of(write_condemned(system_files(), repository_->keys(), path_, {1, {old}}));
  EXPECT_EQ(value_of(prune({.max_dead_percent = 100})).taken_back, 1u);
  expect_whole({{delta, {{"f", changed(5)}}}});
}

// Trap 2: two sessions stored two chunks crosswise, each as a delta on the other. Keeping the two
// small records would make a cycle.
TEST_F(PruneDeltas, OfACycleOfSmallRecordsThePlainOnesAreKept) {
  const Bytes x = plain_;
  const Bytes y = changed(7);
  test::write_pack(*repository_, {{.raw = y}, {.raw = x, .base = y, .depth = 1}});
  test::write_pack(*repository_, {{.raw = x}, {.raw = y, .base = x, .depth = 1}});
  const Snapshot both = back_up({{"x", x}, {"y", y}});
  value_of(prune());
  std::size_t records = 0;
  for (const PackId& id : packs()) {
    const auto pack = value_of(repository_->chunks().pack(id));
    if (pack->kind() != ChunkKind::data) continue;
    for (const Record& record : pack->records()) {
      EXPECT_FALSE(record.base.has_value());
      ++records;
    }
  }
  EXPECT_EQ(records, 2u);
  expect_whole({{both, {{"x", x}, {"y", y}}}});
}

TEST_F(PruneDeltas, ACycleWithoutAPlainRecordIsNoCopy) {
  const Bytes x = plain_;
  const Bytes y = changed(7);
  const Snapshot both = back_up({{"x", x}, {"y", y}});
  const auto whole = packs();
  test::write_pack(*repository_, {{.raw = x, .base = y, .depth = 1}});
  test::write_pack(*repository_, {{.raw = y, .base = x, .depth = 1}});
  for (const PackId& id : whole) {
    const auto pack = value_of(repository_->chunks().pack(id));
    if (pack->kind() == ChunkKind::data) filesystem::remove(pack_path(path_, id));
  }
  repository_ = test::reopen(path_);
  EXPECT_CODE(Code::corrupt, prune());
}

// Trap 3: a delta whose base never reached the disk is no copy, and goes as an orphan.
TEST_F(PruneDeltas, ADeltaWithoutItsBaseKeepsNothingAlive) {
  const PackId lost =
      test::write_pack(*repository_, {{.raw = changed(5), .base = plain_, .depth = 1}});
  const Snapshot one = snapshot_of(changed(5));
  EXPECT_GT(one.added_bytes, 90'000u);
  value_of(prune());
  EXPECT_FALSE(packs().contains(lost));
  expect_whole({{one, {{"f", changed(5)}}}});
}

TEST_F(PruneDeltas, BasesLiveAsLongAsADeltaNeedsThem) {
  const Bytes middle = changed(5);
  Bytes top = middle;
  top[80'000] ^= 1;
  const Snapshot first = snapshot_of(plain_);
  test::write_pack(*repository_, {{.raw = middle, .base = plain_, .depth = 1}});
  test::write_pack(*repository_, {{.raw = top, .base = middle, .depth = 2}});
  const Snapshot last = snapshot_of(top, "app");
  forget(first);
  value_of(prune());
  expect_whole({{last, {{"f", top}}}});
  const auto survey = value_of(Survey::make(*repository_, {}, {}, {}, kGoOn));
  RecordBytes bytes;
  for (const PackUse& use : value_of(survey->measure())) bytes += use.bytes;
  EXPECT_GT(bytes.bases, 90'000u);
  EXPECT_EQ(bytes.dead, 0u);
  forget(last);
  value_of(prune());
  EXPECT_TRUE(packs().empty());
}

// A pack was condemned when nothing needed the chunk that it holds; then a session of before found
// it there. That another pack holds it, too, is no reason to let go of the copy that reads.
TEST_F(PruneDeltas, ACondemnedCopyIsNotLeftForADamagedOne) {
  for (const bool is_marked : {true, false}) {
    SCOPED_TRACE(is_marked);
    const Bytes chunk = test::noise(90'000, is_marked ? 30 : 31);
    const ChunkId id = repository_->keys().chunk_id(ChunkKind::data, chunk);
    const Bytes other = test::noise(90'000, is_marked ? 32 : 33);
    const PackId damaged = test::write_pack(*repository_, {{.raw = other}, {.raw = chunk}});
    const auto record = value_of(repository_->chunks().pack(damaged))->records().at(1);
    test::flip_bit(pack_path(path_, damaged), static_cast<std::int64_t>(record.offset + 300));
    const Snapshot keeps_it = snapshot_of(other, is_marked ? "one" : "two");
    ASSERT_LT(keeps_it.added_bytes, 10'000u);
    if (is_marked) value_of(mark_damage(*repository_, {{id, damaged}}, {}, 1));
    const PackId whole = test::write_pack(*repository_, {{.raw = chunk}});
    const Snapshot late = snapshot_of(chunk, is_marked ? "late" : "later");
    ASSERT_LT(late.added_bytes, 10'000u);
    const std::uint64_t next = lists().empty() ? 1 : lists().back() + 1;
    value_of(write_condemned(system_files(), repository_->keys(), path_, {next, {whole}}));
    repository_ = test::reopen(path_);
    if (!is_marked) {
      EXPECT_CODE(Code::corrupt, prune());
      ASSERT_TRUE(packs().contains(whole)) << "nobody knows of the damage until it is read";
      EXPECT_TRUE(
          value_of(verify(*repository_, {.read_data_percent = 100}, {}, kGoOn)).damage.empty());
    }
    EXPECT_EQ(value_of(prune()).taken_back, 1u);
    expect_whole({{late, {{"f", chunk}}}, {keeps_it, {{"f", other}}}});
  }
}

// Of equal records one goes: the other one must be sound, and not only say so in a footer.
TEST_F(PruneDeltas, RefusesToDropACopyOfARecordThatDoesNotDecode) {
  const Snapshot one = snapshot_of(plain_);
  const PackId copy = test::write_pack(*repository_, {{.raw = plain_}});
  for (const PackId& id : packs()) {
    const auto pack = value_of(repository_->chunks().pack(id));
    if (pack->kind() != ChunkKind::data || id == copy) continue;
    for (const Record& record : pack->records()) {
      if (record.raw_size == plain_.size()) {
        test::flip_bit(pack_path(path_, id), static_cast<std::int64_t>(record.offset + 300));
      }
    }
  }
  repository_ = test::reopen(path_);
  const auto pruned = prune();
  if (pruned) {
    // The sound copy was the one to stay.
    EXPECT_TRUE(value_of(test::read_back(*repository_, one)) == (MemoryTree{{"f", plain_}}));
  } else {
    EXPECT_EQ(pruned.error().code, Code::corrupt);
    EXPECT_TRUE(packs().contains(copy));
  }
}

}  // namespace
}  // namespace bygone::store
