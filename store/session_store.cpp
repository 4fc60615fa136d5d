// SPDX-License-Identifier: Apache-2.0
// The half of session.h that stores: from a chunk to a durable pack with its rows in the index.
#include <utility>

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/index.h"
#include "store/session.h"

namespace bygone::store {
namespace {

constexpr std::size_t kMaxToFinish = 2;          // packs that may wait for their fdatasync
constexpr std::size_t kIndexBatch = 256u << 10;  // rows kept in memory before they are inserted

// Room for a compressed chunk, kept from one to the next. Its thread has no other while this lives:
// who stores from within a call to the file system, as tests do, gets one of his own.
class Room {
 public:
  Room() : bytes(std::exchange(spare(), {})) {}
  ~Room() { spare() = std::move(bytes); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  Bytes bytes;

 private:
  static Bytes& spare() {
    thread_local Bytes kept;
    return kept;
  }
};

}  // namespace

struct Session::ActivePack {
  std::unique_ptr<PackWriter> writer;
  std::size_t pending = 0;  // reserved records that are not written yet; guarded by mutex_
  bool closing = false;     // takes no more records; guarded by mutex_
  bool broken = false;      // lacks a record that its table would name; guarded by mutex_
};

Error Session::fail(Error error) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = error;
  changed_.notify_all();
  return error;
}

Result<bool> Session::is_known(ChunkKind kind, const ChunkId& id) {
  const std::shared_lock lock(listing_mutex_);
  auto stored = repository_.chunks().is_stored(kind, id, listing_);
  if (stored) return stored;
  // The index failed. It is a cache: without it the chunk is merely stored once more.
  log::info(stored.error().message);
  return false;
}

Result<ChunkId> Session::put_data(ByteView raw, std::uint64_t volume_tag, Compressor& compressor,
                                  const ChunkHint& hint) {
  const ChunkId id = hint.id ? *hint.id : repository_.keys().chunk_id(ChunkKind::data, raw);
  TRY(store(ChunkKind::data, id, raw, volume_tag, compressor, hint));
  return id;
}

Result<void> Session::put_page(const ChunkId& id, Bytes page) {
  return store(ChunkKind::page, id, page, 0, page_compressor_, {});
}

Result<void> Session::store(ChunkKind kind, const ChunkId& id, ByteView raw,
                            std::uint64_t volume_tag, Compressor& compressor,
                            const ChunkHint& hint) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return *failure_;
    // Whoever claimed it first stores it; should that fail, the whole session does.
    if (stored_.contains(id) || !claimed_.insert(id).second) return {};
  }
  const auto release = [&] {
    const std::lock_guard lock(mutex_);
    claimed_.erase(id);
    changed_.notify_all();
  };
  if (TRY(is_known(kind, id))) {
    release();
    return {};
  }
  Record record;
  record.id = id;
  record.volume_tag = volume_tag;
  record.raw_size = static_cast<std::uint32_t>(raw.size());
  Room room;
  auto stored = encode(record, raw, compressor, hint, room.bytes);
  if (!stored) return fail(std::move(stored).error());
  auto put = put_record(kind, record, *stored);
  if (!put) return fail(std::move(put).error());
  return {};
}

// The bytes that go into the pack, which `record` then describes.
Result<ByteView> Session::encode(Record& record, ByteView raw, Compressor& compressor,
                                 const ChunkHint& hint, Bytes& buffer) {
  if (TRY(encode_delta(record, raw, compressor, hint, buffer))) return ByteView(buffer);
  const bool shrunk = TRY(compressor.compress(raw, buffer));
  const ByteView stored = shrunk ? ByteView(buffer) : raw;
  record.codec = shrunk ? kCodecZstd : kCodecRaw;
  record.stored_size = static_cast<std::uint32_t>(stored.size());
  return stored;
}

Result<bool> Session::encode_delta(Record& record, ByteView raw, Compressor& compressor,
                                   const ChunkHint& hint, Bytes& buffer) {
  if (!hint.predecessor || (hint.trials && !hint.trials->next())) return false;
  const auto chain =
      follow_chain(*hint.predecessor, [this](const ChunkId& id) { return find_link(id); });
  if (!chain) {
    log::info(chain.error().message);  // the index failed: the chunk is stored whole
    return false;
  }
  if (chain->empty()) return false;
  const bool made = TRY(make_delta(*chain, raw, compressor, record, buffer));
  if (hint.trials) hint.trials->note(made);
  return made;
}

// A record that a delta may build on: of this session, or in a pack that counts as stored. One that
// another thread is writing this moment is none: who waited for it could wait for himself.
Result<std::optional<Link>> Session::find_link(const ChunkId& id) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = stored_.find(id);
    if (found != stored_.end()) {
      const Place& place = found->second;
      const PackWriter& writer = *place.pack->writer;
      if (writer.kind() != ChunkKind::data) return std::optional<Link>();
      return std::optional<Link>({writer.record(place.slot),
                                  std::shared_ptr<const RecordReader>(place.pack, &writer),
                                  place.slot});
    }
  }
  const std::shared_lock lock(listing_mutex_);
  return repository_.chunks().find_link(ChunkKind::data, id, listing_);
}

Result<void> Session::put_record(ChunkKind kind, Record record, ByteView stored) {
  const std::size_t which = kind == ChunkKind::data ? 0 : 1;
  std::shared_ptr<ActivePack> pack;
  std::uint32_t slot = 0;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return to_finish_.size() < kMaxToFinish || failure_; });
    if (failure_) return *failure_;
    if (!current_[which]) {
      current_[which] = std::make_shared<ActivePack>();
      auto writer =
          PackWriter::create(repository_.files(), repository_.keys(), repository_.path(), kind);
      if (!writer) {
        current_[which].reset();
        return std::move(writer).error();
      }
      current_[which]->writer = std::move(writer).value();
    }
    pack = current_[which];
    slot = pack->writer->reserve(record);
    ++pack->pending;
    if (pack->writer->size_bytes() >= kPackTarget) {
      pack->closing = true;
      current_[which].reset();
    }
  }
  auto written = pack->writer->write(record, stored);
  added_bytes_ += record.pack_bytes();
  const std::lock_guard lock(mutex_);
  if (written) {
    stored_.emplace(record.id, Place{pack, slot});
  } else {
    // Under a good footer later sessions would take the hole for the chunk. Before the lock is let
    // go: whoever comes next must see it.
    pack->broken = true;
    if (!failure_) failure_ = written.error();
  }
  claimed_.erase(record.id);
  --pack->pending;
  if (pack->closing && pack->pending == 0 && !pack->broken) to_finish_.push_back(pack);
  changed_.notify_all();
  return written;
}

void Session::finish_packs() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !to_finish_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<ActivePack> pack = to_finish_.front();
    ++finishing_;
    lock.unlock();
    auto done = finish_pack(pack);
    lock.lock();
    to_finish_.pop_front();
    --finishing_;
    if (!done && !failure_) failure_ = std::move(done).error();
    changed_.notify_all();
  }
}

Result<void> Session::finish_pack(const std::shared_ptr<ActivePack>& pack) {
  TRY(pack->writer->finish());
  std::size_t rows = 0;
  {
    const std::lock_guard lock(mutex_);
    finished_.push_back(pack);
    for (const auto& each : finished_) rows += each->writer->records().size();
  }
  return rows >= kIndexBatch ? insert_finished() : Result<void>();
}

// Rows go in only for packs whose names are durable: whoever finds a row may build on it.
Result<void> Session::insert_finished() {
  std::vector<std::shared_ptr<ActivePack>> packs;
  {
    const std::lock_guard lock(mutex_);
    packs.swap(finished_);
  }
  if (packs.empty()) return {};
  std::vector<PackContents> contents;
  contents.reserve(packs.size());
  for (const auto& pack : packs) {
    contents.push_back({.pack = pack->writer->id(), .chunks = chunk_ids(pack->writer->records())});
  }
  TRY(repository_.chunks().sync_folders(pack_ids(contents)));
  {
    const std::unique_lock lock(listing_mutex_);
    for (const auto& pack : packs) listing_.insert(pack->writer->id());
  }
  if (auto inserted = repository_.index().insert(contents); !inserted) {
    log::warning(inserted.error().message + "; the packs are safe, the index catches up later");
    losses_.reset();
    return {};  // the chunks stay known through stored_
  }
  const std::lock_guard lock(mutex_);
  for (const PackContents& pack : contents) {
    for (const ChunkId& id : pack.chunks) stored_.erase(id);
  }
  return {};
}

Result<void> Session::flush() {
  {
    std::unique_lock lock(mutex_);
    if (failure_) return *failure_;  // a pack that lacks a record may be among the current ones
    for (auto& pack : current_) {
      if (!pack) continue;
      pack->closing = true;
      CHECK(pack->pending == 0);  // no put_data() runs beside commit()
      to_finish_.push_back(std::move(pack));
      pack.reset();
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return failure_ || (to_finish_.empty() && finishing_ == 0); });
    if (failure_) return *failure_;
  }
  // What a sync that failed has lost, no later one finds: the next commit must not begin there.
  auto done = insert_finished();
  return done ? Result<void>() : fail(std::move(done).error());
}

Result<std::shared_ptr<const Bytes>> Session::get(ChunkKind kind, const ChunkId& id) {
  std::optional<Place> place;
  {
    // What another thread is storing this moment is there in the next one.
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failure_ || !claimed_.contains(id); });
    if (claimed_.contains(id)) return *failure_;
    const auto found = stored_.find(id);
    if (found != stored_.end()) place = found->second;
  }
  if (!place) return repository_.chunks().get(kind, id);
  if (place->pack->writer->kind() != kind) {
    return Error{Code::corrupt, 0, "chunk " + id.hex() + " is of another kind than asked for"};
  }
  const Record record = place->pack->writer->record(place->slot);
  std::shared_ptr<const Bytes> base;
  if (record.base) base = TRY(get(kind, *record.base));
  return std::make_shared<const Bytes>(
      TRY(place->pack->writer->read(place->slot, base ? ByteView(*base) : ByteView())));
}

bool Session::has(ChunkKind kind, const ChunkId& id) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = stored_.find(id); found != stored_.end()) {
      return found->second.pack->writer->kind() == kind;
    }
  }
  const auto known = is_known(kind, id);
  return known.ok() && *known;
}

}  // namespace bygone::store
