// SPDX-License-Identifier: Apache-2.0
#include "store/session.h"

#include <algorithm>
#include <set>

#include "store/base/codec.h"
#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/damage_marks.h"
#include "store/index.h"
#include "store/locks.h"
#include "store/notes.h"
#include "store/reserve.h"
#include "store/temp_file.h"
#include "store/zone.h"

namespace bygone::store {
namespace {

constexpr std::size_t kMaxToFinish = 2;          // packs that may wait for their fdatasync
constexpr std::size_t kIndexBatch = 256u << 10;  // rows kept in memory before they are inserted

}  // namespace

struct Session::ActivePack {
  std::unique_ptr<PackWriter> writer;
  std::size_t pending = 0;  // reserved records that are not written yet; guarded by mutex_
  bool closing = false;     // takes no more records; guarded by mutex_
};

Session::Session(Repository& repository, Compression compression)
    : repository_(repository), page_compressor_(compression) {}

Result<std::unique_ptr<Session>> Session::begin(Repository& repository, Compression compression) {
  std::unique_ptr<Session> session(new Session(repository, compression));
  session->generation_lock_ = TRY(lock_generation(repository.files(), repository.path()));
  TRY(clean_temp_folder(repository.files(), repository.path() + "/tmp"));
  renew_reserve(repository.files(), repository.path());
  TRY(session->list_packs());
  session->finisher_ = std::thread([raw = session.get()] { raw->finish_packs(); });
  return session;
}

// The listing says which packs count as stored; the index is only asked where in them.
Result<void> Session::list_packs() {
  ChunkStore& chunks = repository_.chunks();
  // Lists before packs: what a list that is gone by then has named is deleted, or stands again.
  const auto condemned =
      condemned_packs(repository_.files(), repository_.keys(), repository_.path());
  if (!condemned && condemned.error().code != Code::corrupt) return condemned.error();
  const auto known = repository_.index().packs();
  auto listing = chunks.adopt_packs();
  if (!listing) {
    log::warning(listing.error().message + ": rebuilding the index");
    auto rebuilt = chunks.rebuild_index();
    if (!rebuilt) {
      log::warning(rebuilt.error().message +
                   ": going on without the index, chunks may be stored "
                   "once more");
    }
    listing = chunks.list_packs();
  }
  if (!listing) return std::move(listing).error().with("listing packs");
  if (!condemned) {
    log::warning(condemned.error().message +
                 ": no pack can be trusted to stay, chunks are stored once more; hint: bygone "
                 "prune mends the list");
    return {};
  }
  listing_.insert(listing->begin(), listing->end());
  std::vector<PackId> expected;  // what a list names may be deleted this moment
  for (const PackId& pack : known ? *known : std::vector<PackId>()) {
    if (!condemned->contains(pack)) expected.push_back(pack);
  }
  TRY(look_for_damage(expected, *listing));
  for (const PackId& pack : *condemned) listing_.erase(pack);
  return {};
}

// Cheap where all is well: no notes, and an index that knows just the packs that are there.
Result<void> Session::look_for_damage(const std::vector<PackId>& known,
                                      const std::vector<PackId>& listing) {
  Index& index = repository_.index();
  const std::unordered_set<PackId, IdHash> present(listing.begin(), listing.end());
  std::vector<PackId> gone;
  for (const PackId& pack : known) {
    if (!present.contains(pack)) gone.push_back(pack);
  }
  // An index elsewhere does not learn what a prune has deleted; the one in the repository does.
  if (!gone.empty() && index.folder() == repository_.path() + "/index") {
    log::warning(std::to_string(gone.size()) +
                 " packs are missing that the index knows: what unchanged files need is looked up; "
                 "hint: bygone verify tells what is lost");
    TRY(mark_damage(repository_, {}, gone, system_now()));
  }
  if (!gone.empty()) {
    if (auto removed = index.remove_packs(gone); !removed) log::info(removed.error().message);
  }
  const auto adopted = index.packs();
  const Notes notes = TRY(read_notes(repository_));
  DamageMarks marks(notes);
  may_lack_chunks_ = !gone.empty() || index.is_fresh() || !notes.unreadable().empty() ||
                     !marks.packs().empty() || !adopted || adopted->size() < listing.size();
  const auto marked = marks.chunks();
  repository_.chunks().pass_by(std::move(marks));
  for (const DamagedChunk& each : marked) {
    if (may_lack_chunks_) break;  // one is enough
    may_lack_chunks_ = !has(ChunkKind::data, each.chunk) && !has(ChunkKind::page, each.chunk);
  }
  return {};
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

Session::~Session() {
  if (!finisher_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  finisher_.join();
}

Result<ClaimedSource> Session::claim(SourceKind kind, const std::string& host_id,
                                     const std::string& host, const std::string& name) {
  Files& files = repository_.files();
  ClaimedSource source;
  source.added_before = added_bytes();
  const std::string lock_key = host_id + '\0' + name;
  const std::string lock_path =
      repository_.path() + "/locks/source/" +
      to_hex(repository_.keys().name_tag("bygone.source", as_bytes(lock_key)));
  source.lock = TRY(lock_exclusively(files, lock_path, "backup",
                                     "another backup of " + printable(name) + " is running",
                                     "--retry-lock 5m waits for it"));
  TRY(read_history(source, kind, host_id, host, name));
  return source;
}

// Forgotten records count for everything but the parent: numbers and listed names are never given
// twice, so that one can come back from the trash.
Result<void> Session::read_history(ClaimedSource& source, SourceKind kind,
                                   const std::string& host_id, const std::string& host,
                                   const std::string& name) {
  std::vector<std::string> damaged;
  std::vector<Snapshot> live, trashed;
  {
    const Fd names = TRY(lock_names(repository_.files(), repository_.path(), Lock::shared));
    live = TRY(repository_.snapshots(&damaged));
    trashed = TRY(repository_.trashed_snapshots(&damaged));
  }
  std::set<std::string> taken;  // by sources of other hosts
  std::optional<Snapshot> newest;
  const auto take = [&](Snapshot& snapshot, bool is_live) -> Result<void> {
    if (snapshot.name != name || snapshot.host_id != host_id) {
      taken.insert(std::move(snapshot.display_name));
      return {};
    }
    if (snapshot.kind != kind) {
      return Error{Code::invalid, 0,
                   printable(name) + " is the name of a " + to_text(snapshot.kind) +
                       " here already; hint: give this " + to_text(kind) + " another name"};
    }
    source.listed_names.push_back(snapshot.listed_name);
    if (!newest || snapshot.sequence > newest->sequence) newest = snapshot;
    if (!is_live) return {};
    if (!source.parent || snapshot.sequence > source.parent->sequence) {
      source.parent = std::move(snapshot);
    }
    return {};
  };
  for (Snapshot& snapshot : live) TRY(take(snapshot, true));
  for (Snapshot& snapshot : trashed) TRY(take(snapshot, false));
  // One bad record does not end all backups; what it costs is for verify to say.
  for (const std::string& line : damaged) log::warning(line);
  source.id = newest ? newest->source : random_id<SourceId>();
  source.sequence = newest ? newest->sequence : 0;
  source.newest = newest ? newest->id : SnapshotId{};
  source.display_name = newest ? newest->display_name : name;
  for (int n = 1; !newest && taken.contains(source.display_name); ++n) {
    source.display_name = name + "+" + host + (n == 1 ? "" : "~" + std::to_string(n));
  }
  return {};
}

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
  thread_local Bytes buffer;
  auto stored = encode(record, raw, compressor, hint, buffer);
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
  const bool made = TRY(make_delta(repository_.keys(), *chain, raw, compressor, record, buffer));
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
  if (written) stored_.emplace(record.id, Place{pack, slot});
  claimed_.erase(record.id);
  --pack->pending;
  if (pack->closing && pack->pending == 0) to_finish_.push_back(pack);
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
  std::set<std::string> buckets;
  std::vector<PackContents> contents;
  for (const auto& pack : packs) {
    buckets.insert(parent_folder(pack_path(repository_.path(), pack->writer->id())));
    PackContents each{.pack = pack->writer->id(), .chunks = {}};
    for (const Record& record : pack->writer->records()) each.chunks.push_back(record.id);
    contents.push_back(std::move(each));
  }
  for (const std::string& bucket : buckets) TRY(repository_.files().sync_directory(bucket));
  {
    const std::unique_lock lock(listing_mutex_);
    for (const auto& pack : packs) listing_.insert(pack->writer->id());
  }
  if (auto inserted = repository_.index().insert(contents); !inserted) {
    log::warning(inserted.error().message + "; the packs are safe, the index catches up later");
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
  return insert_finished();
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

std::uint64_t Session::volume_tag(const SourceId& source, std::string_view destination) const {
  Bytes key(source.bytes.begin(), source.bytes.end());
  key.insert(key.end(), destination.begin(), destination.end());
  const auto tag = repository_.keys().name_tag("bygone.volume", key);
  return Reader(tag).u64().value();
}

// Unchanged files keep the parent's chunks. While the parent is there, in the trash at least, they
// are marked; once it has left before this snapshot arrived, a prune that began earlier may be
// deleting them. The caller holds the lock on names until the record is there.
Result<void> Session::check_parent(const ClaimedSource& source) {
  if (!source.parent) return {};
  const std::string id = source.parent->id.hex();
  for (const char* folder : {"/snapshots/", "/trash/"}) {
    const auto info = repository_.files().info(repository_.path() + folder + id);
    if (info) return {};
    if (info.error().code != Code::not_found) return info.error();
  }
  return Error{Code::busy, 0,
               "snapshot " + id +
                   ", on which this one builds, was removed for good while the "
                   "backup ran; hint: run the backup again"};
}

Result<Snapshot> Session::commit(ClaimedSource& source, Snapshot snapshot) {
  TRY(flush());
  snapshot.source = source.id;
  snapshot.display_name = source.display_name;
  snapshot.sequence = source.sequence + 1;
  snapshot.previous = source.newest;
  snapshot.listed_name = make_listed_name(snapshot.zone, snapshot.instant, source.listed_names);
  snapshot.added_bytes = added_bytes() - committed_bytes_;
  const Bytes encoded = encode_snapshot(snapshot);
  // What cannot be read back is not written.
  snapshot.id = repository_.keys().snapshot_id(encoded);
  Snapshot again = TRY(decode_snapshot(encoded));
  again.id = snapshot.id;
  if (again != snapshot) {
    return Error{Code::corrupt, 0, "the snapshot record does not read back as it was written"};
  }
  const std::string name = snapshot.id.hex();
  const Bytes sealed = repository_.keys().seal_object(ObjectKind::snapshot, name, encoded);
  const Fd names = TRY(lock_names(repository_.files(), repository_.path(), Lock::shared));
  TRY(check_parent(source));
  TRY(write_durably(repository_.files(), repository_.path() + "/tmp",
                    repository_.path() + "/snapshots", name, sealed));
  if (auto kept = repository_.index().keep_snapshot(snapshot.id, sealed); !kept) {
    log::warning(kept.error().message);
  }
  committed_bytes_ += snapshot.added_bytes;
  source.listed_names.push_back(snapshot.listed_name);
  source.sequence = snapshot.sequence;
  source.newest = snapshot.id;
  source.parent = snapshot;
  return snapshot;
}

}  // namespace bygone::store
