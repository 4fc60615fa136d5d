// SPDX-License-Identifier: Apache-2.0
#include "ingest/fingerprints.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "store/format.h"
#include "tests/support/memory_tree.h"

namespace bygone::ingest {
namespace {

constexpr std::uint64_t kPrintBlock = kFingerprintBlock;

store::Entry file_entry(std::uint64_t inode, std::uint64_t size) {
  store::Entry entry;
  entry.type = store::FileType::regular;
  entry.inode = inode;
  entry.size = size;
  return entry;
}

TEST(Fingerprints, OfHolesTakeNoRoom) {
  Fingerprints prints;
  for (std::uint64_t inode = 1; inode <= 20; ++inode) {
    Fingerprinter printer(prints);
    printer.zeros(1000ULL << 30U);
    prints.put(0, file_entry(inode, 1000ULL << 30U), printer.finish());
  }
  EXPECT_LT(prints.memory(), 20U << 10U);
  const store::Entry entry = file_entry(7, 1000ULL << 30U);
  const auto found = prints.find(0, entry, entry);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->blocks(), (1000ULL << 30U) / kPrintBlock);
  EXPECT_TRUE(found->has(12345, prints.zeros()));
  EXPECT_FALSE(found->has(found->blocks(), prints.zeros()));
}

// Data and holes of all lengths, in pieces of all lengths, against the blocks one by one.
TEST(Fingerprints, AreThoseOfTheBlocksWhereverTheHolesLie) {
  const std::vector<std::pair<std::uint64_t, bool>> pieces{
      {3 * kPrintBlock, true},      {10 * kPrintBlock, false}, {100, true},
      {5 * kPrintBlock, false},     {kPrintBlock / 2, true},   {2 * kPrintBlock, false},
      {kPrintBlock, true},          {7 * kPrintBlock, false},  {1, false},
      {9 * kPrintBlock, false},     {kPrintBlock - 1, true},   {kPrintBlock, false},
      {kPrintBlock, false},         {6 * kPrintBlock, false},  {kPrintBlock, true},
      {4 * kPrintBlock + 50, false}};
  Fingerprints prints;
  Fingerprinter printer(prints);
  Bytes all;
  std::uint64_t seed = 0;
  for (const auto& [length, is_data] : pieces) {
    const Bytes bytes = is_data ? test::noise(length, ++seed) : Bytes(length);
    all.insert(all.end(), bytes.begin(), bytes.end());
    if (is_data) {
      printer.data(bytes);
    } else {
      printer.zeros(length);
    }
  }
  const FileFingerprints file = printer.finish();
  ASSERT_TRUE(file.is_complete());
  EXPECT_EQ(file.size(), all.size());
  const std::uint64_t blocks = (all.size() + kPrintBlock - 1) / kPrintBlock;
  ASSERT_EQ(file.blocks(), blocks);
  std::uint64_t in_runs = 0;
  for (std::uint64_t block = 0; block < blocks; ++block) {
    const std::uint64_t begin = block * kPrintBlock;
    const ByteView bytes = ByteView(all).subspan(begin, std::min(kPrintBlock, all.size() - begin));
    EXPECT_TRUE(file.has(block, fingerprint(bytes, prints.seed()))) << block;
    EXPECT_FALSE(file.has(block, {.low = 1, .high = 1})) << block;
    const std::uint64_t end = file.zeros_until(block);
    ASSERT_GE(end, block);
    ASSERT_LE(end, blocks);
    if (end == block) continue;
    ++in_runs;
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0; }));
  }
  EXPECT_GT(in_runs, 20U);
  EXPECT_FALSE(file.has(blocks, prints.zeros()));
}

TEST(Fingerprints, StayWithinTheirRoom) {
  constexpr std::uint64_t kRoom = 64u << 10;
  Fingerprints prints(kRoom);
  const Bytes block = test::noise(kPrintBlock, 1);
  const auto put = [&](std::uint64_t inode, int blocks) {
    Fingerprinter printer(prints);
    for (int i = 0; i < blocks; ++i) printer.data(block);
    EXPECT_LE(prints.memory(), kRoom);
    const store::Entry entry = file_entry(inode, static_cast<std::uint64_t>(blocks) * block.size());
    prints.put(0, entry, printer.finish());
    EXPECT_LE(prints.memory(), kRoom);
    return entry;
  };
  // How many blocks.
  const auto known = [&](const store::Entry& entry) {
    const auto found = prints.find(0, entry, entry);
    return found == nullptr ? 0 : found->blocks();
  };
  const store::Entry fits = put(1, 2000);
  const store::Entry too_large = put(2, 4000);
  EXPECT_EQ(known(fits), 2000U);
  EXPECT_GT(known(too_large), 1000U);
  EXPECT_LT(known(too_large), 2000U);
  put(2, 10);  // read twice: nobody knows which reading counts
  EXPECT_EQ(known(too_large), 0U);
  EXPECT_EQ(known(put(3, 500)), 500U);  // its room is free again
  put(1, 2000);
  EXPECT_EQ(known(fits), 0U);
  EXPECT_EQ(known(put(4, 2000)), 2000U);
}

// What lies behind the last one that there was room for must not pass for unchanged, least of all
// zeros, of which a run has a place and no fingerprints.
TEST(Fingerprints, OfAFileThatIsTooLargeAreThoseOfItsBeginning) {
  Fingerprints prints(64u << 10);
  Fingerprinter printer(prints);
  const Bytes block = test::noise(kPrintBlock, 1);
  const Fingerprint print = fingerprint(block, prints.seed());
  for (int i = 0; i < 4000; ++i) printer.data(block);
  printer.zeros(20 * kPrintBlock);
  printer.data(block);
  const store::Entry entry = file_entry(1, 4021 * kPrintBlock);
  prints.put(0, entry, printer.finish());
  const auto found = prints.find(0, entry, entry);
  ASSERT_NE(found, nullptr);
  EXPECT_FALSE(found->is_complete());
  EXPECT_EQ(found->size(), 4021 * kPrintBlock);
  const std::uint64_t known = found->blocks();
  EXPECT_GT(known, 3000U);
  EXPECT_LT(known, 4000U);
  for (std::uint64_t at = 0; at < 4021; ++at) {
    ASSERT_EQ(found->has(at, print), at < known) << at;
    ASSERT_FALSE(found->has(at, prints.zeros())) << at;
    ASSERT_EQ(found->zeros_until(at), at);
  }
}

TEST(Fingerprints, HaveAShareOfTheMemory) {
  constexpr std::uint64_t kGiB = 1ULL << 30U;
  EXPECT_EQ(Fingerprints::memory_for(kGiB, 1), Fingerprints::kLeastMemory);
  EXPECT_EQ(Fingerprints::memory_for(16 * kGiB, 1), kGiB / 2);
  EXPECT_EQ(Fingerprints::memory_for(16 * kGiB, 2), kGiB / 4);
  EXPECT_EQ(Fingerprints::memory_for(16 * kGiB, 100), Fingerprints::kLeastMemory);
  EXPECT_EQ(Fingerprints::memory_for(UINT64_MAX, 1), Fingerprints::kMostMemory);
}

// A reading that was not kept must not make a second one pass for the only one.
TEST(Fingerprints, OfManyFilesThatAreReadTwiceAreNobodys) {
  Fingerprints prints(64u << 10);
  const Bytes content = test::noise(1000, 1);
  const auto put = [&](std::uint64_t inode) {
    Fingerprinter printer(prints);
    printer.data(content);
    prints.put(0, file_entry(inode, content.size()), printer.finish());
  };
  constexpr std::uint64_t kFiles = 2000;
  for (std::uint64_t inode = 1; inode <= kFiles; ++inode) put(inode);
  EXPECT_LE(prints.memory(), 64u << 10);
  std::uint64_t known = 0;
  for (std::uint64_t inode = 1; inode <= kFiles; ++inode) {
    const store::Entry entry = file_entry(inode, content.size());
    if (prints.find(0, entry, entry) != nullptr) ++known;
    put(inode);
    EXPECT_EQ(prints.find(0, entry, entry), nullptr) << inode;
  }
  EXPECT_GT(known, 50U);
  EXPECT_LT(known, kFiles);
  // Small ones leave room for a large one.
  Fingerprinter printer(prints);
  printer.data(test::noise(std::size_t{100} * kPrintBlock, 2));
  const store::Entry large = file_entry(kFiles + 1, 100 * kPrintBlock);
  prints.put(0, large, printer.finish());
  EXPECT_NE(prints.find(0, large, large), nullptr);
}

}  // namespace
}  // namespace bygone::ingest
