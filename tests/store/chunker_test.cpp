// SPDX-License-Identifier: Apache-2.0
#include "store/chunker.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "store/format.h"
#include "tests/support/memory_tree.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

using Table = std::array<std::uint64_t, 256>;

const Table& table() {
  static const Table fixed = [] {
    Table t{};
    const Bytes words = test::noise(sizeof t, 42);
    std::memcpy(t.data(), words.data(), sizeof t);
    return t;
  }();
  return fixed;
}

// Where the chunks of `data` end, which begins at byte `from` of a file.
std::vector<std::size_t> cuts(ByteView data, std::uint64_t from) {
  std::vector<std::size_t> out;
  std::size_t at = 0;
  while (at < data.size()) {
    at += next_cut(table(), data.subspan(at), from + at);
    out.push_back(at);
  }
  return out;
}

TEST(Chunker, CutsWhereTheGoldenCutsAre) {
  // FORMAT.md section 5.2. Whoever cuts elsewhere stores everything once more.
  const std::vector<std::size_t> golden = {
      441462,  563675,  1000386, 1274968, 1679653, 1814128, 2224295, 2395264, 2762922, 3107250,
      3335087, 3654898, 3914154, 4188691, 4480870, 5278751, 5903254, 6769467, 7673496, 8388608};
  EXPECT_EQ(cuts(test::noise(8u << 20, 7), 0), golden);
}

TEST(Chunker, KeepsToItsBoundsAndMeetsTheNormalSizeOnAverage) {
  const Bytes data = test::noise(64u << 20, 1);
  std::map<bool, std::vector<std::size_t>> sizes;  // by whether the chunk is coarse
  std::size_t last = 0;
  for (const std::size_t cut : cuts(data, 0)) {
    if (cut < data.size()) sizes[last >= kCoarseFrom].push_back(cut - last);
    last = cut;
  }
  for (const auto& [coarse, all] : sizes) {
    for (const std::size_t size : all) {
      EXPECT_LE(size, kMaxChunk);
      EXPECT_GT(size, coarse ? kMinCoarseChunk : kMinChunk);
    }
    const std::size_t average =
        std::accumulate(all.begin(), all.end(), std::size_t{0}) / all.size();
    EXPECT_GT(average, coarse ? 740'000u : 180'000u);
    EXPECT_LT(average, coarse ? 870'000u : 400'000u);
  }
  // A chunk of the largest size ends where nothing shows it.
  EXPECT_LE(std::count(sizes[true].begin(), sizes[true].end(), kMaxChunk), 5);
}

TEST(Chunker, TakesShortContentWholeAndConstantContentAtTheLimit) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{100}, kMinChunk - 1, kMinChunk}) {
    EXPECT_EQ(next_cut(table(), test::noise(size, size), 0), size);
  }
  EXPECT_EQ(next_cut(table(), test::noise(kMinCoarseChunk, 1), kCoarseFrom), kMinCoarseChunk);
  const Bytes zeros(4u << 20);
  EXPECT_EQ(next_cut(table(), zeros, 0), kMaxChunk);
  EXPECT_EQ(next_cut(table(), zeros, kCoarseFrom), kMaxChunk);
}

TEST(Chunker, DependsOnThePlaceOnlyByTheSideOfTheThreshold) {
  const Bytes data = test::noise(1u << 20, 4);
  const std::size_t fine = next_cut(table(), data, 0);
  const std::size_t coarse = next_cut(table(), data, kCoarseFrom);
  EXPECT_LT(fine, coarse);
  EXPECT_EQ(next_cut(table(), data, kCoarseFrom - 1), fine);
  EXPECT_EQ(next_cut(table(), data, std::uint64_t{1} << 50), coarse);
}

TEST(Chunker, KnowsTheEndsThatItChose) {
  const Bytes data = test::noise(32u << 20, 6);
  std::size_t last = 0, known = 0, all = 0;
  for (const std::size_t cut : cuts(data, 0)) {
    if (cut - std::exchange(last, cut) == kMaxChunk || cut == data.size()) continue;
    ++all;
    if (ends_like_chunk(table(), ByteView(data).first(cut))) ++known;
  }
  EXPECT_GT(all, 40u);
  EXPECT_EQ(known, all);
}

TEST(Chunker, DependsOnlyOnTheBytesSinceTheStartOfTheChunk) {
  const Bytes data = test::noise(4u << 20, 3);
  const std::size_t first = next_cut(table(), data, 0);
  // What follows the cut, and how far the buffer reaches, changes nothing.
  Bytes other = data;
  for (std::size_t i = first; i < other.size(); ++i) other[i] ^= 0x5a;
  EXPECT_EQ(next_cut(table(), other, 0), first);
  EXPECT_EQ(next_cut(table(), ByteView(data).first(kMaxChunk), 0), first);
}

TEST(Chunker, FindsItsCutsAgainAfterAnInsertion) {
  for (std::uint64_t seed = 10; seed < (test::kSanitized ? 12u : 20u); ++seed) {
    SCOPED_TRACE(seed);
    const std::uint64_t from = seed % 2 * kCoarseFrom;
    const Bytes data = test::noise(16u << 20, seed);
    Bytes changed = data;
    const Bytes inserted = test::noise(1 + seed * 37, seed + 100);
    const std::size_t at = (3u << 20) + seed * 1000;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(at), inserted.begin(),
                   inserted.end());
    std::set<std::size_t> before;
    for (const std::size_t cut : cuts(data, from)) before.insert(cut);
    std::size_t same = 0;
    std::size_t total = 0;
    for (const std::size_t cut : cuts(changed, from)) {
      if (cut <= at + inserted.size()) continue;
      ++total;
      same += before.count(cut - inserted.size());
    }
    // Behind the insertion all but the first few chunks are the old ones.
    EXPECT_GE(same + 8, total);
    EXPECT_GT(same, total / 2);
  }
}

TEST(Chunker, CutsElsewhereUnderAnotherTable) {
  Table other = table();
  for (std::uint64_t& word : other) word = word * 0x9e3779b97f4a7c15 + 1;
  const Bytes data = test::noise(2u << 20, 5);
  EXPECT_NE(next_cut(table(), data, 0), next_cut(other, data, 0));
}

}  // namespace
}  // namespace bygone::store
