// SPDX-License-Identifier: Apache-2.0
#include "store/verify.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include <fmt/core.h>

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/damage_marks.h"
#include "store/format.h"
#include "store/gone_records.h"
#include "store/locks.h"
#include "store/note_verified.h"
#include "store/notes.h"
#include "store/repair.h"
#include "store/verify_tree.h"

namespace bygone::store {
namespace {

constexpr unsigned kReaders = 2;

std::string title(const Snapshot& snapshot) {
  return fmt::format("snapshot {} ({} {})", snapshot.id.hex(), printable(snapshot.display_name),
                     printable(snapshot.listed_name));
}

void newest_first(std::vector<Snapshot>& snapshots) {
  std::sort(snapshots.begin(), snapshots.end(),
            [](const Snapshot& a, const Snapshot& b) { return a.instant > b.instant; });
}

class Verifier {
 public:
  Verifier(Repository& repository, const std::function<void(const VerifyProgress&)>& progress,
           const std::atomic<bool>& cancel)
      : repository_(repository), progress_(progress), cancel_(cancel) {}

  Result<VerifyReport> run(const VerifyOptions& options);

 private:
  struct BadRecord {
    ChunkKind kind;
    Record record;
    PackId pack;
    bool by_its_base;  // a delta that is sound itself
    std::string line;
  };
  Result<Fd> lock();
  Result<void> list_packs();
  Result<void> read_footers();
  Result<void> read_records(double percent);
  Result<void> read_pack(const PackId& id);
  Result<std::shared_ptr<const Bytes>> base_of(ChunkKind kind, const ChunkId& id);
  // Chunks that snapshots need and cannot be read.
  Result<std::set<ChunkId>> walk_snapshots();
  [[nodiscard]] bool lacks_more_than_marked(const std::set<ChunkId>& lost) const;
  Result<void> walk(TreeVerifier& walker, const Snapshot& snapshot, const std::string& name);
  Result<void> check_records(const std::vector<RecordKind>& kinds);
  Result<void> check_chain();
  Result<std::vector<const Snapshot*>> gaps(const std::vector<const Snapshot*>& snapshots);
  [[nodiscard]] std::vector<std::string> judge_bad_records(const std::vector<ChunkId>& broken,
                                                           const std::set<ChunkId>& lost);
  Result<void> write_marks(const VerifyOptions& options, const std::set<ChunkId>& lost);
  void damaged(const std::string& line) {
    const std::lock_guard guard(mutex_);
    report_.damage.push_back(line);
  }
  Result<void> step(const char* phase, std::uint64_t done, std::uint64_t total) {
    if (cancel_.load()) return Error{Code::cancelled, 0, "verifying was cancelled"};
    if (progress_) progress_({.done = done, .total = total, .phase = phase});
    return {};
  }

  Repository& repository_;
  const std::function<void(const VerifyProgress&)>& progress_;
  const std::atomic<bool>& cancel_;
  std::vector<Snapshot> snapshots_, trashed_;
  std::vector<SnapshotId> sound_;  // no damage in its reach
  std::set<ChunkId> lost_pages_;   // that snapshots need
  std::vector<PackId> packs_;
  std::set<PackId> listed_, unreadable_;
  RecordSet records_;
  std::mutex mutex_;  // for what follows, while packs are read
  VerifyReport report_;
  std::vector<BadRecord> bad_;
  std::size_t next_pack_ = 0;
  std::optional<Error> failure_;
};

// On a medium that cannot be written no prune can run either.
Result<Fd> Verifier::lock() {
  auto lock = lock_generation(repository_.files(), repository_.path());
  if (!lock && lock.error().code == Code::denied) {
    log::info(lock.error().message + "; verifying without the lock");
    return Fd();
  }
  return lock;
}

// What stands in the files: snapshots() is content with the copies in the index.
Result<void> Verifier::check_records(const std::vector<RecordKind>& kinds) {
  for (const RecordKind kind : kinds) {
    for (const DamagedRecord& record : TRY(find_damaged(repository_, kind))) {
      const bool was_read = kind == RecordKind::snapshot || kind == RecordKind::trashed;
      auto& lines = report_.damage;
      const auto line = std::find_if(lines.begin(), lines.end(), [&](const std::string& each) {
        return was_read && each.find(record.path) != std::string::npos;
      });
      if (line != lines.end())
        *line += "; " + record.remedy;
      else
        damaged(record.path + " is damaged: " + record.fault + "; " + record.remedy);
    }
  }
  return {};
}

Result<void> Verifier::list_packs() {
  Files& files = repository_.files();
  const std::string root = repository_.path() + "/packs";
  for (const std::string& bucket : TRY(files.list(root))) {
    const std::string folder = root + "/" + bucket;
    auto names = files.list(folder);
    if (!names) {
      damaged(printable(folder) + " is no folder of packs: " + names.error().message);
      continue;
    }
    for (const std::string& name : *names) {
      const auto id = PackId::from_hex_text(name);
      if (id && name.substr(0, 2) == bucket) {
        packs_.push_back(*id);
      } else {
        damaged(printable(folder + "/" + name) + " does not belong here: it is not read");
      }
    }
  }
  return {};
}

Result<void> Verifier::read_footers() {
  std::vector<PackId> readable;
  std::uint64_t done = 0;
  listed_.insert(packs_.begin(), packs_.end());
  for (const PackId& id : packs_) {
    TRY(step("packs", done++, packs_.size()));
    auto reader = PackReader::open(repository_.files(), repository_.keys(), repository_.path(), id);
    if (!reader && reader.error().code == Code::not_found) continue;  // pruned since the listing
    if (!reader && needs_newer_key(reader.error())) return std::move(reader).error();
    ++report_.packs;
    if (!reader) {
      damaged(reader.error().message +
              "; none of its records can be found; hint: bygone repair packs");
      unreadable_.insert(id);
      continue;
    }
    readable.push_back(id);
    report_.records += (*reader)->records().size();
    for (const Record& record : (*reader)->records()) records_.add((*reader)->kind(), record);
  }
  packs_ = std::move(readable);
  records_.seal();
  return {};
}

// What no footer shows is not looked for: the index would be made anew for each dead delta whose
// base was pruned.
Result<std::shared_ptr<const Bytes>> Verifier::base_of(ChunkKind kind, const ChunkId& id) {
  if (records_.is_whole(kind, id)) return repository_.chunks().get(kind, id);
  return Error{Code::not_found, 0, "chunk " + id.hex() + " is in no pack"};
}

Result<void> Verifier::read_pack(const PackId& id) {
  auto reader = PackReader::open(repository_.files(), repository_.keys(), repository_.path(), id);
  if (!reader && reader.error().code == Code::not_found) return {};
  if (!reader) return std::move(reader).error();
  const auto& records = (*reader)->records();
  for (std::uint32_t slot = 0; slot < records.size(); ++slot) {
    if (cancel_.load()) return Error{Code::cancelled, 0, "verifying was cancelled"};
    const Record& record = records[slot];
    bool by_its_base = false;
    const auto read = [&]() -> Result<Bytes> {
      std::shared_ptr<const Bytes> base;
      if (record.base) {
        auto got = base_of((*reader)->kind(), *record.base);
        if (!got) {
          by_its_base = true;
          return std::move(got).error().with(
              fmt::format("chunk {} in pack {} is a delta whose base cannot be read",
                          record.id.hex(), id.hex()));
        }
        base = std::move(got).value();
      }
      Bytes bytes = TRY((*reader)->read(slot, base ? ByteView(*base) : ByteView()));
      if (repository_.keys().chunk_id((*reader)->kind(), bytes) != record.id) {
        return Error{Code::corrupt, 0,
                     fmt::format("chunk {} in pack {} decodes to other bytes than its id names",
                                 record.id.hex(), id.hex())};
      }
      return bytes;
    };
    const auto bytes = read();
    const std::lock_guard guard(mutex_);
    ++report_.records_read;
    if (bytes) {
      report_.bytes_read += record.pack_bytes();
    } else {
      bad_.push_back({(*reader)->kind(), record, id, by_its_base, bytes.error().message});
    }
  }
  return {};
}

Result<void> Verifier::read_records(double percent) {
  std::vector<PackId> chosen = packs_;
  std::shuffle(chosen.begin(), chosen.end(), std::mt19937_64(std::random_device{}()));
  chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(std::ceil(
                                            static_cast<double>(chosen.size()) * percent / 100))));
  const auto work = [&] {
    for (;;) {
      PackId id;
      {
        const std::lock_guard guard(mutex_);
        if (failure_ || next_pack_ == chosen.size()) return;
        if (auto going = step("data", next_pack_, chosen.size()); !going) {
          failure_ = std::move(going).error();
          return;
        }
        id = chosen[next_pack_++];
      }
      if (auto read = read_pack(id); !read) {
        const std::lock_guard guard(mutex_);
        if (!failure_) failure_ = std::move(read).error();
      }
    }
  };
  std::vector<std::thread> readers;
  for (unsigned i = 1; i < kReaders; ++i) readers.emplace_back(work);
  work();
  for (std::thread& reader : readers) reader.join();
  if (failure_) return *failure_;
  for (const BadRecord& bad : bad_) records_.strike(bad.record.id, bad.record.base);
  return {};
}

// What the records say of the damage. A damaged copy costs nothing as long as another one is whole.
// A delta that nothing needs may outlive its base: prune keeps a pack for what is alive in it, and
// keeps a base for living deltas alone. `broken`: deltas whose chain ends nowhere; `lost`: what is
// needed and cannot be read.
std::vector<std::string> Verifier::judge_bad_records(const std::vector<ChunkId>& broken,
                                                     const std::set<ChunkId>& lost) {
  std::vector<std::string> lines;
  for (const ChunkId& id : broken) {
    if (!lost.contains(id)) continue;
    lines.push_back("chunk " + id.hex() + " is a delta on a chunk that no pack holds any more");
  }
  for (const BadRecord& bad : bad_) {
    if (records_.find(bad.kind, bad.record.id)) {
      report_.spare_damage.push_back(bad.line + "; another copy is whole");
    } else if (!bad.by_its_base || lost.contains(bad.record.id)) {
      lines.push_back(bad.line);
    }
  }
  return lines;
}

// Whether anything is lost that no pack holds, or a delta on such: what is damaged where it stands
// is marked there.
bool Verifier::lacks_more_than_marked(const std::set<ChunkId>& lost) const {
  std::set<ChunkId> marked;
  std::map<ChunkId, ChunkId> bases;
  for (const BadRecord& bad : bad_) {
    if (!bad.by_its_base) marked.insert(bad.record.id);
    if (bad.by_its_base) bases.emplace(bad.record.id, *bad.record.base);
  }
  const auto is_marked = [&](ChunkId id) {
    for (std::size_t depth = 0; depth <= kMaxDeltaDepth && !marked.contains(id); ++depth) {
      const auto base = bases.find(id);
      if (base == bases.end()) return false;
      id = base->second;
    }
    return marked.contains(id);
  };
  return !std::all_of(lost.begin(), lost.end(), is_marked) ||
         !std::all_of(lost_pages_.begin(), lost_pages_.end(), is_marked);
}

Result<void> Verifier::write_marks(const VerifyOptions& options, const std::set<ChunkId>& lost) {
  const Nanoseconds now = options.now != 0 ? options.now : system_now();
  std::set<DamagedChunk> bad;
  for (const BadRecord& each : bad_) {
    if (!each.by_its_base) bad.insert({each.record.id, each.pack});
  }
  std::vector<PackId> unusable(unreadable_.begin(), unreadable_.end());
  if (lacks_more_than_marked(lost)) unusable.push_back(kUnknownPack);
  TRY(mark_damage(repository_, {bad.begin(), bad.end()}, unusable, now));
  const DamageMarks marks(TRY(read_notes(repository_)));
  std::vector<DamagedChunk> chunks;
  std::vector<PackId> packs;
  for (const DamagedChunk& each : marks.chunks()) {
    const bool read = options.read_data_percent >= 100 && !bad.contains(each);
    if (!listed_.contains(each.pack) || read) chunks.push_back(each);
  }
  // Of a lost pack nobody knows what was in it: it is forgotten once nothing is missing.
  for (const PackId& pack : marks.packs()) {
    if (report_.damage.empty() && !unreadable_.contains(pack)) packs.push_back(pack);
  }
  if (!report_.damage.empty()) chunks.clear();
  return unmark_damage(repository_, chunks, packs, now);
}

// Records of one source name their predecessor. Where it is missing, the trash or a note that it is
// gone explains it; else it was lost or taken away. Notes are read last: one is there before its
// record goes.
Result<std::vector<const Snapshot*>> Verifier::gaps(const std::vector<const Snapshot*>& snapshots) {
  const GoneRecords gone(TRY(read_notes(repository_)));
  std::vector<const Snapshot*> list;
  for (const Snapshot* each : snapshots) {
    // One that is there moved since the listing, or is unreadable: that has its own line.
    if (gone.names(each->previous) || TRY(repository_.has_record(each->previous))) continue;
    // The last that needed a note on its predecessor is gone too.
    if (gone.names(each->id) && !TRY(repository_.has_record(each->id))) continue;
    list.push_back(each);
  }
  return list;
}

Result<void> Verifier::check_chain() {
  std::set<SnapshotId> present;
  for (const auto* list : {&trashed_, &snapshots_}) {
    for (const Snapshot& snapshot : *list) present.insert(snapshot.id);
  }
  std::vector<const Snapshot*> after_gaps;
  for (const auto* list : {&trashed_, &snapshots_}) {
    for (const Snapshot& snapshot : *list) {
      const bool is_gap = !snapshot.previous.is_zero() && !present.contains(snapshot.previous);
      if (is_gap) after_gaps.push_back(&snapshot);
    }
  }
  after_gaps = TRY(gaps(after_gaps));
  if (after_gaps.empty()) return {};
  // A listing beside a prune that folds notes may show neither the old one nor what stands for it.
  // On a medium that cannot be written no prune runs either.
  const auto lock = lock_names(repository_.files(), repository_.path(), Lock::shared);
  if (!lock) log::info(lock.error().message + "; looking for missing snapshots without the lock");
  for (const Snapshot* each : TRY(gaps(after_gaps))) {
    damaged(fmt::format("{}: the snapshot before it, number {} with id {}, is missing",
                        title(*each), each->sequence - 1, each->previous.hex()));
  }
  return {};
}

Result<void> Verifier::walk(TreeVerifier& walker, const Snapshot& snapshot,
                            const std::string& name) {
  TRY(step("snapshots", report_.snapshots + report_.trashed, snapshots_.size() + trashed_.size()));
  for (const Volume& volume : snapshot.volumes) {
    const std::string path = volume.name.empty() ? "" : "/" + printable(volume.name);
    TRY(walker.walk(name, path, volume.root));
  }
  if (snapshot.extra) TRY(walker.walk(name, "/.bygone", *snapshot.extra));
  return {};
}

Result<std::set<ChunkId>> Verifier::walk_snapshots() {
  TreeVerifier walker(repository_.trees(), records_, cancel_,
                      [this](const std::string& line) { damaged(line); });
  for (const Snapshot& snapshot : snapshots_) {
    const std::size_t before = report_.damage.size();
    TRY(walk(walker, snapshot, title(snapshot)));
    ++report_.snapshots;
    if (report_.damage.size() == before) sound_.push_back(snapshot.id);
  }
  // Until it expires, whoever forgot one by mistake can have it back: whole.
  for (const Snapshot& snapshot : trashed_) {
    TRY(walk(walker, snapshot, "forgotten " + title(snapshot)));
    ++report_.trashed;
  }
  lost_pages_ = walker.lost_pages();
  return walker.lost_chunks();
}

Result<VerifyReport> Verifier::run(const VerifyOptions& options) {
  const Fd held = TRY(lock());
  // Snapshots before packs: what is committed after this listing is not missed in the other.
  snapshots_ = TRY(repository_.snapshots(&report_.damage));
  trashed_ = TRY(repository_.trashed_snapshots(&report_.damage));
  newest_first(snapshots_);
  newest_first(trashed_);
  TRY(check_records({RecordKind::snapshot, RecordKind::trashed, RecordKind::note}));
  TRY(list_packs());
  TRY(read_footers());
  if (options.read_data_percent > 0) TRY(read_records(options.read_data_percent));
  const std::vector<ChunkId> broken = records_.resolve_deltas();
  const auto before = static_cast<std::ptrdiff_t>(report_.damage.size());
  TRY(check_chain());
  const std::set<ChunkId> lost = TRY(walk_snapshots());
  const std::vector<std::string> causes = judge_bad_records(broken, lost);
  report_.damage.insert(report_.damage.begin() + before, causes.begin(), causes.end());
  if (auto marked = write_marks(options, lost); !marked) {
    log::warning(marked.error().message + ": what is damaged could not be noted");
  }
  // Last: it costs no snapshot anything, and keeps no mark where it is.
  TRY(check_records({RecordKind::list, RecordKind::key, RecordKind::config}));
  if (options.read_data_percent >= 100) {
    // That this cannot be written is no damage.
    const Nanoseconds now = options.now != 0 ? options.now : system_now();
    if (auto noted = note_verified(repository_, sound_, now); !noted) {
      log::warning("noting what was verified: " + noted.error().message);
    }
  }
  return std::move(report_);
}

}  // namespace

Result<VerifyReport> verify(Repository& repository, const VerifyOptions& options,
                            const std::function<void(const VerifyProgress&)>& progress,
                            const std::atomic<bool>& cancel) {
  return Verifier(repository, progress, cancel).run(options);
}

}  // namespace bygone::store
