// SPDX-License-Identifier: Apache-2.0
//
// How the index keeps its rows: in sorted runs, each an LMDB table that is written once, in order,
// and then only read. Random keys in one tree would have every batch rewrite most of its pages;
// here a row is written again only when its run is merged with others of its size. Which runs there
// are, which are merged, and the merging itself; index.h decides when. FORMAT.md section 9.
// Values and cursors of one transaction: one thread.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/lmdb.h"

namespace bygone::store {

// Rows that a merge makes are at most about twice as many: what one transaction holds in memory is
// 70 MB then.
inline constexpr std::uint64_t kLargeRun = 1u << 20;

struct IndexRow {
  using Key = std::array<std::uint8_t, 16>;
  Key key{};
  std::uint32_t pack = 0;  // its number
  std::uint32_t slot = 0;
  friend bool operator==(const IndexRow&, const IndexRow&) = default;
};

struct IndexRun {
  std::uint8_t table = 0;
  std::uint32_t rows = 0;
  std::uint64_t written = 0;  // in which transaction: with the table, this run's name for ever
  friend bool operator==(const IndexRun&, const IndexRun&) = default;
};

// The list of runs, newest first, as `meta` holds it. Errors of the second: corrupt.
[[nodiscard]] Bytes encode_runs(const std::vector<IndexRun>& runs);
[[nodiscard]] Result<std::vector<IndexRun>> decode_runs(ByteView data);
// A table that none of them uses. Errors: corrupt when there is none.
[[nodiscard]] Result<std::uint8_t> free_table(const std::vector<IndexRun>& runs);

// Which neighbours become one. `rows`: of each run, newest first. Returns how many of them make
// each run afterwards, in the same order. Of runs of like size four are merged, so that a row is
// written about once for each fourfold growth; runs of kLargeRun rows stay as they are until tables
// run short.
[[nodiscard]] std::vector<std::size_t> plan_merges(const std::vector<std::uint64_t>& rows);

// Rows of several runs in the order of their keys, each key once: the row of the newest run counts
// that is of a pack in `packs`.
class RowMerger {
 public:
  // `packs` must outlive the merger; each source and its transaction, too.
  explicit RowMerger(const std::unordered_set<std::uint32_t>& packs) : packs_(packs) {}

  // Newest first. The rows of a span are sorted, each key once.
  void add(std::span<const IndexRow> rows);
  void add(lmdb::Cursor cursor);
  // The next row, nothing at the end. Errors: those of the index.
  Result<std::optional<IndexRow>> next();

 private:
  struct Source {
    std::span<const IndexRow> rows;
    std::optional<lmdb::Cursor> cursor;
    std::optional<IndexRow> head;
  };
  Result<void> advance(Source& source);

  const std::unordered_set<std::uint32_t>& packs_;
  std::vector<Source> sources_;
  bool begun_ = false;
};

// A row as a table holds it; nothing for one of another form.
[[nodiscard]] std::optional<IndexRow> decode_row(ByteView key, ByteView value);
[[nodiscard]] std::array<std::uint8_t, 8> encode_value(const IndexRow& row);

}  // namespace bygone::store
