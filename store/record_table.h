// SPDX-License-Identifier: Apache-2.0
//
// Every record of a repository under a number of its own, an ordinal: the first ordinal of its
// pack in this run, plus its slot. What prune marks and moves is named by them. Filled from pack
// footers alone, never from the index. About 21 bytes a record (220 MB for ten million), and 80 a
// pack. Filled by one thread, then read by any. verify has a table of its own, record_set.h.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/condemned.h"
#include "store/damage_marks.h"
#include "store/pack_reader.h"
#include "store/repository.h"

namespace bygone::store {

using Ordinal = std::uint32_t;

class RecordTable {
 public:
  struct Pack {
    PackId id;
    ChunkKind kind = ChunkKind::data;
    bool condemned = false;
    bool may_vanish = false;  // ChunkStore::undurable()
    std::uint64_t size_bytes = 0;
    std::int64_t mtime_seconds = 0;
    Ordinal first = 0;  // its slots follow
    std::uint32_t records = 0;
  };
  // Called before each footer; an error ends the reading with it.
  using Step = std::function<Result<void>(std::uint64_t done, std::uint64_t total)>;

  // Reads the footer of every pack; `marks` says what is damaged in them. Packs whose footers do
  // not prove themselves have no record here, and are named in unreadable(). Errors: those of
  // `step`; io; no_space when there are more than 2^32 records.
  static Result<RecordTable> read(Repository& repository, const PackSet& condemned,
                                  const DamageMarks& marks, const Step& step);

  // The record to keep of those that hold `id`: one that is not marked as damaged, nor in a pack
  // that may vanish, then one that stands in a pack which is not condemned, then the one with the
  // shortest chain of deltas, then the one in the newest pack; marks and packs are also those of
  // what it needs. Nothing when no record has it whose chain ends in a plain one. The chain of what
  // this returns, each base found by this function, always ends, for each link is shorter than the
  // one before.
  [[nodiscard]] std::optional<Ordinal> find(ChunkKind kind, const ChunkId& id) const;

  [[nodiscard]] Ordinal size() const { return static_cast<Ordinal>(levels_.size()); }
  // Newest first.
  [[nodiscard]] const std::vector<Pack>& packs() const { return packs_; }
  [[nodiscard]] std::size_t pack_number(Ordinal ordinal) const;
  [[nodiscard]] const Pack& pack_of(Ordinal ordinal) const { return packs_[pack_number(ordinal)]; }
  [[nodiscard]] bool is_delta(Ordinal ordinal) const { return levels_[ordinal] % kWorld != 0; }
  // What is wrong with the packs that could not be used, a line each.
  [[nodiscard]] const std::vector<std::string>& unreadable() const { return unreadable_; }

 private:
  // A level is the length of the chain below a record, and kCondemned more when it, or a record
  // that it needs, stands in a condemned pack, and kMarked more when one of them is marked as
  // damaged or may vanish. Every base has a lower level than its delta. All that is more than the
  // length is the record's world; worlds are multiples of kWorld.
  static constexpr std::uint8_t kWorld = 16;
  static constexpr std::uint8_t kCondemned = kWorld;
  static constexpr std::uint8_t kMarked = 2 * kWorld;
  static constexpr std::uint8_t kLastWorld = kCondemned | kMarked;
  static constexpr std::uint8_t kUnsound = 255;
  struct Row {
    std::array<std::uint32_t, 4> key;  // as the index: 16 bytes of a keyed hash
    Ordinal ordinal;
  };
  static std::array<std::uint32_t, 4> key_of(const ChunkId& id);
  Result<void> list(Repository& repository, const PackSet& condemned);
  Result<void> add(const Pack& pack, const PackReader& reader, const DamageMarks& marks);
  Result<void> level_deltas(Repository& repository, const DamageMarks& marks);
  [[nodiscard]] std::uint8_t level_of(const Pack& pack, const Record& record,
                                      const DamageMarks& marks) const;

  std::vector<Pack> packs_;
  std::vector<Row> rows_;
  std::vector<std::uint8_t> levels_;  // by ordinal
  std::vector<std::string> unreadable_;
};

}  // namespace bygone::store
