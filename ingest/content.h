// SPDX-License-Identifier: Apache-2.0
//
// From the bytes of one file to its pieces: chunks on their way, holes, written zeros. A
// ContentCutter is fed in file order and cuts by content (FORMAT.md section 5), or where the
// parent snapshot's version was cut as long as its chunks stand where they stood; one thread.
#pragma once

#include <memory>
#include <vector>

#include "ingest/chunk_jobs.h"
#include "ingest/parent_extents.h"
#include "store/keys.h"
#include "store/node.h"

namespace bygone::ingest {

// An extent whose chunk may still be on its way.
struct Piece {
  store::Extent extent;  // `chunk` is set when `pending` is null
  std::shared_ptr<PendingChunk> pending;
};

class ContentCutter {
 public:
  // `expected_size` sizes the buffer. Both references must outlive the cutter.
  ContentCutter(const store::KeyRing& keys, ChunkJobs& jobs, std::uint64_t volume_tag,
                std::uint64_t expected_size);

  // Before the first byte: `parent` (may be null) predicts cuts and gives changed chunks their
  // predecessors; `trials` are those of the volume.
  void follow(std::unique_ptr<ParentExtents> parent, std::shared_ptr<store::DeltaTrials> trials);

  // Room for at least one byte: read into it, then tell how many came with advance().
  [[nodiscard]] MutableByteView room();
  // `n` bytes of the last room() hold what follows in the file.
  void advance(std::size_t n);
  // Copies `data` in.
  void append(ByteView data);
  // A hole of `length` bytes follows; ends the run of data before it.
  void hole(std::uint64_t length);
  // `length` reserved bytes that read as zeros follow; they end the run of data before them.
  void zeros(std::uint64_t length);
  // An extent that is taken over as it is; ends the run of data before it.
  void keep(const store::Extent& extent);
  // Ends the content: the pieces in file order. The cutter is spent.
  std::vector<Piece> finish();

 private:
  void new_buffer(std::size_t keep_from);
  void find_zeros(bool at_end);
  void cut(std::size_t end, bool flush);
  enum class Predicted { nothing, taken, wants_more };
  Predicted cut_as_before(std::size_t end, bool flush);
  void cut_by_content(std::size_t end);
  [[nodiscard]] std::size_t cut_of_parent_within(std::size_t size);
  void put(std::size_t size, store::ChunkHint hint);
  ChunkId hash(std::size_t offset, std::size_t size);
  [[nodiscard]] bool ends_like_chunk(std::size_t size) const;
  void gap(store::Extent::Kind kind, std::uint64_t length);
  void end_zeros();
  void end_run();

  const store::KeyRing& keys_;
  ChunkJobs& jobs_;
  std::uint64_t volume_tag_;
  std::size_t capacity_;
  std::shared_ptr<Bytes> buffer_;
  std::size_t begin_ = 0;     // first byte of the run that is not cut yet
  std::size_t scanned_ = 0;   // zeros are looked for up to here
  std::size_t end_ = 0;       // bytes in the buffer
  std::size_t zero_run_ = 0;  // zeros right before scanned_, while in data
  std::uint64_t zeros_ = 0;   // length of the `zero` extent being gathered
  bool in_zeros_ = false;
  std::uint64_t base_ = 0;  // file offset of buffer_[0], for alignment
  std::vector<Piece> pieces_;
  std::unique_ptr<ParentExtents> parent_;
  std::shared_ptr<store::DeltaTrials> trials_;
  std::int64_t shift_ = 0;  // from here to the same content in the parent, by the last match
  // The last bytes that were hashed: by their place in the file.
  std::uint64_t hashed_at_ = 0;
  std::size_t hashed_size_ = 0;
  ChunkId hashed_;
};

}  // namespace bygone::ingest
