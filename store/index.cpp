// SPDX-License-Identifier: Apache-2.0
#include "store/index.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "store/base/codec.h"
#include "store/index_filter.h"
#include "store/index_runs.h"
#include "store/lmdb.h"

namespace bygone::store {
namespace {

using lmdb::Table;

constexpr std::string_view kNextPackKey = "next_pack";
constexpr std::string_view kRunsKey = "runs";

// Rows are little-endian but for the pack number as a key: LMDB sorts keys by their bytes.
std::array<std::uint8_t, 4> number_key(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

std::uint32_t key_number(ByteView key) {
  return std::uint32_t{key[0]} << 24 | std::uint32_t{key[1]} << 16 | std::uint32_t{key[2]} << 8 |
         key[3];
}

Bytes u32_bytes(std::uint32_t v) {
  Writer w;
  w.u32(v);
  return w.take();
}

// What a row of `packs` tells: 16 bytes of id, u32 rows.
struct PackRow {
  std::uint32_t number = 0;
  PackId pack;
  std::uint32_t rows = 0;
};

std::optional<PackRow> decode_pack(ByteView key, ByteView value) {
  if (key.size() != 4 || value.size() != PackId::kSize + 4) return std::nullopt;
  Reader r(value.subspan(PackId::kSize));
  return PackRow{.number = key_number(key), .pack = PackId::from(value), .rows = r.u32().value()};
}

Bytes encode_pack(const PackContents& pack) {
  Bytes value = u32_bytes(static_cast<std::uint32_t>(pack.chunks.size()));
  value.insert(value.begin(), pack.pack.bytes.begin(), pack.pack.bytes.end());
  return value;
}

template <class Txn>
Result<std::vector<PackRow>> pack_rows(const Txn& txn) {
  std::vector<PackRow> rows;
  lmdb::Cursor cursor = TRY(txn.cursor(Table::packs));
  while (const auto item = TRY(cursor.next())) {
    if (const auto row = decode_pack(item->first, item->second)) rows.push_back(*row);
  }
  return rows;
}

using PackNumbers = std::unordered_set<std::uint32_t>;

template <class Txn>
Result<PackNumbers> pack_numbers(const Txn& txn) {
  PackNumbers numbers;
  for (const PackRow& row : TRY(pack_rows(txn))) numbers.insert(row.number);
  return numbers;
}

template <class Txn>
Result<std::vector<IndexRun>> runs_of(const Txn& txn) {
  const auto value = TRY(txn.get(Table::meta, as_bytes(kRunsKey)));
  if (!value) return std::vector<IndexRun>();
  return decode_runs(*value);
}

// Writes what `merger` gives as a table that `runs` does not use; nothing when that is no row.
Result<std::optional<IndexRun>> write_run(lmdb::WriteTxn& txn, RowMerger& merger,
                                          const std::vector<IndexRun>& runs) {
  IndexRun run;
  run.table = TRY(free_table(runs));
  run.written = txn.id();
  const Table table = lmdb::run_table(run.table);
  // Of a list of runs that was damaged, it may hold something.
  TRY(txn.clear(table));
  while (const auto row = TRY(merger.next())) {
    TRY(txn.append(table, row->key, encode_value(*row)));
    ++run.rows;
  }
  if (run.rows == 0) return std::optional<IndexRun>();
  return std::optional<IndexRun>(run);
}

}  // namespace

Index::Index() : filters_(std::make_unique<RunFilters>()) {}

Result<std::optional<Location>> Index::find(const ChunkId& id) {
  const lmdb::ReadTxn txn = TRY(env_->read());
  const std::vector<IndexRun> runs = TRY(runs_of(txn));
  const auto filters = filters_->set();
  IndexRow::Key wanted{};
  std::copy_n(id.bytes.begin(), wanted.size(), wanted.begin());
  for (const IndexRun& run : runs) {
    const auto expected = may_hold(*filters, run, wanted);
    if (expected && !*expected) continue;
    const auto value = TRY(txn.get(lmdb::run_table(run.table), wanted));
    const auto row = value ? decode_row(wanted, *value) : std::nullopt;
    if (!row && !expected && filters_->missed(run)) TRY(make_filter(txn, run, runs));
    if (!row) continue;
    const auto key = number_key(row->pack);
    const auto pack = TRY(txn.get(Table::packs, key));
    const auto named = pack ? decode_pack(key, *pack) : std::nullopt;
    if (named) return std::optional<Location>(Location{.pack = named->pack, .slot = row->slot});
  }
  return std::optional<Location>();
}

Result<void> Index::make_filter(const lmdb::ReadTxn& txn, const IndexRun& run,
                                const std::vector<IndexRun>& runs) {
  const auto fill = [&]() -> Result<std::shared_ptr<const RunFilter>> {
    auto filter = std::make_shared<RunFilter>(run.rows);
    lmdb::Cursor cursor = TRY(txn.cursor(lmdb::run_table(run.table)));
    while (const auto item = TRY(cursor.next())) {
      if (const auto row = decode_row(item->first, item->second)) filter->add(row->key);
    }
    return std::shared_ptr<const RunFilter>(std::move(filter));
  };
  auto filter = fill();
  filters_->keep(run, filter ? *filter : nullptr, runs);
  return filter ? Result<void>() : std::move(filter).error();
}

Result<void> Index::insert(const std::vector<PackContents>& packs) {
  lmdb::WriteTxn txn = TRY(env_->write());
  std::uint32_t next = 0;
  if (const auto value = TRY(txn.get(Table::meta, as_bytes(kNextPackKey)))) {
    Reader r(*value);
    next = TRY(r.u32());
  }
  std::vector<IndexRow> rows;
  for (const PackContents& pack : packs) {
    TRY(txn.put(Table::packs, number_key(next), encode_pack(pack)));
    for (std::size_t slot = 0; slot < pack.chunks.size(); ++slot) {
      IndexRow row{.key = {}, .pack = next, .slot = static_cast<std::uint32_t>(slot)};
      std::copy_n(pack.chunks[slot].bytes.begin(), row.key.size(), row.key.begin());
      rows.push_back(row);
    }
    ++next;
  }
  TRY(txn.put(Table::meta, as_bytes(kNextPackKey), u32_bytes(next)));
  TRY(add_run(txn, std::move(rows)));
  return txn.commit();
}

// What came last of one key is what counts.
Result<void> Index::add_run(lmdb::WriteTxn& txn, std::vector<IndexRow> rows) {
  if (rows.empty()) return {};
  std::sort(rows.begin(), rows.end(), [](const IndexRow& a, const IndexRow& b) {
    return std::tie(a.key, b.pack, b.slot) < std::tie(b.key, a.pack, a.slot);
  });
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [](const IndexRow& a, const IndexRow& b) { return a.key == b.key; }),
             rows.end());
  const std::vector<IndexRun> before = TRY(runs_of(txn));
  const PackNumbers packs = TRY(pack_numbers(txn));
  std::vector<std::uint64_t> sizes{rows.size()};
  for (const IndexRun& run : before) sizes.push_back(run.rows);
  std::vector<IndexRun> in_use = before;  // tables that must not be written to
  std::vector<IndexRun> after;
  std::size_t at = 0;  // in `sizes`
  for (const std::size_t members : plan_merges(sizes)) {
    if (members == 1 && at > 0) {
      after.push_back(before[at++ - 1]);
      continue;
    }
    RowMerger merger(packs);
    if (at == 0) merger.add(rows);
    const std::size_t end = at + members;
    const std::size_t first = std::max<std::size_t>(at, 1);
    for (std::size_t i = first; i < end; ++i) {
      merger.add(TRY(txn.cursor(lmdb::run_table(before[i - 1].table))));
    }
    if (const auto run = TRY(write_run(txn, merger, in_use))) {
      after.push_back(*run);
      in_use.push_back(*run);
    }
    at = end;
  }
  for (const IndexRun& run : before) {
    if (std::find(after.begin(), after.end(), run) != after.end()) continue;
    TRY(txn.clear(lmdb::run_table(run.table)));
  }
  return txn.put(Table::meta, as_bytes(kRunsKey), encode_runs(after));
}

Result<std::vector<PackId>> Index::packs() {
  const lmdb::ReadTxn txn = TRY(env_->read());
  std::vector<PackId> packs;
  for (const PackRow& row : TRY(pack_rows(txn))) packs.push_back(row.pack);
  return packs;
}

// A pack may have several numbers: it was inserted more than once.
Result<void> Index::remove_packs(const std::vector<PackId>& packs) {
  const std::unordered_set<PackId, IdHash> wanted(packs.begin(), packs.end());
  {
    lmdb::WriteTxn txn = TRY(env_->write());
    for (const PackRow& row : TRY(pack_rows(txn))) {
      if (wanted.contains(row.pack)) TRY(txn.remove(Table::packs, number_key(row.number)));
    }
    TRY(txn.commit());
  }
  return sweep();
}

// Large runs are not merged any more: without this, rows of packs that are gone would stay in them.
Result<void> Index::sweep() {
  std::vector<IndexRun> mostly_dead;
  {
    const lmdb::ReadTxn txn = TRY(env_->read());
    std::uint64_t live = 0;
    PackNumbers numbers;
    for (const PackRow& row : TRY(pack_rows(txn))) {
      live += row.rows;
      numbers.insert(row.number);
    }
    const auto runs = TRY(runs_of(txn));
    std::uint64_t total = 0;
    for (const IndexRun& run : runs) total += run.rows;
    if (total <= 2 * live + kLargeRun) return {};
    for (const IndexRun& run : runs) {
      RowMerger rows(numbers);
      rows.add(TRY(txn.cursor(lmdb::run_table(run.table))));
      std::uint64_t alive = 0;
      while (TRY(rows.next())) ++alive;
      if (alive * 2 < run.rows) mostly_dead.push_back(run);
    }
  }
  for (const IndexRun& run : mostly_dead) TRY(sweep_run(run));
  return {};
}

Result<void> Index::sweep_run(const IndexRun& run) {
  lmdb::WriteTxn txn = TRY(env_->write());
  std::vector<IndexRun> runs = TRY(runs_of(txn));
  const auto at = std::find(runs.begin(), runs.end(), run);
  if (at == runs.end()) return {};  // merged meanwhile, by another process
  {
    const PackNumbers numbers = TRY(pack_numbers(txn));
    RowMerger merger(numbers);
    merger.add(TRY(txn.cursor(lmdb::run_table(run.table))));
    const auto written = TRY(write_run(txn, merger, runs));
    if (written) {
      *at = *written;
    } else {
      runs.erase(at);
    }
  }
  TRY(txn.clear(lmdb::run_table(run.table)));
  TRY(txn.put(Table::meta, as_bytes(kRunsKey), encode_runs(runs)));
  return txn.commit();
}

Result<void> Index::clear() {
  lmdb::WriteTxn txn = TRY(env_->write());
  TRY(count_loss(txn));
  for (unsigned run = 0; run < lmdb::kRuns; ++run) TRY(txn.clear(lmdb::run_table(run)));
  TRY(txn.clear(Table::packs));
  TRY(txn.put(Table::meta, as_bytes(kRunsKey), {}));
  return txn.commit();
}

Result<std::uint64_t> Index::chunk_count() {
  const lmdb::ReadTxn txn = TRY(env_->read());
  const PackNumbers numbers = TRY(pack_numbers(txn));
  RowMerger rows(numbers);
  for (const IndexRun& run : TRY(runs_of(txn))) {
    rows.add(TRY(txn.cursor(lmdb::run_table(run.table))));
  }
  std::uint64_t count = 0;
  while (TRY(rows.next())) ++count;
  return count;
}

Result<std::optional<Bytes>> Index::snapshot(const SnapshotId& id) {
  const lmdb::ReadTxn txn = TRY(env_->read());
  const auto value = TRY(txn.get(Table::snapshots, id.view()));
  if (!value) return std::optional<Bytes>();
  return std::optional<Bytes>(Bytes(value->begin(), value->end()));
}

Result<void> Index::keep_snapshot(const SnapshotId& id, ByteView sealed) {
  lmdb::WriteTxn txn = TRY(env_->write());
  TRY(txn.put(Table::snapshots, id.view(), sealed));
  return txn.commit();
}

std::vector<PackId> pack_ids(const std::vector<PackContents>& packs) {
  std::vector<PackId> ids;
  ids.reserve(packs.size());
  for (const PackContents& pack : packs) ids.push_back(pack.pack);
  return ids;
}

Result<void> Index::forget_snapshots(const std::vector<SnapshotId>& ids) {
  if (ids.empty()) return {};
  lmdb::WriteTxn txn = TRY(env_->write());
  for (const SnapshotId& id : ids) TRY(txn.remove(Table::snapshots, id.view()));
  return txn.commit();
}

}  // namespace bygone::store
