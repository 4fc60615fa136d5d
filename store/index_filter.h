// SPDX-License-Identifier: Apache-2.0
//
// What a run of the index surely does not hold, in memory: a lookup in each of a dozen runs costs
// a microsecond or two, nearly all of it in vain. A filter is made of a run that was asked in vain
// so often that reading it once was cheaper; processes that ask little have none. Ten bits a row,
// at most 40 MB. Never on disk, and never an answer: what may be there is looked up. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "store/index_runs.h"

namespace bygone::store {

// A Bloom filter in blocks of a cache line. Immutable once it is shared.
class RunFilter {
 public:
  explicit RunFilter(std::uint64_t rows);
  void add(const IndexRow::Key& key);
  // True for every key that was added, and for one other in a hundred or so.
  [[nodiscard]] bool may_hold(const IndexRow::Key& key) const;

 private:
  struct alignas(64) Block {
    std::array<std::uint64_t, 8> words{};
  };
  [[nodiscard]] std::size_t block_of(const IndexRow::Key& key) const;
  std::vector<Block> blocks_;
};

class RunFilters {
 public:
  struct Kept {
    std::uint64_t written = 0;  // of the run: another one in the same table has another number
    std::uint32_t rows = 0;
    std::shared_ptr<const RunFilter> filter;
  };
  using Set = std::array<Kept, lmdb::kRuns>;  // by table

  RunFilters() : set_(std::make_shared<const Set>()) {}
  // Those that there are now.
  [[nodiscard]] std::shared_ptr<const Set> set() const;
  // Counts a lookup in vain in a run that has none. True when it is worth a filter now: the caller
  // makes one and must call keep(), with nothing when it could not.
  [[nodiscard]] bool missed(const IndexRun& run);
  // `runs`: those in use; the filters of others are dropped.
  void keep(const IndexRun& run, std::shared_ptr<const RunFilter> filter,
            const std::vector<IndexRun>& runs);

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Set> set_;  // guarded by mutex_
  std::array<std::atomic<std::uint32_t>, lmdb::kRuns> misses_{};
  std::atomic<std::uint64_t> rows_{0};  // of all filters
  std::atomic<bool> making_{false};
};

// Whether a lookup of `key` in `run` may find something, as far as `set` knows; nothing when it has
// no filter of that run.
[[nodiscard]] std::optional<bool> may_hold(const RunFilters::Set& set, const IndexRun& run,
                                           const IndexRow::Key& key);

}  // namespace bygone::store
