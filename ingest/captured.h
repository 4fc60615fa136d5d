// SPDX-License-Identifier: Apache-2.0
//
// What a frozen file differs in from the version of the hot pass, in blocks of kFingerprintBlock:
// a database that was written all over has many, so that each takes little. Filled from the file's
// beginning to its end. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "ingest/segments.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Captured {
  // Blocks that are a hole, or reserved, and were not all zeros before.
  struct Gap {
    std::uint64_t begin = 0, end = 0;
    Segment::Kind kind = Segment::Kind::hole;
  };

  std::uint64_t size = 0;
  bool has_base = false;  // FileWork::parent holds the hot pass's version of the same file

  // A block whose bytes stand in the spill. Ascending; the last one may come again.
  void add_block(std::uint64_t block, std::uint64_t ticket) {
    if (!blocks_.empty() && blocks_.back().first == block) blocks_.pop_back();
    CHECK(blocks_.empty() || blocks_.back().first < block);
    blocks_.emplace_back(block, ticket);
  }
  // Ascending.
  void add_gap(const Gap& gap) {
    CHECK(gap.begin < gap.end && (gaps_.empty() || gaps_.back().end <= gap.begin));
    if (!gaps_.empty() && gaps_.back().end == gap.begin && gaps_.back().kind == gap.kind) {
      gaps_.back().end = gap.end;
    } else {
      gaps_.push_back(gap);
    }
  }

  [[nodiscard]] bool is_as_before() const { return blocks_.empty() && gaps_.empty(); }
  [[nodiscard]] bool has_gaps() const { return !gaps_.empty(); }
  // The first block from `block` on that is in the spill, with its ticket; nullptr for none.
  [[nodiscard]] const std::pair<std::uint64_t, std::uint64_t>* block_from(
      std::uint64_t block) const {
    const auto found = std::lower_bound(blocks_.begin(), blocks_.end(), std::pair(block, 0UL));
    return found == blocks_.end() ? nullptr : &*found;
  }
  // The first gap that ends after `block`; nullptr for none.
  [[nodiscard]] const Gap* gap_from(std::uint64_t block) const {
    const auto found = std::upper_bound(gaps_.begin(), gaps_.end(), block,
                                        [](auto at, const Gap& gap) { return at < gap.end; });
    return found == gaps_.end() ? nullptr : &*found;
  }
  // Whether blocks from `first` to `last` are as the hot pass has them.
  [[nodiscard]] bool is_clean(std::uint64_t first, std::uint64_t last) const {
    const auto* block = block_from(first);
    if (block != nullptr && block->first <= last) return false;
    const Gap* gap = gap_from(first);
    return gap == nullptr || gap->begin > last;
  }

 private:
  std::vector<std::pair<std::uint64_t, std::uint64_t>> blocks_;
  std::vector<Gap> gaps_;
};

}  // namespace bygone::ingest
