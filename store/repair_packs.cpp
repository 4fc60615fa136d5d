// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <map>
#include <optional>
#include <set>
#include <unordered_set>

#include <fmt/core.h>

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/damage_marks.h"
#include "store/format.h"
#include "store/pack_writer.h"
#include "store/record_set.h"
#include "store/repair.h"
#include "store/salvage.h"
#include "store/set_aside.h"
#include "store/temp_file.h"

namespace bygone::store {
namespace {

// A sector that the disk cannot read is damage; any other failure may pass.
bool is_damage(const Error& error) {
  return error.code == Code::corrupt || error.code == Code::not_found || error.errnum == EIO;
}

// Bases that stand in other packs. Prune leaves deltas that nothing needs without theirs: what no
// footer shows is not searched for once more for each of them.
class BasesElsewhere {
 public:
  explicit BasesElsewhere(Repository& repository) : repository_(repository) {}

  std::shared_ptr<const Bytes> get(ChunkKind kind, const ChunkId& id) {
    if (!footers_) read_footers();
    if (footers_ && !footers_->is_whole(kind, id)) return nullptr;
    auto bytes = repository_.chunks().get(kind, id);
    return bytes ? *bytes : nullptr;
  }
  // Packs came or went.
  void look_again() { footers_.reset(); }

 private:
  void read_footers() {
    const auto listing = repository_.chunks().list_packs();
    if (!listing) return;  // without it each search tells for itself
    footers_.emplace();
    for (const PackId& id : *listing) {
      const auto reader = repository_.chunks().pack(id);
      if (!reader) continue;  // who reads a chunk finds none in it either
      for (const Record& record : (*reader)->records()) footers_->add((*reader)->kind(), record);
    }
    footers_->seal();
  }

  Repository& repository_;
  std::optional<RecordSet> footers_;
};

// The records of one pack, each judged.
class Examination {
 public:
  static Result<Examination> of(Repository& repository, BasesElsewhere& bases, const PackId& id) {
    Examination it(bases);
    it.salvage_ = TRY(Salvage::open(repository.files(), repository.keys(), repository.path(), id));
    const auto& records = it.salvage_->records();
    for (std::size_t i = 0; i < records.size(); ++i) it.by_id_.emplace(records[i].id, i);
    it.fault_ = it.salvage_->fault();
    for (std::size_t i = 0; i < records.size(); ++i) TRY(it.judge(i));
    return it;
  }

  [[nodiscard]] bool is_whole() const { return fault_.empty(); }
  [[nodiscard]] const std::string& fault() const { return fault_; }
  [[nodiscard]] const Salvage& salvage() const { return *salvage_; }
  [[nodiscard]] const std::vector<std::size_t>& good() const { return good_; }
  [[nodiscard]] const std::vector<std::size_t>& bad() const { return bad_; }
  // Deltas, good ones, whose base cannot be read now.
  [[nodiscard]] const std::vector<Record>& without_base() const { return without_base_; }

 private:
  explicit Examination(BasesElsewhere& bases) : bases_(bases) {}

  Result<void> judge(std::size_t slot) {
    const Record& record = salvage_->records()[slot];
    auto stored = salvage_->read_stored(record);
    if (!stored && !is_damage(stored.error())) return std::move(stored).error();
    auto proven = stored ? prove(record, *stored) : std::move(stored).error();
    if (proven && TRY(salvage_->head_is_sound(record))) {
      good_.push_back(slot);
      return {};
    }
    if (fault_.empty()) {
      fault_ = proven ? "chunk " + record.id.hex() + " has a damaged head" : proven.error().message;
    }
    (proven ? good_ : bad_).push_back(slot);
    return {};
  }

  // A delta whose base is not to be had is not damaged: the base may come back.
  Result<void> prove(const Record& record, const Bytes& stored) {
    std::shared_ptr<const Bytes> base;
    if (record.base) {
      base = base_of(record, 0);
      if (!base) {
        without_base_.push_back(record);
        return {};
      }
    }
    TRY(salvage_->decode(record, stored, base ? ByteView(*base) : ByteView()));
    return {};
  }

  // From this pack, of which the footer may be lost, or from anywhere.
  std::shared_ptr<const Bytes> base_of(const Record& record, std::size_t depth) {
    if (depth >= kMaxDeltaDepth) return nullptr;
    if (const auto here = by_id_.find(*record.base); here != by_id_.end()) {
      const Record& base = salvage_->records()[here->second];
      std::shared_ptr<const Bytes> below;
      if (base.base) below = base_of(base, depth + 1);
      const auto stored = salvage_->read_stored(base);
      if (stored && (!base.base || below)) {
        auto raw = salvage_->decode(base, *stored, below ? ByteView(*below) : ByteView());
        if (raw) return std::make_shared<const Bytes>(std::move(*raw));
      }
    }
    return bases_.get(salvage_->kind(), *record.base);
  }

  BasesElsewhere& bases_;
  std::unique_ptr<Salvage> salvage_;
  std::map<ChunkId, std::size_t> by_id_;
  std::string fault_;
  std::vector<std::size_t> good_, bad_;
  std::vector<Record> without_base_;
};

class PackRepairer {
 public:
  PackRepairer(Repository& repository, const RepairOptions& options)
      : repository_(repository),
        files_(repository.files()),
        options_(options),
        bases_(repository) {}

  Result<RepairReport> run(const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                           const std::atomic<bool>& cancel) {
    const RepairLocks locks = TRY(lock_for_repair(files_, repository_.path()));
    if (!options_.dry_run) TRY(clean_temp_folder(files_, repository_.path() + "/tmp"));
    // Copies that an earlier repair left behind are found through the index.
    auto listing = repository_.chunks().adopt_packs();
    if (!listing) listing = repository_.chunks().list_packs();
    if (!listing) return std::move(listing).error();
    present_.insert(listing->begin(), listing->end());
    // Under the lock of prune no list comes or goes. One that cannot be read may name any pack.
    auto condemned = condemned_packs(files_, repository_.keys(), repository_.path());
    if (!condemned && !is_lost_list(condemned.error())) return std::move(condemned).error();
    believes_others_ = condemned.ok();
    if (condemned) condemned_ = std::move(*condemned);
    const std::vector<PackId>& chosen = options_.packs.empty() ? *listing : options_.packs;
    for (const PackId& id : chosen) {
      if (!present_.contains(id)) {
        return Error{Code::not_found, 0, "repairing pack " + id.hex() + ": there is no such pack"};
      }
    }
    for (const PackId& id : chosen) {
      if (cancel.load()) return Error{Code::cancelled, 0, "repairing was cancelled"};
      if (progress) progress(report_.packs, chosen.size());
      TRY(repair(id));
      ++report_.packs;
    }
    name_deltas_of_lost_bases();
    return std::move(report_);
  }

 private:
  Result<void> repair(const PackId& id) {
    const Examination found = TRY(Examination::of(repository_, bases_, id));
    const auto& deltas = found.without_base();
    if (found.salvage().kind() == ChunkKind::data) {
      without_base_.insert(without_base_.end(), deltas.begin(), deltas.end());
    }
    if (found.is_whole()) return {};
    PackRepair result{.pack = id,
                      .fault = found.fault(),
                      .kept = found.good().size(),
                      .lost = {},
                      .complete = found.salvage().is_complete(),
                      .copy = std::nullopt,
                      .moved_to = {}};
    result.lost = lost(found, id);
    result.kept += found.bad().size() - result.lost.size();
    if (!options_.dry_run) TRY(mend(found, result));
    report_.damaged.push_back(std::move(result));
    return {};
  }

  // A delta of which the base was pruned is needed by nobody, and no damage; that of one which is
  // lost may be.
  void name_deltas_of_lost_bases() {
    std::set<ChunkId> lost;
    for (const PackRepair& pack : report_.damaged) lost.insert(pack.lost.begin(), pack.lost.end());
    for (bool found = true; found;) {  // deltas on deltas
      found = false;
      for (const Record& delta : without_base_) {
        if (!lost.contains(*delta.base) || lost.contains(delta.id)) continue;
        if (bases_.get(ChunkKind::data, delta.id)) continue;  // another copy reads
        lost.insert(delta.id);
        report_.without_base.push_back(delta.id);
        found = true;
      }
    }
  }

  Result<void> mend(const Examination& found, PackRepair& result) {
    TRY(copy_good(found, result));
    TRY(note_losses(result));
    // From here on the old file is needed by nobody: all that is good in it is durable elsewhere.
    const std::string path = pack_path("", result.pack);
    result.moved_to = TRY(set_aside(files_, repository_.path(), parent_folder(path.substr(1)),
                                    result.pack.hex(), "pack-"));
    present_.erase(result.pack);
    bases_.look_again();
    if (auto removed = repository_.index().remove_packs({result.pack}); !removed) {
      log::warning(removed.error().message);
    }
    return {};
  }

  Result<void> copy_good(const Examination& found, PackRepair& result) {
    const Salvage& salvage = found.salvage();
    std::unique_ptr<PackWriter> writer;
    for (const std::size_t slot : found.good()) {
      Record record = salvage.records()[slot];
      if (stands_elsewhere(salvage.kind(), record.id, result.pack)) continue;
      if (!writer) {
        writer =
            TRY(PackWriter::create(files_, repository_.keys(), repository_.path(), salvage.kind()));
      }
      const Bytes stored = TRY(salvage.read_stored(record));
      writer->reserve(record);
      TRY(writer->write(record, stored));
    }
    if (!writer) return {};
    TRY(writer->finish());
    TRY(repository_.chunks().sync_folders({writer->id()}));
    // What does not read back is no copy.
    const auto reader =
        TRY(PackReader::open(files_, repository_.keys(), repository_.path(), writer->id()));
    if (reader->records() != writer->records()) {
      return Error{Code::corrupt, 0,
                   "the copy of pack " + result.pack.hex() +
                       " does not read back: nothing was "
                       "moved"};
    }
    const PackContents contents{.pack = writer->id(), .chunks = chunk_ids(writer->records())};
    if (auto inserted = repository_.index().insert({contents}); !inserted) {
      log::warning(inserted.error().message + "; the copy is safe, the index catches up later");
    }
    present_.insert(writer->id());
    result.copy = writer->id();
    return {};
  }

  Result<void> note_losses(const PackRepair& result) {
    if (result.lost.empty() && result.complete) return {};
    std::vector<DamagedChunk> chunks;
    for (const ChunkId& chunk : result.lost) chunks.push_back({chunk, result.pack});
    std::vector<PackId> packs;
    if (!result.complete) packs.push_back(result.pack);
    return mark_damage(repository_, chunks, packs, options_.now);
  }

  // Of the records that are damaged, those of which no other pack holds a copy that reads. The
  // index names one copy; where that does not help, all footers are looked at.
  std::vector<ChunkId> lost(const Examination& found, const PackId& id) {
    const ChunkKind kind = found.salvage().kind();
    std::set<ChunkId> missing;
    for (const std::size_t slot : found.bad()) {
      const ChunkId& chunk = found.salvage().records()[slot].id;
      if (!stands_elsewhere(kind, chunk, id)) missing.insert(chunk);
    }
    for (auto pack = present_.begin(); pack != present_.end() && !missing.empty(); ++pack) {
      if (!may_hold_copies(*pack, id)) continue;
      const auto reader = repository_.chunks().pack(*pack);
      const auto count = reader ? (*reader)->records().size() : 0;
      for (std::uint32_t slot = 0; slot < count; ++slot) {
        const ChunkId& chunk = (*reader)->records()[slot].id;
        if (missing.contains(chunk) && read_copy(kind, chunk, {*pack, slot}, id, 0)) {
          missing.erase(chunk);
        }
      }
    }
    std::vector<ChunkId> list;
    for (const std::size_t slot : found.bad()) {
      const ChunkId& chunk = found.salvage().records()[slot].id;
      if (missing.contains(chunk)) list.push_back(chunk);
    }
    return list;
  }

  // Whether the pack is there to stay, as far as this repair and the lists of prune go.
  bool may_hold_copies(const PackId& pack, const PackId& besides) const {
    return believes_others_ && pack != besides && present_.contains(pack) &&
           !condemned_.contains(pack);
  }

  // Whether another pack than `besides` holds a copy that reads when `besides` is gone.
  bool stands_elsewhere(ChunkKind kind, const ChunkId& chunk, const PackId& besides) {
    return read_elsewhere(kind, chunk, besides, 0) != nullptr;
  }

  std::shared_ptr<const Bytes> read_elsewhere(ChunkKind kind, const ChunkId& chunk,
                                              const PackId& besides, std::size_t depth) {
    const auto location = repository_.index().find(chunk);
    if (!location || !*location) return nullptr;
    return read_copy(kind, chunk, **location, besides, depth);
  }

  // Each base has to be read in the same way: the one that any reader would find may stand in
  // `besides` alone, as a delta on the very chunk that is asked for.
  std::shared_ptr<const Bytes> read_copy(ChunkKind kind, const ChunkId& chunk, const Location& at,
                                         const PackId& besides, std::size_t depth) {
    if (depth > kMaxDeltaDepth || !may_hold_copies(at.pack, besides)) return nullptr;
    const auto reader = repository_.chunks().pack(at.pack);
    if (!reader || (*reader)->kind() != kind) return nullptr;
    const auto& records = (*reader)->records();
    if (at.slot >= records.size() || records[at.slot].id != chunk) return nullptr;
    std::shared_ptr<const Bytes> base;
    if (records[at.slot].base) {
      base = read_elsewhere(kind, *records[at.slot].base, besides, depth + 1);
      if (!base) return nullptr;
    }
    auto raw = (*reader)->read(at.slot, base ? ByteView(*base) : ByteView());
    if (!raw || repository_.keys().chunk_id(kind, *raw) != chunk) return nullptr;
    return std::make_shared<const Bytes>(std::move(*raw));
  }

  Repository& repository_;
  Files& files_;
  const RepairOptions& options_;
  BasesElsewhere bases_;
  std::unordered_set<PackId, IdHash> present_;
  std::vector<Record> without_base_;  // data, of all packs looked at
  PackSet condemned_;                 // packs that a prune is about to delete
  bool believes_others_ = false;      // whether it is known which these are
  RepairReport report_;
};

}  // namespace

Result<RepairReport> repair_packs(Repository& repository, const RepairOptions& options,
                                  const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                                  const std::atomic<bool>& cancel) {
  return PackRepairer(repository, options).run(progress, cancel);
}

}  // namespace bygone::store
