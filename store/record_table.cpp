// SPDX-License-Identifier: Apache-2.0
#include "store/record_table.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "store/chunk_store.h"

namespace bygone::store {

std::array<std::uint32_t, 4> RecordTable::key_of(const ChunkId& id) {
  std::array<std::uint32_t, 4> key{};
  std::memcpy(key.data(), id.bytes.data(), sizeof key);
  return key;
}

// Newest packs first, so that of equal copies the one is kept that an interrupted prune wrote.
Result<void> RecordTable::list(Repository& repository, const PackSet& condemned) {
  const std::vector<PackId> listing = TRY(repository.chunks().list_packs());
  const auto undurable = repository.chunks().undurable(listing);
  for (const PackId& id : listing) {
    const auto info = repository.files().info(pack_path(repository.path(), id));
    if (!info && info.error().code == Code::not_found) continue;  // dropped since the listing
    if (!info) return info.error();
    packs_.push_back({.id = id,
                      .condemned = condemned.contains(id),
                      .may_vanish = undurable.contains(id),
                      .size_bytes = info->size,
                      .mtime_seconds = info->mtime_seconds});
  }
  std::sort(packs_.begin(), packs_.end(), [](const Pack& a, const Pack& b) {
    return a.mtime_seconds != b.mtime_seconds ? a.mtime_seconds > b.mtime_seconds : a.id < b.id;
  });
  return {};
}

Result<void> RecordTable::add(const Pack& pack, const PackReader& reader,
                              const DamageMarks& marks) {
  const auto& records = reader.records();
  if (records.size() > std::numeric_limits<Ordinal>::max() - levels_.size()) {
    return Error{Code::no_space, 0, "more records than can be numbered"};
  }
  for (const Record& record : records) {
    rows_.push_back({key_of(record.id), size()});
    levels_.push_back(record.base ? kUnsound : level_of(pack, record, marks));
  }
  return {};
}

Result<RecordTable> RecordTable::read(Repository& repository, const PackSet& condemned,
                                      const DamageMarks& marks, const Step& step) {
  RecordTable table;
  TRY(table.list(repository, condemned));
  std::vector<Pack> readable;
  std::uint64_t done = 0;
  for (Pack& pack : table.packs_) {
    TRY(step(done++, table.packs_.size()));
    auto reader =
        PackReader::open(repository.files(), repository.keys(), repository.path(), pack.id);
    if (!reader) {
      const Code code = reader.error().code;
      if (code == Code::not_found) continue;
      if (code != Code::corrupt && code != Code::unsupported && code != Code::denied) {
        return std::move(reader).error();
      }
      table.unreadable_.push_back(reader.error().message);
      continue;
    }
    pack.kind = (*reader)->kind();
    pack.first = table.size();
    pack.records = static_cast<std::uint32_t>((*reader)->records().size());
    TRY(table.add(pack, **reader, marks));
    readable.push_back(pack);
  }
  table.packs_ = std::move(readable);
  table.rows_.shrink_to_fit();
  std::sort(table.rows_.begin(), table.rows_.end(), [](const Row& a, const Row& b) {
    return a.key != b.key ? a.key < b.key : a.ordinal < b.ordinal;
  });
  TRY(table.level_deltas(repository, marks));
  return table;
}

// The level of a record in `pack`, as far as bases have theirs by now.
std::uint8_t RecordTable::level_of(const Pack& pack, const Record& record,
                                   const DamageMarks& marks) const {
  int world = pack.condemned ? kCondemned : 0;
  if (pack.may_vanish || marks.is_damaged(record.id, pack.id)) world |= kMarked;
  if (!record.base) return static_cast<std::uint8_t>(world);
  const auto found = find(pack.kind, *record.base);
  if (!found) return kUnsound;
  const int below = levels_[*found];
  const int length = below % kWorld + 1;
  if (length > static_cast<int>(kMaxDeltaDepth)) return kUnsound;
  return static_cast<std::uint8_t>((world | (below - below % kWorld)) + length);
}

// Rounds over the packs with deltas until nothing changes. What has a level keeps it: it cannot
// have one in a lower world, for these were exhausted before.
Result<void> RecordTable::level_deltas(Repository& repository, const DamageMarks& marks) {
  for (int world = 0; world <= kLastWorld; world += kWorld) {
    for (bool changed = true; changed;) {
      changed = false;
      for (const Pack& pack : packs_) {
        const auto begin = levels_.begin() + pack.first;
        if (pack.condemned && world < kCondemned) continue;
        if (std::find(begin, begin + pack.records, kUnsound) == begin + pack.records) continue;
        const auto reader = TRY(repository.chunks().pack(pack.id));
        for (std::uint32_t slot = 0; slot < pack.records; ++slot) {
          std::uint8_t& level = levels_[pack.first + slot];
          if (level != kUnsound) continue;
          const std::uint8_t now = level_of(pack, reader->records()[slot], marks);
          if (now == kUnsound || now >= world + kWorld) continue;
          level = now;
          changed = true;
        }
      }
    }
  }
  return {};
}

std::optional<Ordinal> RecordTable::find(ChunkKind kind, const ChunkId& id) const {
  const auto key = key_of(id);
  auto row = std::lower_bound(rows_.begin(), rows_.end(), key,
                              [](const Row& r, const auto& k) { return r.key < k; });
  std::optional<Ordinal> best;
  for (; row != rows_.end() && row->key == key; ++row) {
    if (levels_[row->ordinal] == kUnsound || pack_of(row->ordinal).kind != kind) continue;
    if (!best || levels_[row->ordinal] < levels_[*best]) best = row->ordinal;
  }
  return best;
}

std::size_t RecordTable::pack_number(Ordinal ordinal) const {
  const auto after = std::upper_bound(packs_.begin(), packs_.end(), ordinal,
                                      [](Ordinal o, const Pack& pack) { return o < pack.first; });
  // Packs without records share their first ordinal with the next one, the last of them has it.
  return static_cast<std::size_t>(after - packs_.begin()) - 1;
}

}  // namespace bygone::store
