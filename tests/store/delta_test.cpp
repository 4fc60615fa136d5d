// SPDX-License-Identifier: Apache-2.0
#include "store/delta.h"

#include <map>

#include <gtest/gtest.h>

#include "tests/support/expect.h"

namespace bygone::store {
namespace {

using test::value_of;

constexpr std::uint64_t kTag = 7;

ChunkId name(std::uint8_t n) {
  ChunkId id;
  id.bytes[0] = n;
  return id;
}

Record plain(std::uint8_t id, std::uint32_t stored) {
  return {.id = name(id), .volume_tag = kTag, .raw_size = 100'000, .stored_size = stored};
}

Record delta(std::uint8_t id, const Record& base, std::uint16_t n, std::uint32_t stored) {
  Record record = plain(id, stored);
  record.base = base.id;
  record.depth = static_cast<std::uint8_t>(base.depth + 1);
  record.n = n;
  return record;
}

const Record kPlain = plain(1, 20'000);
const Record kMiddle = delta(2, kPlain, 3, 900);
const Record kDelta = delta(3, kMiddle, 4, 300);

TEST(PlanDeltas, FollowsTheRulesOfTheFormat) {
  Record deeper = delta(4, kDelta, 1, 100);
  Record foreign_plain = kPlain;
  foreign_plain.volume_tag = kTag + 1;
  Record foreign_middle = kMiddle;
  foreign_middle.volume_tag = kTag + 1;
  Record last_n = kDelta;
  last_n.n = 65535;
  const Record small_middle = delta(2, kPlain, 1, 40'000);
  struct Case {
    const char* name;
    std::vector<Record> chain;
    std::vector<DeltaPlan> plans;
  };
  const Case cases[] = {
      {"no predecessor that counts", {}, {}},
      {"on a plain one a middle", {kPlain}, {{0, 1, 1, 10'000}}},
      {"on a middle its first delta", {kMiddle, kPlain}, {{0, 2, 1, 10'000}}},
      {"beside a delta the next on the same middle, or a new middle",
       {kDelta, kMiddle, kPlain},
       {{1, 2, 5, 2 * 900 / 5}, {2, 1, 4, 10'000}}},
      {"half of the plain one limits the next delta too",
       {delta(3, small_middle, 1, 300), small_middle, kPlain},
       {{1, 2, 2, 10'000}, {2, 1, 2, 10'000}}},
      {"n stays in its field",
       {last_n, kMiddle, kPlain},
       {{1, 2, 65535, 2 * 900 / 65535}, {2, 1, 4, 10'000}}},
      {"deeper than two", {deeper, kDelta, kMiddle, kPlain}, {}},
      {"a chain without a plain end", {kDelta, kMiddle}, {}},
      {"a predecessor of another volume", {foreign_plain}, {}},
      {"a plain end of another volume", {kMiddle, foreign_plain}, {}},
      {"a middle of another volume", {kDelta, foreign_middle, kPlain}, {}},
  };
  for (const Case& c : cases) EXPECT_EQ(plan_deltas(name(9), kTag, c.chain), c.plans) << c.name;
}

// research/design.md, trap 1: the file returns to a chunk that stands in a condemned pack.
TEST(PlanDeltas, NeverPutsAChunkOnItself) {
  for (const ChunkId& id : {name(1), name(2), name(3)}) {
    EXPECT_TRUE(plan_deltas(id, kTag, {kDelta, kMiddle, kPlain}).empty()) << id.hex();
  }
  EXPECT_TRUE(plan_deltas(name(1), kTag, {kPlain}).empty());
}

TEST(FollowChain, EndsAtThePlainRecordOrInNothing) {
  std::map<ChunkId, Record> records;
  for (const Record& record : {kPlain, kMiddle, kDelta}) records[record.id] = record;
  const auto find = [&](const ChunkId& id) -> Result<std::optional<Link>> {
    const auto found = records.find(id);
    if (found == records.end()) return std::optional<Link>();
    return std::optional<Link>({.record = found->second});
  };
  const auto length = [&](std::uint8_t id) {
    return value_of(follow_chain(name(id), find)).size();
  };
  EXPECT_EQ(length(1), 1u);
  EXPECT_EQ(length(3), 3u);
  EXPECT_EQ(length(9), 0u);
  // A circle, and a base that is gone.
  records[name(4)] = delta(4, plain(5, 1), 1, 1);
  records[name(5)] = delta(5, plain(4, 1), 1, 1);
  EXPECT_EQ(length(4), 0u);
  records.erase(kPlain.id);
  EXPECT_EQ(length(3), 0u);
  // As deep as readers go, and one deeper.
  records[name(10)] = plain(10, 1);
  for (std::uint8_t i = 11; i < 19; ++i) records[name(i)] = delta(i, records[name(i - 1)], 1, 1);
  EXPECT_EQ(length(17), 8u);
  EXPECT_EQ(length(18), 0u);
}

TEST(FollowChain, HandsErrorsOn) {
  const auto fails = [](const ChunkId&) -> Result<std::optional<Link>> {
    return Error{Code::io, 5, "reading"};
  };
  EXPECT_CODE(Code::io, follow_chain(name(1), fails));
}

TEST(DeltaTrials, PauseTwiceAsLongAfterEachFailureUpToTheLimit) {
  DeltaTrials trials(10);
  const auto untried = [&] {
    unsigned n = 0;
    while (!trials.next()) ++n;
    return n;
  };
  for (const unsigned expected : {0u, 1u, 3u, 7u, 10u, 10u}) {
    EXPECT_EQ(untried(), expected);
    trials.note(false);
  }
  EXPECT_EQ(untried(), 10u);
  trials.note(true);
  EXPECT_EQ(untried(), 0u);
}

TEST(DeltaTrials, AskTheWiderOnesUntilTheyKnowForThemselves) {
  auto volume = std::make_shared<DeltaTrials>(3);
  DeltaTrials first(10, volume);
  EXPECT_TRUE(first.next());
  first.note(false);
  DeltaTrials second(10, volume);
  EXPECT_FALSE(second.next());
  EXPECT_TRUE(second.next());
  second.note(true);
  EXPECT_TRUE(second.next());
  // A success anywhere is one for the volume; a failure only where it was the first word.
  second.note(false);
  DeltaTrials third(10, volume);
  EXPECT_TRUE(third.next());
}

}  // namespace
}  // namespace bygone::store
