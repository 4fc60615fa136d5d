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
  if (!condemned && !is_lost_list(condemned.error())) return condemned.error();
  // Before the names: what is counted after this costs this session's snapshots a look.
  const auto losses = repository_.index().losses();
  if (losses) losses_ = *losses;
  const auto known = repository_.index().packs();
  may_lack_chunks_ = !known.ok();
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
                 "prune or bygone repair lists writes the list again");
    const PackSet present(listing->begin(), listing->end());
    for (const PackId& pack : known ? *known : std::vector<PackId>()) {
      may_lack_chunks_ = may_lack_chunks_ || !present.contains(pack);
    }
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

// Cheap where all is well: no notes, and an index that knows just the packs that are there. That a
// pack is gone is noticed once, by one session; what each source's parent lacks is found when the
// source is backed up next, for its snapshots of before count as whole no more.
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
    const auto counted = index.lose_packs(gone);
    if (!counted) log::info(counted.error().message);
    // No other session counted meanwhile: what is lost is not in the listing of this one.
    if (counted && losses_ && *counted == *losses_ + 1) losses_ = *counted;
  }
  const auto adopted = index.packs();
  const PackSet names = adopted ? PackSet(adopted->begin(), adopted->end()) : PackSet();
  const bool knows_all = std::all_of(listing.begin(), listing.end(),
                                     [&](const PackId& pack) { return names.contains(pack); });
  if (!knows_all) losses_.reset();
  const Notes notes = TRY(read_notes(repository_));
  if (notes.locked()) return *notes.locked();
  DamageMarks marks(notes);
  may_lack_chunks_ = may_lack_chunks_ || !gone.empty() || !notes.unreadable().empty() ||
                     !marks.packs().empty() || !adopted || !knows_all;
  const auto marked = marks.chunks();
  repository_.chunks().pass_by(std::move(marks));
  for (const DamagedChunk& each : marked) {
    if (may_lack_chunks_) break;  // one is enough
    may_lack_chunks_ = !has(ChunkKind::data, each.chunk) && !has(ChunkKind::page, each.chunk);
  }
  return {};
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
  const std::string lock_key = host_id + '\0' + name;
  const std::string lock_path =
      repository_.path() + "/locks/source/" +
      to_hex(repository_.keys().name_tag("bygone.source", as_bytes(lock_key)));
  source.lock = TRY(lock_exclusively(files, lock_path, "backup",
                                     "another backup of " + printable(name) + " is running",
                                     "--retry-lock 5m waits for it"));
  TRY(read_history(source, kind, host_id, host, name));
  if (source.parent) {
    const auto whole = repository_.index().is_whole(source.id, source.parent->id);
    source.may_lack_chunks = may_lack_chunks_ || !whole.ok() || !*whole;
  }
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
  if (TRY(repository_.has_record(source.parent->id))) return {};
  return Error{Code::busy, 0,
               "snapshot " + source.parent->id.hex() +
                   ", on which this one builds, was removed for good while the "
                   "backup ran; hint: run the backup again"};
}

// What the snapshot refers to was looked up, or is the parent's, which was whole, or new: in packs
// that the index knows, so that it will see when one of them is gone.
void Session::keep_whole(const ClaimedSource& source, const Snapshot& snapshot) {
  if (!losses_) return;
  const auto kept = repository_.index().keep_whole(source.id, snapshot.id, *losses_);
  if (!kept) log::info(kept.error().message + ": the next backup looks up what it keeps");
}

Result<Snapshot> Session::commit(ClaimedSource& source, Snapshot snapshot) {
  TRY(flush());
  snapshot.source = source.id;
  snapshot.display_name = source.display_name;
  snapshot.sequence = source.sequence + 1;
  snapshot.previous = source.newest;
  snapshot.listed_name = make_listed_name(snapshot.zone, snapshot.instant, source.listed_names);
  snapshot.added_bytes = source.added ? *source.added : added_bytes() - committed_bytes_;
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
  keep_whole(source, snapshot);
  committed_bytes_ += snapshot.added_bytes;
  source.listed_names.push_back(snapshot.listed_name);
  source.sequence = snapshot.sequence;
  source.newest = snapshot.id;
  source.parent = snapshot;
  return snapshot;
}

}  // namespace bygone::store
