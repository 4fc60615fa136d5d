// SPDX-License-Identifier: Apache-2.0
#include "store/index_filter.h"

#include <algorithm>
#include <cstring>

namespace bygone::store {
namespace {

constexpr std::uint64_t kBitsARow = 10;
constexpr std::uint64_t kBlockBits = 512;
constexpr unsigned kProbes = 6;
constexpr unsigned kProbeBits = 9;  // of a place in a block
constexpr std::uint32_t kFewestRows = 4096;
constexpr std::uint64_t kMostRows = 32'000'000;
// Lookups in vain that cost as much as reading so many rows.
constexpr std::uint32_t kRowsALookup = 64;

// Keys are 16 bytes of a keyed hash: the first half says where, the second which bits.
std::uint64_t half(const IndexRow::Key& key, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, key.data() + at, sizeof value);
  return value;
}

}  // namespace

RunFilter::RunFilter(std::uint64_t rows)
    : blocks_(static_cast<std::size_t>(rows * kBitsARow / kBlockBits + 1)) {}

std::size_t RunFilter::block_of(const IndexRow::Key& key) const {
  return static_cast<std::size_t>((half(key, 0) & 0xffffffff) * blocks_.size() >> 32);
}

void RunFilter::add(const IndexRow::Key& key) {
  Block& block = blocks_[block_of(key)];
  std::uint64_t bits = half(key, 8);
  for (unsigned i = 0; i < kProbes; ++i, bits >>= kProbeBits) {
    block.words[bits >> 6 & 7] |= std::uint64_t{1} << (bits & 63);
  }
}

bool RunFilter::may_hold(const IndexRow::Key& key) const {
  const Block& block = blocks_[block_of(key)];
  std::uint64_t bits = half(key, 8);
  for (unsigned i = 0; i < kProbes; ++i, bits >>= kProbeBits) {
    if ((block.words[bits >> 6 & 7] >> (bits & 63) & 1) == 0) return false;
  }
  return true;
}

std::shared_ptr<const RunFilters::Set> RunFilters::set() const {
  const std::lock_guard lock(mutex_);
  return set_;
}

bool RunFilters::missed(const IndexRun& run) {
  if (run.rows < kFewestRows) return false;
  const std::uint32_t misses = misses_[run.table].fetch_add(1, std::memory_order_relaxed);
  if (misses < run.rows / kRowsALookup || rows_.load() + run.rows > kMostRows) return false;
  return !making_.exchange(true);
}

void RunFilters::keep(const IndexRun& run, std::shared_ptr<const RunFilter> filter,
                      const std::vector<IndexRun>& runs) {
  auto now = std::make_shared<Set>();
  {
    const std::lock_guard lock(mutex_);
    for (const IndexRun& each : runs) {
      if ((*set_)[each.table].written == each.written) (*now)[each.table] = (*set_)[each.table];
    }
    (*now)[run.table] = {.written = run.written, .rows = run.rows, .filter = std::move(filter)};
    std::uint64_t rows = 0;
    for (const Kept& kept : *now) rows += kept.filter ? kept.rows : 0;
    rows_.store(rows);
    set_ = std::move(now);
  }
  misses_[run.table].store(0, std::memory_order_relaxed);
  making_.store(false);
}

std::optional<bool> may_hold(const RunFilters::Set& set, const IndexRun& run,
                             const IndexRow::Key& key) {
  const RunFilters::Kept& kept = set[run.table];
  if (!kept.filter || kept.written != run.written) return std::nullopt;
  return kept.filter->may_hold(key);
}

}  // namespace bygone::store
