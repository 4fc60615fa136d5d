// SPDX-License-Identifier: Apache-2.0
//
// Notes on what is damaged beyond help (FORMAT.md section 8.3, key `damaged`): records that do not
// prove themselves, packs that are gone or of which records were lost. Deduplication and the
// choice of bases pass these by, and a backup whose parent may need them reads the source again.
// A value once read; the functions may be called from any thread.
#pragma once

#include <set>
#include <unordered_set>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::store {

class Notes;
class Repository;

// Stands in marks for packs whose names nobody knows.
inline constexpr PackId kUnknownPack{};

// One copy of a chunk.
struct DamagedChunk {
  ChunkId chunk;
  PackId pack;
  friend auto operator<=>(const DamagedChunk&, const DamagedChunk&) = default;
};

class DamageMarks {
 public:
  DamageMarks() = default;
  // What `notes` say. A value of an unknown form counts for nothing.
  explicit DamageMarks(const Notes& notes);

  [[nodiscard]] bool is_damaged(const ChunkId& chunk, const PackId& pack) const {
    return !chunks_.empty() && chunks_.contains({chunk, pack});
  }
  [[nodiscard]] const std::set<DamagedChunk>& chunks() const { return chunks_; }
  // Packs of which nobody knows all that was lost with them.
  [[nodiscard]] const std::set<PackId>& packs() const { return packs_; }

 private:
  std::set<DamagedChunk> chunks_;
  std::set<PackId> packs_;
};

// Adds marks; those that are there already cost nothing. Errors: of reading and writing notes.
Result<void> mark_damage(Repository& repository, const std::vector<DamagedChunk>& chunks,
                         const std::vector<PackId>& packs, Nanoseconds now);
// Takes marks back: the copy proved itself, or nothing needs it any more. Errors: as above.
Result<void> unmark_damage(Repository& repository, const std::vector<DamagedChunk>& chunks,
                           const std::vector<PackId>& packs, Nanoseconds now);

}  // namespace bygone::store
