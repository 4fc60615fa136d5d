// SPDX-License-Identifier: Apache-2.0
#include "store/index_runs.h"

#include <algorithm>

#include "store/base/codec.h"

namespace bygone::store {
namespace {

constexpr std::size_t kFan = 4;                // runs of like size that are merged
constexpr std::uint64_t kSmallestTier = 4096;  // rows; what has fewer is of one size
constexpr std::size_t kSpareTables = 4;        // of merges that are going on

static_assert(lmdb::kRuns <= 256, "a run's table is a byte");

struct Group {
  std::uint64_t rows = 0;
  std::size_t members = 0;
};

// Each holds four times the rows of the one before; the last is that of large runs.
constexpr unsigned tier_of(std::uint64_t rows) {
  unsigned tier = 0;
  for (std::uint64_t limit = kSmallestTier; rows >= limit && limit <= kLargeRun; limit *= kFan) {
    ++tier;
  }
  return tier;
}
constexpr unsigned kLargeTier = tier_of(kLargeRun);
static_assert(tier_of(kLargeRun - 1) + 1 == kLargeTier);

void merge(std::vector<Group>& groups, std::size_t first, std::size_t end) {
  Group& into = groups[first];
  for (std::size_t i = first + 1; i < end; ++i) {
    into.rows += groups[i].rows;
    into.members += groups[i].members;
  }
  groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(first) + 1,
               groups.begin() + static_cast<std::ptrdiff_t>(end));
}

// Whether the neighbours [first, end), none above `tier`, are to be one run: four of that tier, or
// enough for a large run, or small ones that others kept apart for too long.
bool are_due(const std::vector<Group>& groups, std::size_t first, std::size_t end, unsigned tier) {
  std::size_t equal = 0;
  std::uint64_t total = 0;
  for (std::size_t i = first; i < end; ++i) {
    total += groups[i].rows;
    if (tier_of(groups[i].rows) == tier) ++equal;
  }
  return end - first > 1 &&
         (equal >= kFan || total >= kLargeRun || end - first >= kFan * (tier + 1));
}

bool merge_once(std::vector<Group>& groups) {
  for (unsigned tier = 0; tier < kLargeTier; ++tier) {
    for (std::size_t first = 0; first < groups.size();) {
      std::size_t end = first;
      std::uint64_t total = 0;
      while (end < groups.size() && tier_of(groups[end].rows) <= tier && total < kLargeRun) {
        total += groups[end++].rows;
      }
      if (end > first && are_due(groups, first, end, tier)) {
        merge(groups, first, end);
        return true;
      }
      first = std::max(end, first + 1);
    }
  }
  return false;
}

void merge_smallest_neighbours(std::vector<Group>& groups) {
  std::size_t best = 0;
  for (std::size_t i = 0; i + 1 < groups.size(); ++i) {
    if (groups[i].rows + groups[i + 1].rows < groups[best].rows + groups[best + 1].rows) best = i;
  }
  merge(groups, best, best + 2);
}

}  // namespace

Bytes encode_runs(const std::vector<IndexRun>& runs) {
  Writer w;
  for (const IndexRun& run : runs) {
    w.u8(run.table);
    w.u32(run.rows);
    w.u64(run.written);
  }
  return w.take();
}

Result<std::vector<IndexRun>> decode_runs(ByteView data) {
  Reader r(data);
  std::vector<IndexRun> runs;
  runs.reserve(lmdb::kRuns);
  std::array<bool, lmdb::kRuns> used{};
  while (r.remaining() != 0) {
    IndexRun run;
    run.table = TRY(r.u8());
    run.rows = TRY(r.u32());
    run.written = TRY(r.u64());
    if (run.table >= lmdb::kRuns || used[run.table]) {
      return Error{Code::corrupt, 0, "index: its list of runs is damaged"};
    }
    used[run.table] = true;
    runs.push_back(run);
  }
  return runs;
}

Result<std::uint8_t> free_table(const std::vector<IndexRun>& runs) {
  for (unsigned table = 0; table < lmdb::kRuns; ++table) {
    if (std::none_of(runs.begin(), runs.end(), [&](auto& run) { return run.table == table; })) {
      return static_cast<std::uint8_t>(table);
    }
  }
  return Error{Code::corrupt, 0, "index: all its tables are in use"};
}

std::vector<std::size_t> plan_merges(const std::vector<std::uint64_t>& rows) {
  std::vector<Group> groups;
  groups.reserve(rows.size());
  for (const std::uint64_t each : rows) groups.push_back({each, 1});
  while (merge_once(groups)) {
  }
  while (groups.size() > lmdb::kRuns - kSpareTables) merge_smallest_neighbours(groups);
  std::vector<std::size_t> members;
  members.reserve(groups.size());
  for (const Group& group : groups) members.push_back(group.members);
  return members;
}

std::optional<IndexRow> decode_row(ByteView key, ByteView value) {
  IndexRow row;
  if (key.size() != row.key.size() || value.size() != 8) return std::nullopt;
  std::copy(key.begin(), key.end(), row.key.begin());
  Reader r(value);
  row.pack = r.u32().value();
  row.slot = r.u32().value();
  return row;
}

std::array<std::uint8_t, 8> encode_value(const IndexRow& row) {
  std::array<std::uint8_t, 8> value{};
  for (std::size_t i = 0; i < 4; ++i) {
    value[i] = static_cast<std::uint8_t>(row.pack >> (8 * i));
    value[4 + i] = static_cast<std::uint8_t>(row.slot >> (8 * i));
  }
  return value;
}

void RowMerger::add(std::span<const IndexRow> rows) {
  sources_.push_back({.rows = rows, .cursor = std::nullopt, .head = std::nullopt});
}

void RowMerger::add(lmdb::Cursor cursor) {
  sources_.push_back({.rows = {}, .cursor = std::move(cursor), .head = std::nullopt});
}

Result<void> RowMerger::advance(Source& source) {
  source.head.reset();
  while (!source.rows.empty()) {
    const IndexRow row = source.rows.front();
    source.rows = source.rows.subspan(1);
    if (!packs_.contains(row.pack)) continue;
    source.head = row;
    return {};
  }
  while (source.cursor) {
    const auto item = TRY(source.cursor->next());
    if (!item) return {};
    const auto row = decode_row(item->first, item->second);
    if (!row || !packs_.contains(row->pack)) continue;
    source.head = row;
    return {};
  }
  return {};
}

Result<std::optional<IndexRow>> RowMerger::next() {
  if (!begun_) {
    for (Source& source : sources_) TRY(advance(source));
    begun_ = true;
  }
  const Source* newest = nullptr;
  for (const Source& source : sources_) {
    if (source.head && (newest == nullptr || source.head->key < newest->head->key)) {
      newest = &source;
    }
  }
  if (newest == nullptr) return std::optional<IndexRow>();
  const IndexRow row = *newest->head;
  for (Source& source : sources_) {
    if (source.head && source.head->key == row.key) TRY(advance(source));
  }
  return std::optional<IndexRow>(row);
}

}  // namespace bygone::store
