// SPDX-License-Identifier: Apache-2.0
//
// Where a chunk is: chunk id -> (pack, slot), in LMDB. A cache of what the pack footers say, which
// decides nothing alone: who acts on an answer proves it by the footer or the record. Also keeps
// the sealed snapshot records as they are on disk. Callable from any thread. FORMAT.md section 9.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::store {

namespace lmdb {
class Env;
class ReadTxn;
class WriteTxn;
}  // namespace lmdb
struct IndexRow;
struct IndexRun;
class RunFilters;

struct Location {
  PackId pack;
  std::uint32_t slot = 0;
  friend bool operator==(const Location&, const Location&) = default;
};

// The chunks of one pack in slot order, for insertion.
struct PackContents {
  PackId pack;
  std::vector<ChunkId> chunks;
};

[[nodiscard]] std::vector<PackId> pack_ids(const std::vector<PackContents>& packs);

class Index {
 public:
  // Opens the index in `folder`; when that cannot be written (read-only medium, another user, full
  // disk), a private one in `fallback`. A damaged or suspect one is replaced by an empty one, which
  // is filled as packs are adopted: is_fresh() tells. `reserve`: a file on its disk that may go
  // when that is full, with watch_for_index_crashes().
  static Result<std::unique_ptr<Index>> open(Files& files, const std::string& folder,
                                             const std::string& fallback,
                                             const std::string& reserve = {});
  ~Index();

  [[nodiscard]] const std::string& folder() const { return folder_; }
  // True when this open began with an empty index where there had been none, or a bad one.
  [[nodiscard]] bool is_fresh() const { return fresh_; }

  // The row that was inserted last, of those whose packs were not removed. A lookup in each run
  // (index_runs.h), but for those of which a filter knows better (index_filter.h).
  Result<std::optional<Location>> find(const ChunkId& id);
  // Inserts every chunk of every pack in one transaction, as a new sorted run, which may be merged
  // with others: 34 bytes are written for a row, and as many again each time that it is merged.
  Result<void> insert(const std::vector<PackContents>& packs);
  // Ids of the packs whose contents were inserted. Unordered.
  Result<std::vector<PackId>> packs();
  // Forgets packs that are gone: their rows are no answer any more, and older rows of the same
  // chunks are. The rows themselves go when their runs are merged; where more than half of them all
  // are such, the runs that hold most are written anew here.
  Result<void> remove_packs(const std::vector<PackId>& packs);
  // Forgets all packs and chunks, to learn them anew. Records of snapshots stay: they prove
  // themselves, and one may be the last good copy of its file. Counts as a loss: names
  // of packs that are gone may be forgotten by it.
  Result<void> clear();
  // Chunks that find() finds. Reads every row.
  Result<std::uint64_t> chunk_count();
  // Has the next open begin with an empty index.
  void mark_suspect();

  // The sealed record of a snapshot as it is on disk; nothing when not kept yet.
  Result<std::optional<Bytes>> snapshot(const SnapshotId& id);
  Result<void> keep_snapshot(const SnapshotId& id, ByteView sealed);
  // Of snapshots that were removed for good. Those that it does not know are no error.
  Result<void> forget_snapshots(const std::vector<SnapshotId>& ids);

  // Which snapshots need no look for what they may lack (FORMAT.md section 9): those that were
  // committed through this index, as long as it finds no pack gone that it knew.
  // How often it has found such packs so far, or was emptied.
  Result<std::uint64_t> losses();
  // Counts packs that are gone as one loss, then forgets them as remove_packs() does. Returns the
  // count.
  Result<std::uint64_t> lose_packs(const std::vector<PackId>& packs);
  // Keeps that all that `snapshot`, the newest of `source`, refers to stood in packs which this
  // index knows, when it had counted `losses`.
  Result<void> keep_whole(const SourceId& source, const SnapshotId& snapshot, std::uint64_t losses);
  // Whether that was kept of this very snapshot, and no loss was counted since.
  Result<bool> is_whole(const SourceId& source, const SnapshotId& snapshot);

 private:
  Index();
  Result<void> open_in(const std::string& folder);
  void watch_for_crashes();
  Result<std::string> try_open();
  Result<void> replace();
  Result<void> make_filter(const lmdb::ReadTxn& txn, const IndexRun& run,
                           const std::vector<IndexRun>& runs);
  Result<void> add_run(lmdb::WriteTxn& txn, std::vector<IndexRow> rows);
  static Result<std::uint64_t> count_loss(lmdb::WriteTxn& txn);
  Result<void> sweep();
  Result<void> sweep_run(const IndexRun& run);

  Files* files_ = nullptr;
  std::string folder_, reserve_;
  bool fresh_ = false;
  bool watched_ = false;  // by watch_for_index_crashes()
  std::unique_ptr<lmdb::Env> env_;
  std::unique_ptr<RunFilters> filters_;
};

// Leaves `index/suspect` behind when the process dies by a SIGSEGV, SIGBUS or SIGABRT of its own
// while an index is open: LMDB can die on its own damaged page, and the next start rebuilds. A
// SIGBUS for want of space is answered with the `reserve` of Index::open(). Once a process.
void watch_for_index_crashes();

}  // namespace bygone::store
