// SPDX-License-Identifier: Apache-2.0
#include "store/repack.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <fmt/core.h>

#include "store/base/codec.h"
#include "store/base/log.h"
#include "store/chunk_store.h"

namespace bygone::store {
namespace {

constexpr std::size_t kDecodedBytes = 16u << 20;  // bases that the next deltas need as well

// What of a record decides how long it and its line in the table are.
struct Measures {
  std::uint64_t volume_tag = 0;
  std::uint32_t raw_size = 0;
  std::uint32_t stored_size = 0;
  std::uint16_t n = 0;
  bool has_base = false;
};

Measures measures_of(const Record& record) {
  return {.volume_tag = record.volume_tag,
          .raw_size = record.raw_size,
          .stored_size = record.stored_size,
          .n = record.n,
          .has_base = record.base.has_value()};
}

// A record as long as the one that was measured.
Record record_like(const Measures& measures) {
  Record record;
  record.volume_tag = measures.volume_tag;
  record.raw_size = measures.raw_size;
  record.stored_size = measures.stored_size;
  record.n = measures.n;
  if (measures.has_base) record.base = ChunkId{};
  return record;
}

// What PackWriter makes of these records, whose offsets are set here.
std::uint64_t pack_size(std::vector<Record>& records) {
  std::uint64_t end = kPackHeaderBytes;
  for (Record& record : records) {
    record.offset = end;
    end = align_record(end + record.pack_bytes());
  }
  constexpr std::size_t kSection = 8 + 2 * kTagBytes;
  const std::uint64_t whole =
      end + kSection + encode_record_table(records).size() + kSealedTrailerBytes;
  return std::max(padded_size(whole), whole);
}

}  // namespace

Repacker::Repacker(Repository& repository, const RecordTable& table,
                   const std::atomic<bool>& cancel, Step step)
    : repository_(repository),
      table_(table),
      cancel_(cancel),
      step_(std::move(step)),
      decoded_(kDecodedBytes) {}

Repacker::~Repacker() = default;

// Valid until the next call.
Result<const Record*> Repacker::record(Ordinal ordinal) {
  const RecordTable::Pack& pack = table_.pack_of(ordinal);
  if (!reader_ || reader_->id() != pack.id) reader_ = TRY(repository_.chunks().pack(pack.id));
  return &reader_->records()[ordinal - pack.first];
}

// The order of `ordinals` goes to and fro between packs: they are read in their own order first,
// each pack once.
Result<std::uint64_t> Repacker::planned_bytes(const std::vector<Ordinal>& ordinals) {
  std::vector<std::size_t> by_pack(ordinals.size());
  std::iota(by_pack.begin(), by_pack.end(), std::size_t{0});
  std::sort(by_pack.begin(), by_pack.end(),
            [&](std::size_t a, std::size_t b) { return ordinals[a] < ordinals[b]; });
  std::vector<Measures> measures(ordinals.size());
  for (const std::size_t i : by_pack) measures[i] = measures_of(*TRY(record(ordinals[i])));
  std::uint64_t total = 0;
  std::uint64_t end = kPackHeaderBytes;
  std::vector<Record> open;
  for (const Measures& each : measures) {
    open.push_back(record_like(each));
    end = align_record(end + open.back().pack_bytes());
    if (end < kPackTarget) continue;
    total += pack_size(open);
    open.clear();
    end = kPackHeaderBytes;
  }
  return open.empty() ? total : total + pack_size(open);
}

Result<std::optional<Ordinal>> Repacker::base_of(ChunkKind kind, const Record& record) const {
  std::optional<Ordinal> base;
  if (record.base) {
    base = table_.find(kind, *record.base);
    if (!base) {
      return Error{Code::corrupt, 0, "the base of chunk " + record.id.hex() + " is in no pack"};
    }
  }
  return base;
}

// What a record decodes to, not compared with its id: whoever asks has a hash to compare, its own
// or that of a delta upon it, which no wrong base survives.
Result<std::shared_ptr<const Bytes>> Repacker::decode(Ordinal ordinal) {
  if (const auto hit = decoded_.find(ordinal)) return *hit;
  const RecordTable::Pack& pack = table_.pack_of(ordinal);
  const auto reader = TRY(repository_.chunks().pack(pack.id));
  const std::uint32_t slot = ordinal - pack.first;
  const auto base = TRY(base_bytes(pack.kind, reader->records()[slot]));
  auto bytes = std::make_shared<const Bytes>(TRY(reader->read(slot, *base)));
  decoded_.insert(ordinal, bytes, bytes->size());
  return bytes;
}

// Ends: each base has a shorter chain than its delta (record_table.h).
Result<std::shared_ptr<const Bytes>> Repacker::base_bytes(ChunkKind kind, const Record& record) {
  const auto base = TRY(base_of(kind, record));
  return base ? decode(*base) : std::make_shared<const Bytes>();
}

Result<void> Repacker::prove(Ordinal ordinal) {
  if (proven_.contains(ordinal)) return {};
  const RecordTable::Pack& pack = table_.pack_of(ordinal);
  const Record record = *TRY(this->record(ordinal));
  if (repository_.keys().chunk_id(pack.kind, *TRY(decode(ordinal))) != record.id) {
    // The lowest of the chain that is wrong is the one to name.
    if (const auto base = TRY(base_of(pack.kind, record))) TRY(prove(*base));
    return Error{Code::corrupt, 0,
                 fmt::format("chunk {} in pack {} decodes to other bytes than its id names",
                             record.id.hex(), pack.id.hex())};
  }
  proven_.insert(ordinal);
  return {};
}

Result<void> Repacker::prove_survivors(const Survey& survey, const std::vector<bool>& leaves,
                                       const PackSet& proven) {
  PackSet packs;
  for (std::size_t number = 0; number < leaves.size(); ++number) {
    if (!leaves[number]) continue;
    const RecordTable::Pack& pack = table_.packs()[number];
    const auto reader = TRY(repository_.chunks().pack(pack.id));
    for (std::uint32_t slot = 0; slot < pack.records; ++slot) {
      const auto kept = table_.find(pack.kind, reader->records()[slot].id);
      if (!kept || !survey.is_kept(*kept) || leaves[table_.pack_number(*kept)]) continue;
      if (proven.contains(table_.pack_of(*kept).id)) continue;
      TRY(prove(*kept));
      TRY(add_packs(*kept, packs));
    }
  }
  return repository_.chunks().sync_folders({packs.begin(), packs.end()});
}

// The packs that a record is read from.
Result<void> Repacker::add_packs(Ordinal ordinal, PackSet& packs) {
  for (std::optional<Ordinal> at = ordinal; at;) {
    const RecordTable::Pack& pack = table_.pack_of(*at);
    packs.insert(pack.id);
    at = TRY(base_of(pack.kind, *TRY(record(*at))));
  }
  return {};
}

// The proof is of what has gone through this memory and the new pack: one that holds for the copy
// holds for the record it was made of. When it does not, the record says whose fault that is.
Result<void> Repacker::copy_one(Ordinal ordinal, PackWriter& writer) {
  const RecordTable::Pack& pack = table_.pack_of(ordinal);
  Record record = *TRY(this->record(ordinal));
  const Bytes stored = TRY(reader_->read_stored(ordinal - pack.first));
  const auto base = TRY(base_bytes(pack.kind, record));
  const std::uint32_t slot = writer.reserve(record);
  TRY(writer.write(record, stored));
  const auto again = writer.read(slot, *base);
  if (!again || repository_.keys().chunk_id(pack.kind, *again) != record.id) {
    TRY(prove(ordinal));
    if (!again) return again.error();
    return Error{Code::corrupt, 0,
                 fmt::format("chunk {} does not read back from its new pack; hint: the memory or "
                             "the disk of this machine may be faulty",
                             record.id.hex())};
  }
  if (step_) step_(record.pack_bytes());
  return {};
}

Result<void> Repacker::finish(PackWriter& writer, const std::vector<Ordinal>& ordinals) {
  TRY(writer.finish());
  const auto reader = TRY(
      PackReader::open(repository_.files(), repository_.keys(), repository_.path(), writer.id()));
  if (reader->records() != writer.records()) {
    return Error{Code::corrupt, 0,
                 "pack " + writer.id().hex() + " does not read back as it was written"};
  }
  made_.push_back({.pack = writer.id(), .chunks = chunk_ids(writer.records())});
  bytes_written_ += reader->size_bytes();
  copied_.insert(ordinals.begin(), ordinals.end());
  return {};
}

Result<void> Repacker::copy_all(const std::vector<Ordinal>& ordinals) {
  std::unique_ptr<PackWriter> writer;
  std::vector<Ordinal> open;
  for (const Ordinal ordinal : ordinals) {
    if (cancel_.load()) return Error{Code::cancelled, 0, "copying records was cancelled"};
    if (!writer) {
      writer = TRY(PackWriter::create(repository_.files(), repository_.keys(), repository_.path(),
                                      table_.pack_of(ordinal).kind));
    }
    TRY(copy_one(ordinal, *writer));
    open.push_back(ordinal);
    if (writer->size_bytes() < kPackTarget) continue;
    TRY(finish(*writer, open));
    writer.reset();
    open.clear();
  }
  return writer ? finish(*writer, open) : Result<void>();
}

void Repacker::add_written(PackSet& packs) const {
  for (const PackContents& pack : made_) packs.insert(pack.pack);
}

Result<bool> Repacker::copy(const std::vector<Ordinal>& ordinals) {
  auto copied = copy_all(ordinals);
  if (!copied && copied.error().code == Code::no_space) return false;
  if (!copied) return std::move(copied).error();
  return true;
}

Result<void> Repacker::publish() {
  if (made_.empty()) return {};
  TRY(repository_.chunks().sync_folders(pack_ids(made_)));
  if (auto inserted = repository_.index().insert(made_); !inserted) {
    log::warning(inserted.error().message + "; the packs are safe, the index catches up later");
  }
  return {};
}

}  // namespace bygone::store
