// SPDX-License-Identifier: Apache-2.0
#include "store/chunker.h"

#include "store/format.h"

namespace bygone::store {
namespace {

// Two bits more than log2(kNormalChunk) before the normal size, two fewer after it; the same ones
// for coarse chunks, whose cuts are thereby cuts of fine ones too. High bits: in a Gear hash they
// depend on the last 64 bytes, the low ones on fewer.
constexpr std::uint64_t kStrictMask = ~std::uint64_t{0} << (64 - 20);
constexpr std::uint64_t kLooseMask = ~std::uint64_t{0} << (64 - 16);

}  // namespace

std::size_t next_cut(const std::array<std::uint64_t, 256>& table, ByteView data, std::uint64_t at) {
  const bool coarse = at >= kCoarseFrom;
  const std::size_t smallest = coarse ? kMinCoarseChunk : kMinChunk;
  if (data.size() <= smallest) return data.size();
  const std::size_t end = std::min(data.size(), kMaxChunk);
  const std::size_t normal = std::min(end, coarse ? kNormalCoarseChunk : kNormalChunk);
  std::uint64_t hash = 0;
  // The 64 bytes before the smallest cut are hashed too, so that the hash there is a full one.
  std::size_t i = smallest - 64;
  for (; i < smallest; ++i) hash = (hash << 1) + table[data[i]];
  for (; i < normal; ++i) {
    hash = (hash << 1) + table[data[i]];
    if ((hash & kStrictMask) == 0) return i + 1;
  }
  for (; i < end; ++i) {
    hash = (hash << 1) + table[data[i]];
    if ((hash & kLooseMask) == 0) return i + 1;
  }
  return end;
}

bool ends_like_chunk(const std::array<std::uint64_t, 256>& table, ByteView data) {
  if (data.size() < 64) return false;
  std::uint64_t hash = 0;
  for (const std::uint8_t byte : data.last(64)) hash = (hash << 1) + table[byte];
  return (hash & kLooseMask) == 0;  // the strict mask has its bits and more
}

}  // namespace bygone::store
