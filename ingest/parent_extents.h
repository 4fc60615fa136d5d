// SPDX-License-Identifier: Apache-2.0
//
// Where the chunks of a file stood in the parent snapshot, for whoever cuts its next version. Reads
// the parent's extents as the reading goes on, some 96 MiB of the file at a time, and knows nothing
// of the new content. A parent that cannot be read is reported once and then has no extents. One
// thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "store/tree_reader.h"

namespace bygone::ingest {

class ParentExtents {
 public:
  // A chunk that the parent's file held from its first byte.
  struct Piece {
    std::uint64_t begin = 0;  // in the parent's file
    std::uint64_t length = 0;
    ChunkId chunk;
    // Data follows right behind: the end is a cut that was chosen, not the end of what there was.
    bool followed = false;
  };

  // Nothing when there is no parent, or none with chunks. `trees` must outlive the extents.
  static std::unique_ptr<ParentExtents> of(store::TreeReader& trees,
                                           const std::optional<store::Entry>& parent);

  // The piece that begins at `offset`, and as many as `most` more that follow it without a gap.
  // Empty when none begins there. Valid until the next call.
  std::span<const Piece> from(std::uint64_t offset, std::size_t most);
  // Where the next piece at or behind `offset` begins, as far as the window reaches.
  std::optional<std::uint64_t> next_begin(std::uint64_t offset);
  // The chunk of the byte at `offset`; of the last one when the parent ended before it.
  std::optional<ChunkId> covering(std::uint64_t offset);
  // Where a chunk stands in the window around `offset`.
  std::optional<std::uint64_t> find(const ChunkId& chunk, std::uint64_t offset);

 private:
  ParentExtents(store::TreeReader& trees, store::Entry file)
      : trees_(trees), file_(std::move(file)) {}
  void load(std::uint64_t offset);
  std::vector<Piece>::const_iterator at_or_behind(std::uint64_t offset);

  struct Covered {
    std::uint64_t begin, end;
    ChunkId chunk;
  };
  store::TreeReader& trees_;
  store::Entry file_;
  bool loaded_ = false;
  std::uint64_t begin_ = 0;  // of the window
  std::uint64_t end_ = 0;
  std::vector<Piece> pieces_;
  std::vector<Covered> covered_;  // all data, pieces of shared chunks included
  std::unordered_map<ChunkId, std::uint64_t, IdHash> places_;
};

}  // namespace bygone::ingest
