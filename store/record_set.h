// SPDX-License-Identifier: Apache-2.0
//
// Every record that the footers of a repository show, as a compact sorted table: what verify and
// repair look chunks up in. 24 bytes a plain record, 64 a delta. Filled by one thread, then read by
// any.
#pragma once

#include <optional>
#include <vector>

#include "store/record.h"
#include "store/tree_reader.h"

namespace bygone::store {

class RecordSet {
 public:
  void add(ChunkKind kind, const Record& record);
  // Sorts what was added. Call once, before the functions below.
  void seal();
  // Whether a chain of records of that kind leads from a chunk to a plain record. Before the first
  // strike().
  [[nodiscard]] bool is_whole(ChunkKind kind, const ChunkId& id) const {
    return is_whole(kind, id, 0);
  }
  // Takes one copy of a chunk out: it was read and is damaged. O(log n).
  void strike(const ChunkId& id, const std::optional<ChunkId>& base);
  // Counts a delta as stored when its chain ends in a plain record; returns those that do not.
  // Call once, after the last strike().
  [[nodiscard]] std::vector<ChunkId> resolve_deltas();
  // The decoded size of a chunk that can be read; nothing when no record of that kind is left.
  [[nodiscard]] std::optional<std::uint32_t> find(ChunkKind kind, const ChunkId& id) const;

 private:
  using Key = std::array<std::uint8_t, 16>;  // as the index: 16 bytes of a keyed hash
  struct Row {
    Key key;
    std::uint32_t raw_size;
    ChunkKind kind;
    bool struck;
  };
  struct Delta {
    ChunkId id;
    ChunkId base;
    std::uint32_t raw_size;
    ChunkKind kind;
    bool struck;
  };
  static Key key_of(const ChunkId& id);
  [[nodiscard]] bool is_whole(ChunkKind kind, const ChunkId& id, std::size_t depth) const;

  std::vector<Row> rows_;
  std::vector<Delta> deltas_;
};

}  // namespace bygone::store
