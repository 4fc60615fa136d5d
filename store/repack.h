// SPDX-License-Identifier: Apache-2.0
//
// Copies records from old packs into new ones. The stored bytes are taken over as they are, but
// no record counts as copied before it was read back from the new pack and decoded, and its hash
// was the id. Deletes nothing; one thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "store/base/lru.h"
#include "store/index.h"
#include "store/pack_writer.h"
#include "store/survey.h"

namespace bygone::store {

class Repacker {
 public:
  using Step = std::function<void(std::uint64_t bytes)>;
  // All must outlive the repacker. `step` hears of bytes copied.
  Repacker(Repository& repository, const RecordTable& table, const std::atomic<bool>& cancel,
           Step step);
  ~Repacker();

  // The exact size of the packs that copy() would make of `ordinals`. Errors: io.
  Result<std::uint64_t> planned_bytes(const std::vector<Ordinal>& ordinals);
  // Copies records of one kind in this order. False: the disk is full; what stands in finished
  // packs is copied, the rest is not. Errors: corrupt when a record cannot be proven; cancelled;
  // io.
  Result<bool> copy(const std::vector<Ordinal>& ordinals);
  // Makes the names of the new packs durable, then tells the index. Errors: io.
  Result<void> publish();
  // Decodes a record, and the bases below it, and compares the hash with its id, once.
  // Errors: corrupt, io.
  Result<void> prove(Ordinal ordinal);
  // Of every record in the packs that leave, by their number, which is not kept because another one
  // of its id is: proves that one, unless it stands in a pack that leaves as well (then it is
  // copied) or in one of `proven`; and makes the name of its pack durable, and of its bases', for
  // whoever wrote them may have died before. Errors: as prove(): nothing may be deleted then.
  Result<void> prove_survivors(const Survey& survey, const std::vector<bool>& leaves,
                               const PackSet& proven);

  [[nodiscard]] bool is_copied(Ordinal ordinal) const { return copied_.contains(ordinal); }
  [[nodiscard]] std::uint64_t packs_written() const { return made_.size(); }
  // Adds the packs that were written: all of their records are proven.
  void add_written(PackSet& packs) const;
  [[nodiscard]] std::uint64_t bytes_written() const { return bytes_written_; }

 private:
  Result<const Record*> record(Ordinal ordinal);
  Result<std::optional<Ordinal>> base_of(ChunkKind kind, const Record& record) const;
  Result<std::shared_ptr<const Bytes>> base_bytes(ChunkKind kind, const Record& record);
  Result<std::shared_ptr<const Bytes>> decode(Ordinal ordinal);
  Result<void> copy_one(Ordinal ordinal, PackWriter& writer);
  Result<void> finish(PackWriter& writer, const std::vector<Ordinal>& ordinals);
  Result<void> add_packs(Ordinal ordinal, PackSet& packs);
  Result<void> copy_all(const std::vector<Ordinal>& ordinals);

  Repository& repository_;
  const RecordTable& table_;
  const std::atomic<bool>& cancel_;
  Step step_;
  std::shared_ptr<const PackReader> reader_;  // of the record looked at last
  LruCache<Ordinal, std::shared_ptr<const Bytes>> decoded_;
  std::unordered_set<Ordinal> copied_, proven_;
  std::vector<PackContents> made_;
  std::uint64_t bytes_written_ = 0;
};

}  // namespace bygone::store
