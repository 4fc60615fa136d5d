// SPDX-License-Identifier: Apache-2.0
#include "store/record_set.h"

#include <algorithm>

namespace bygone::store {
namespace {

constexpr auto kByKey = [](const auto& a, const auto& b) { return a.key < b.key; };
constexpr auto kIsBefore = [](const auto& delta, const ChunkId& id) { return delta.id < id; };

}  // namespace

RecordSet::Key RecordSet::key_of(const ChunkId& id) {
  Key key{};
  std::copy_n(id.bytes.begin(), key.size(), key.begin());
  return key;
}

void RecordSet::add(ChunkKind kind, const Record& record) {
  if (record.base) {
    deltas_.push_back({record.id, *record.base, record.raw_size, kind, false});
  } else {
    rows_.push_back({key_of(record.id), record.raw_size, kind, false});
  }
}

void RecordSet::seal() {
  std::sort(rows_.begin(), rows_.end(), kByKey);
  std::sort(deltas_.begin(), deltas_.end(),
            [](const Delta& a, const Delta& b) { return a.id < b.id; });
}

bool RecordSet::is_whole(ChunkKind kind, const ChunkId& id, std::size_t depth) const {
  if (find(kind, id)) return true;
  if (depth == kMaxDeltaDepth) return false;
  for (auto delta = std::lower_bound(deltas_.begin(), deltas_.end(), id, kIsBefore);
       delta != deltas_.end() && delta->id == id; ++delta) {
    if (delta->kind == kind && is_whole(kind, delta->base, depth + 1)) return true;
  }
  return false;
}

void RecordSet::strike(const ChunkId& id, const std::optional<ChunkId>& base) {
  if (base) {
    auto delta = std::lower_bound(deltas_.begin(), deltas_.end(), id, kIsBefore);
    while (delta != deltas_.end() && delta->id == id && (delta->struck || delta->base != *base)) {
      ++delta;
    }
    if (delta != deltas_.end() && delta->id == id) delta->struck = true;
    return;
  }
  const Key key = key_of(id);
  auto row = std::lower_bound(rows_.begin(), rows_.end(), key,
                              [](const Row& r, const Key& k) { return r.key < k; });
  while (row != rows_.end() && row->key == key && row->struck) ++row;
  if (row != rows_.end() && row->key == key) row->struck = true;
}

std::vector<ChunkId> RecordSet::resolve_deltas() {
  std::erase_if(deltas_, [](const Delta& delta) { return delta.struck; });
  for (std::size_t round = 0; round < kMaxDeltaDepth && !deltas_.empty(); ++round) {
    std::vector<Row> proven;
    std::erase_if(deltas_, [&](const Delta& delta) {
      if (!find(delta.kind, delta.base)) return false;
      proven.push_back({key_of(delta.id), delta.raw_size, delta.kind, false});
      return true;
    });
    rows_.insert(rows_.end(), proven.begin(), proven.end());
    std::sort(rows_.begin(), rows_.end(), kByKey);
  }
  std::vector<ChunkId> broken;
  for (const Delta& delta : deltas_) broken.push_back(delta.id);
  return broken;
}

std::optional<std::uint32_t> RecordSet::find(ChunkKind kind, const ChunkId& id) const {
  const Key key = key_of(id);
  auto row = std::lower_bound(rows_.begin(), rows_.end(), key,
                              [](const Row& r, const Key& k) { return r.key < k; });
  for (; row != rows_.end() && row->key == key; ++row) {
    if (!row->struck && row->kind == kind) return row->raw_size;
  }
  return std::nullopt;
}

}  // namespace bygone::store
