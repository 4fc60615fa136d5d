// SPDX-License-Identifier: Apache-2.0
#include "store/chunk_store.h"

#include <cerrno>

#include "store/base/log.h"
#include "store/pack_writer.h"

namespace bygone::store {
namespace {

constexpr std::size_t kPackCacheBytes = 16u << 20;
// Each open pack is a descriptor: at most 256 of them, however few records they hold.
constexpr std::size_t kPackCost = 64u << 10;
constexpr std::size_t kFailures = 4096;
constexpr std::chrono::seconds kFailureLasts{30};
constexpr std::size_t kAdoptBatch = 256u << 10;  // rows inserted in one transaction

Error no_such_chunk(const ChunkId& id) {
  return Error{Code::not_found, 0, "chunk " + id.hex() + " is in no pack"};
}

// A sector that the disk cannot read is damage like any other: another copy may be whole.
bool is_damaged_copy(const Error& error) {
  return error.code == Code::corrupt || error.errnum == EIO;
}

}  // namespace

ChunkStore::ChunkStore(Files& files, const KeyRing& keys, std::string repository, Index& index,
                       std::size_t cache_bytes)
    : files_(files),
      keys_(keys),
      repository_(std::move(repository)),
      index_(index),
      chunks_(cache_bytes),
      packs_(kPackCacheBytes),
      failures_(kFailures) {}

ChunkStore::~ChunkStore() = default;

Result<std::shared_ptr<const PackReader>> ChunkStore::pack(const PackId& id) {
  if (auto hit = packs_.find(id)) return *hit;
  auto reader = TRY(PackReader::open(files_, keys_, repository_, id));
  packs_.insert(id, reader, std::max(kPackCost, reader->records().size() * sizeof(Record)));
  return reader;
}

void ChunkStore::close_removed_packs() {
  for (const auto& reader : packs_.values()) {
    // One that cannot be looked at goes, too: whoever needs it opens it again, or hears why not.
    const auto removed = reader->is_removed();
    if (!removed.ok() || *removed) packs_.erase(reader->id());
  }
}

Result<std::shared_ptr<const Bytes>> ChunkStore::read_at(ChunkKind kind, const ChunkId& id,
                                                         const Location& at, int depth) {
  auto reader = TRY(pack(at.pack));
  if (reader->kind() != kind || at.slot >= reader->records().size() ||
      reader->records()[at.slot].id != id) {
    return no_such_chunk(id);  // a wrong row: the index is asked again, more slowly
  }
  const Record& record = reader->records()[at.slot];
  std::shared_ptr<const Bytes> base;
  if (record.base) {
    if (depth >= static_cast<int>(kMaxDeltaDepth)) {
      return Error{Code::corrupt, 0, "chunk " + id.hex() + ": its chain of deltas is too long"};
    }
    base = TRY(fetch(kind, *record.base, depth + 1));
  }
  auto bytes = TRY(reader->read(at.slot, base ? ByteView(*base) : ByteView()));
  decoded_bytes_ += bytes.size();
  return std::make_shared<const Bytes>(std::move(bytes));
}

Result<std::shared_ptr<const Bytes>> ChunkStore::fetch(ChunkKind kind, const ChunkId& id,
                                                       int depth) {
  if (kind == ChunkKind::data) {
    if (auto hit = chunks_.find(id)) return *hit;
  }
  const auto location = index_.find(id);
  const std::optional<Location> at = location.ok() ? *location : std::nullopt;
  auto result = at ? read_at(kind, id, *at, depth) : no_such_chunk(id);
  if (!result) {
    const Error& error = result.error();
    if (error.code != Code::not_found && !is_damaged_copy(error)) return result;
    const auto now = std::chrono::steady_clock::now();
    const auto failure = failures_.find(id);
    if (failure && now < failure->until) return failure->error;
    result = fetch_slowly(kind, id, at, std::move(result).error(), depth);
    if (!result) failures_.insert(id, {result.error(), now + kFailureLasts}, 1);
  }
  if (result && kind == ChunkKind::data) chunks_.insert(id, *result, (*result)->size());
  return result;
}

// The index gave no answer or a wrong one, or the record that it named is damaged: footers decide.
// `error` tells what came of `tried`.
Result<std::shared_ptr<const Bytes>> ChunkStore::fetch_slowly(ChunkKind kind, const ChunkId& id,
                                                              const std::optional<Location>& tried,
                                                              Error error, int depth) {
  bool is_misplaced = false;
  if (error.code == Code::not_found) {
    const auto found = find_adopted(id);
    is_misplaced = !found;
    if (found && found != tried) {
      auto result = read_at(kind, id, *found, depth);
      if (result) return result;
      error = std::move(result).error();
    }
  }
  const std::vector<Location> copies = find_copies(id);
  // An index that does not know what no footer shows is right: prune takes the bases of deltas that
  // nothing needs, and those may be asked for one by one.
  if (is_misplaced && !copies.empty()) rebuild_once(id);
  for (const Location& copy : copies) {
    if (copy == tried && is_damaged_copy(error)) continue;
    auto result = read_at(kind, id, copy, depth);
    if (result) return result;
    // A disk that fails is what to tell: it may take more along than this chunk.
    if (is_damaged_copy(result.error()) && error.errnum != EIO) error = std::move(result).error();
  }
  return error;
}

Result<std::shared_ptr<const Bytes>> ChunkStore::get(ChunkKind kind, const ChunkId& id) {
  auto bytes = fetch(kind, id, 0);
  if (bytes || bytes.error().message.find(id.hex()) != std::string::npos) return bytes;
  // What is broken may be its pack, or a base.
  return std::move(bytes).error().with("chunk " + id.hex());
}

Result<std::optional<Link>> ChunkStore::find_link(
    ChunkKind kind, const ChunkId& id, const std::unordered_set<PackId, IdHash>& listing) {
  const auto at = TRY(index_.find(id));
  if (!at || !listing.contains(at->pack) || is_marked(id, at->pack)) return std::optional<Link>();
  auto reader = pack(at->pack);
  if (!reader) return std::optional<Link>();  // a damaged pack: its chunks are stored again
  const auto& records = (*reader)->records();
  if ((*reader)->kind() != kind || at->slot >= records.size() || records[at->slot].id != id) {
    return std::optional<Link>();
  }
  return std::optional<Link>({records[at->slot], *reader, at->slot});
}

Result<bool> ChunkStore::is_stored(ChunkKind kind, const ChunkId& id,
                                   const std::unordered_set<PackId, IdHash>& listing) {
  const Chain chain =
      TRY(follow_chain(id, [&](const ChunkId& each) { return find_link(kind, each, listing); }));
  return !chain.empty();
}

Result<std::vector<PackId>> ChunkStore::list_packs() {
  std::vector<PackId> packs;
  const std::string root = repository_ + "/packs";
  for (const std::string& bucket : TRY(files_.list(root))) {
    std::uint8_t number = 0;
    if (!from_hex(bucket, {&number, 1})) continue;  // not ours: verify names it
    for (const std::string& name : TRY(files_.list(root + "/" + bucket))) {
      if (const auto id = PackId::from_hex_text(name)) packs.push_back(*id);
    }
  }
  return packs;
}

Result<void> ChunkStore::sync_folders(const std::vector<PackId>& packs) {
  std::set<std::string> folders;
  for (const PackId& pack : packs) folders.insert(parent_folder(pack_path(repository_, pack)));
  for (const std::string& folder : folders) {
    auto synced = files_.sync_directory(folder);
    if (synced) continue;
    const std::lock_guard lock(sync_mutex_);
    unsynced_folders_.insert(folder);
    return synced;
  }
  return {};
}

bool ChunkStore::is_in_unsynced_folder(const PackId& pack) {
  const std::lock_guard lock(sync_mutex_);
  return !unsynced_folders_.empty() &&
         unsynced_folders_.contains(parent_folder(pack_path(repository_, pack)));
}

std::unordered_set<PackId, IdHash> ChunkStore::undurable(const std::vector<PackId>& packs) {
  std::unordered_set<PackId, IdHash> some;
  for (const PackId& pack : packs) {
    if (is_in_unsynced_folder(pack)) some.insert(pack);
  }
  if (some.empty()) return some;
  // Without an answer none is known.
  const auto known = index_.packs();
  for (const PackId& pack : known ? *known : std::vector<PackId>()) some.erase(pack);
  return some;
}

Result<std::vector<PackId>> ChunkStore::adopt_packs() {
  // Known first, listing second: a pack that is finished in between is adopted once too often,
  // never taken for gone.
  const auto known_list = TRY(index_.packs());
  std::unordered_set<PackId, IdHash> known(known_list.begin(), known_list.end());
  std::vector<PackId> listing = TRY(list_packs());
  std::vector<PackContents> batch;
  std::size_t rows = 0;
  const auto insert = [&]() -> Result<void> {
    // A row promises a pack that a power cut cannot take away.
    for (auto synced = sync_folders(pack_ids(batch)); !synced;
         synced = sync_folders(pack_ids(batch))) {
      log::warning(synced.error().message + ": what was new there is not built on");
      std::erase_if(batch, [&](const auto& each) { return is_in_unsynced_folder(each.pack); });
    }
    TRY(index_.insert(batch));
    batch.clear();
    rows = 0;
    return {};
  };
  for (const PackId& id : listing) {
    if (known.erase(id) != 0 || is_in_unsynced_folder(id)) continue;
    auto reader = PackReader::open(files_, keys_, repository_, id);
    if (!reader && reader.error().code == Code::not_found) continue;  // pruned since the listing
    if (!reader) {
      log::warning(reader.error().message + "; hint: bygone verify tells what it costs");
      continue;
    }
    PackContents contents{.pack = id, .chunks = chunk_ids((*reader)->records())};
    rows += contents.chunks.size();
    batch.push_back(std::move(contents));
    if (rows >= kAdoptBatch) TRY(insert());
  }
  if (!batch.empty()) TRY(insert());
  return listing;
}

Result<void> ChunkStore::rebuild_index() {
  const auto before = index_.packs();
  auto cleared = index_.clear();
  if (!cleared) {
    index_.mark_suspect();
    return cleared;
  }
  const auto listing = TRY(adopt_packs());
  if (!before) return {};
  // That a pack is gone is not forgotten before a session has seen it.
  const std::unordered_set<PackId, IdHash> present(listing.begin(), listing.end());
  std::vector<PackContents> gone;
  for (const PackId& pack : *before) {
    if (!present.contains(pack)) gone.push_back({.pack = pack, .chunks = {}});
  }
  return gone.empty() ? Result<void>() : index_.insert(gone);
}

void ChunkStore::pass_by(DamageMarks marks) {
  auto shared = std::make_shared<const DamageMarks>(std::move(marks));
  const std::lock_guard lock(marks_mutex_);
  marks_ = std::move(shared);
}

bool ChunkStore::is_marked(const ChunkId& id, const PackId& pack) {
  std::shared_ptr<const DamageMarks> marks;
  {
    const std::lock_guard lock(marks_mutex_);
    marks = marks_;
  }
  return marks && marks->is_damaged(id, pack);
}

// Where the index says it is once it has learned of every pack; nothing when that does not help.
std::optional<Location> ChunkStore::find_adopted(const ChunkId& id) {
  const std::lock_guard lock(slow_mutex_);
  // Another process may have written packs since this one looked.
  if (const auto adopted = adopt_packs(); !adopted) log::info(adopted.error().message);
  const auto location = index_.find(id);
  if (!location.ok() || !*location) return std::nullopt;
  auto reader = pack((*location)->pack);
  const bool right = reader.ok() && (*location)->slot < (*reader)->records().size() &&
                     (*reader)->records()[(*location)->slot].id == id;
  return right ? *location : std::nullopt;
}

void ChunkStore::rebuild_once(const ChunkId& id) {
  const std::lock_guard lock(slow_mutex_);
  if (rebuilt_) return;
  log::warning("chunk " + id.hex() + " is not where the index says: rebuilding the index");
  rebuilt_ = true;
  if (auto rebuilt = rebuild_index(); !rebuilt) log::warning(rebuilt.error().message);
}

std::vector<Location> ChunkStore::find_copies(const ChunkId& id) {
  std::vector<Location> copies;
  const auto listing = list_packs();
  if (!listing) {
    log::warning(listing.error().message);
    return copies;
  }
  for (const PackId& pack_id : *listing) {
    auto reader = pack(pack_id);
    if (!reader) continue;
    const auto& records = (*reader)->records();
    for (std::uint32_t slot = 0; slot < records.size(); ++slot) {
      if (records[slot].id == id) copies.push_back({pack_id, slot});
    }
  }
  return copies;
}

}  // namespace bygone::store
