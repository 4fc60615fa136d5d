// SPDX-License-Identifier: Apache-2.0
#include "store/chunker.h"

#include <set>

#include <gtest/gtest.h>

#include "store/format.h"
#include "tests/support/memory_tree.h"

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

std::vector<std::size_t> cuts(ByteView data) {
  std::vector<std::size_t> out;
  std::size_t at = 0;
  while (at < data.size()) {
    at += next_cut(table(), data.subspan(at));
    out.push_back(at);
  }
  return out;
}

TEST(Chunker, CutsWhereTheGoldenCutsAre) {
  // Written by the first version; FORMAT.md section 5.2. Another cut is another format.
  const std::vector<std::size_t> golden = {
      441462,  563675,  1000386, 1274968, 1679653, 1814128, 2224295, 2395264, 2762922, 3107250,
      3335087, 3654898, 3914154, 4188691, 4480870, 4748670, 4972077, 5278751, 5565393, 5656137,
      5903254, 6145962, 6499795, 6769467, 7094432, 7407935, 7673496, 8007975, 8325887, 8388608};
  EXPECT_EQ(cuts(test::noise(8u << 20, 7)), golden);
}

TEST(Chunker, KeepsToItsBoundsAndMeetsTheNormalSizeOnAverage) {
  const Bytes data = test::noise(64u << 20, 1);
  std::size_t last = 0;
  const auto all = cuts(data);
  for (const std::size_t cut : all) {
    const std::size_t size = cut - last;
    EXPECT_LE(size, kMaxChunk);
    EXPECT_TRUE(cut == data.size() || size > kMinChunk) << size;
    last = cut;
  }
  const std::size_t average = data.size() / all.size();
  EXPECT_GT(average, 180u << 10);
  EXPECT_LT(average, 400u << 10);
}

TEST(Chunker, TakesShortContentWholeAndConstantContentAtTheLimit) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{100}, kMinChunk - 1, kMinChunk}) {
    EXPECT_EQ(next_cut(table(), test::noise(size, size)), size);
  }
  const Bytes zeros(4u << 20);
  EXPECT_EQ(next_cut(table(), zeros), kMaxChunk);
}

TEST(Chunker, DependsOnlyOnTheBytesSinceTheStartOfTheChunk) {
  const Bytes data = test::noise(4u << 20, 3);
  const std::size_t first = next_cut(table(), data);
  // What follows the cut, and how far the buffer reaches, changes nothing.
  Bytes other = data;
  for (std::size_t i = first; i < other.size(); ++i) other[i] ^= 0x5a;
  EXPECT_EQ(next_cut(table(), other), first);
  EXPECT_EQ(next_cut(table(), ByteView(data).first(kMaxChunk)), first);
}

TEST(Chunker, FindsItsCutsAgainAfterAnInsertion) {
  for (std::uint64_t seed = 10; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const Bytes data = test::noise(16u << 20, seed);
    Bytes changed = data;
    const Bytes inserted = test::noise(1 + seed * 37, seed + 100);
    const std::size_t at = (3u << 20) + seed * 1000;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(at), inserted.begin(),
                   inserted.end());
    std::set<std::size_t> before;
    for (const std::size_t cut : cuts(data)) before.insert(cut);
    std::size_t same = 0;
    std::size_t total = 0;
    for (const std::size_t cut : cuts(changed)) {
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
  EXPECT_NE(next_cut(table(), data), next_cut(other, data));
}

}  // namespace
}  // namespace bygone::store
