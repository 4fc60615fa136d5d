// SPDX-License-Identifier: Apache-2.0
#include "store/prune.h"

#include <algorithm>
#include <set>

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/fold_notes.h"
#include "store/index.h"
#include "store/locks.h"
#include "store/prune_plan.h"
#include "store/repack.h"
#include "store/reserve.h"
#include "store/temp_file.h"
#include "store/trash.h"

namespace bygone::store {
namespace {

constexpr int kMaxRounds = 8;  // each makes room for the next one when the disk is full
constexpr std::size_t kRowsBatch = 256u << 10;  // chunks of deleted packs, kept in memory

class Pruner {
 public:
  Pruner(Repository& repository, const PruneOptions& options,
         const std::function<void(const PruneProgress&)>& progress, const std::atomic<bool>& cancel)
      : repository_(repository),
        files_(repository.files()),
        path_(repository.path()),
        options_(options),
        progress_(progress),
        cancel_(cancel) {}

  Result<PruneReport> run();

 private:
  Result<void> read_lists();
  Result<bool> round();
  Result<std::unique_ptr<Survey>> survey(const PackSet& condemned,
                                         const std::set<SnapshotId>& expired);
  Result<std::set<SnapshotId>> expired();
  Result<void> empty_trash(const std::set<SnapshotId>& ids);
  Result<void> rewrite(Survey& survey, PrunePlan& plan);
  Result<void> foresee(Survey& survey, const PrunePlan& plan);
  Result<void> foresee_lists(const Survey& survey);
  Result<void> prove_survivors(const Survey& survey, const PackSet& needed);
  Result<void> condemn(const Survey& survey, const PrunePlan& plan);
  Result<bool> finish(std::unique_ptr<Survey> survey);
  Result<bool> nothing_new(const Survey& survey);
  static PackSet still_needed(const Survey& survey);
  Result<void> delete_packs(const std::vector<PackId>& packs, const Survey& survey);
  Result<void> forget_rows(std::vector<PackContents>& contents, const Survey& survey);
  Result<void> close_lists();
  Result<std::uint64_t> size_of(const PackSet& packs);
  Result<void> wait_for_sessions();
  // Once, in whatever round it turns up.
  void warn(const std::string& line) {
    auto& all = report_.warnings;
    if (std::find(all.begin(), all.end(), line) == all.end()) all.push_back(line);
  }
  void step(const char* phase, std::uint64_t done, std::uint64_t total) {
    if (progress_) progress_({.phase = phase, .done = done, .total = total});
  }

  Repository& repository_;
  Files& files_;
  const std::string& path_;
  const PruneOptions& options_;
  const std::function<void(const PruneProgress&)>& progress_;
  const std::atomic<bool>& cancel_;
  std::uint64_t newest_ = 0;  // generation
  PackSet condemned_;         // packs of the lists that are not done with
  PackSet written_;           // by this run, each record read back
  PruneReport report_;
};

// Lists that do not prove themselves name nobody knows what: nothing of it is deleted, and what is
// dead among it is found again. Their packs stand again from here on.
Result<void> Pruner::read_lists() {
  for (const std::uint64_t generation : TRY(condemned_generations(files_, path_))) {
    newest_ = std::max(newest_, generation);
    auto list = read_condemned(files_, repository_.keys(), path_, generation);
    if (list) {
      condemned_.insert(list->packs.begin(), list->packs.end());
      continue;
    }
    if (!is_lost_list(list.error())) return std::move(list).error();
    log::warning(list.error().message + ": its packs are looked at anew");
    if (options_.dry_run) continue;
    TRY(write_condemned(files_, repository_.keys(), path_, {generation, {}}));
  }
  return {};
}

Result<std::unique_ptr<Survey>> Pruner::survey(const PackSet& condemned,
                                               const std::set<SnapshotId>& expired) {
  auto survey = TRY(Survey::make(
      repository_, condemned, expired,
      [this](const SurveyProgress& p) { step(p.phase.c_str(), p.done, p.total); }, cancel_));
  for (const std::string& line : survey->table().unreadable()) {
    warn(line + ": left alone; hint: bygone verify tells what it costs");
  }
  return survey;
}

Result<std::set<SnapshotId>> Pruner::expired() {
  std::set<SnapshotId> ids;
  if (!options_.empty_trash) {
    return expired_trash(repository_, options_.clock, kKeepTrash,
                         options_.dry_run ? Remember::no : Remember::yes);
  }
  for (const SnapshotId& id : TRY(repository_.trashed_ids())) ids.insert(id);
  return ids;
}

// Only when no list is unfinished: a session may build on a record of the trash that stands for
// the one thing that keeps a condemned pack from being deleted.
Result<void> Pruner::empty_trash(const std::set<SnapshotId>& ids) {
  if (ids.empty()) return {};
  std::vector<SnapshotId> lacking_note;
  const auto moved = TRY(remove_from_trash(
      repository_, ids, options_.clock(), &lacking_note,
      options_.empty_trash ? std::nullopt : std::optional<Nanoseconds>(kKeepTrash)));
  report_.trash_removed += moved.done.size();
  for (const SnapshotId& id : lacking_note) {
    report_.warnings.push_back("snapshot " + id.hex() +
                               " left the trash, but the full disk had no room to note that: "
                               "verify will name it as missing");
  }
  return {};
}

// What rewrite() did, once more before packs go: what nothing reached when their list was made may
// be needed now, for a session that began before the list found it.
Result<void> Pruner::prove_survivors(const Survey& survey, const PackSet& needed) {
  const auto& packs = survey.table().packs();
  std::vector<bool> leaves(packs.size());
  for (std::size_t number = 0; number < packs.size(); ++number) {
    leaves[number] = packs[number].condemned && !needed.contains(packs[number].id);
  }
  Repacker repacker(repository_, survey.table(), cancel_, {});
  return repacker.prove_survivors(survey, leaves, written_);
}

// Copies what lives. A pack of which something could not be copied stays.
Result<void> Pruner::rewrite(Survey& survey, PrunePlan& plan) {
  std::uint64_t total = 0;
  std::uint64_t done = 0;
  Repacker repacker(repository_, survey.table(), cancel_, [&](std::uint64_t bytes) {
    done += bytes;
    if (progress_) progress_({.phase = "copying", .bytes_done = done, .bytes_total = total});
  });
  std::vector<bool> leaves(survey.table().packs().size());
  for (const auto* list : {&plan.dropped, &plan.rewritten}) {
    for (const std::size_t number : *list) leaves[number] = true;
  }
  TRY(repacker.prove_survivors(survey, leaves, written_));
  std::set<std::size_t> incomplete;
  bool room = true;
  for (const ChunkKind kind : {ChunkKind::page, ChunkKind::data}) {
    const std::vector<Ordinal> ordinals = records_to_copy(survey, plan, kind);
    total += TRY(repacker.planned_bytes(ordinals));
    if (room) room = TRY(repacker.copy(ordinals));
    for (const Ordinal ordinal : ordinals) {
      if (!repacker.is_copied(ordinal))
        incomplete.insert(survey.table().pack_number(ordinal));
      else
        ++report_.records_copied;
    }
  }
  TRY(repacker.publish());
  repacker.add_written(written_);
  std::erase_if(plan.rewritten, [&](std::size_t number) { return incomplete.contains(number); });
  report_.out_of_space = !room;
  report_.packs_rewritten += plan.rewritten.size();
  report_.packs_written += repacker.packs_written();
  report_.bytes_written += repacker.bytes_written();
  return {};
}

// What rewrite() and the deletion would do.
Result<void> Pruner::foresee(Survey& survey, const PrunePlan& plan) {
  Repacker repacker(repository_, survey.table(), cancel_, {});
  for (const ChunkKind kind : {ChunkKind::page, ChunkKind::data}) {
    const std::vector<Ordinal> ordinals = records_to_copy(survey, plan, kind);
    report_.records_copied += ordinals.size();
    report_.bytes_written += TRY(repacker.planned_bytes(ordinals));
  }
  report_.packs_rewritten = plan.rewritten.size();
  TRY(foresee_lists(survey));
  for (const auto* list : {&plan.dropped, &plan.rewritten}) {
    report_.packs_deleted += list->size();
    for (const std::size_t number : *list) {
      report_.bytes_deleted += survey.table().packs()[number].size_bytes;
    }
  }
  return {};
}

// What an earlier prune has condemned and not deleted yet.
Result<void> Pruner::foresee_lists(const Survey& survey) {
  if (condemned_.empty()) return {};
  if (!TRY(lock_older_generations(files_, path_, newest_))) return wait_for_sessions();
  const PackSet needed = still_needed(survey);
  report_.taken_back = needed.size();
  for (const RecordTable::Pack& pack : survey.table().packs()) {
    if (!pack.condemned || needed.contains(pack.id)) continue;
    ++report_.packs_deleted;
    report_.bytes_deleted += pack.size_bytes;
  }
  return {};
}

Result<void> Pruner::condemn(const Survey& survey, const PrunePlan& plan) {
  CondemnedList list{.generation = newest_ + 1, .packs = {}};
  for (const auto* numbers : {&plan.dropped, &plan.rewritten}) {
    for (const std::size_t number : *numbers) {
      if (list.packs.size() == kMaxCondemned) break;  // the rest next time
      list.packs.push_back(survey.table().packs()[number].id);
    }
  }
  TRY(write_condemned(files_, repository_.keys(), path_, list));
  newest_ = list.generation;
  condemned_.insert(list.packs.begin(), list.packs.end());
  return {};
}

// Whether all that is committed or in the trash now was marked by `survey`.
Result<bool> Pruner::nothing_new(const Survey& survey) {
  const Fd names = TRY(lock_names(files_, path_, Lock::shared));
  const auto committed = TRY(repository_.snapshot_ids());
  const auto forgotten = TRY(repository_.trashed_ids());
  for (const auto* ids : {&committed, &forgotten}) {
    for (const SnapshotId& id : *ids) {
      if (!survey.knows(id)) return false;
    }
  }
  return true;
}

PackSet Pruner::still_needed(const Survey& survey) {
  PackSet needed;
  for (const RecordTable::Pack& pack : survey.table().packs()) {
    if (!pack.condemned) continue;
    for (Ordinal o = pack.first; o < pack.first + pack.records; ++o) {
      if (survey.is_kept(o)) needed.insert(pack.id);
    }
  }
  return needed;
}

// Deletes what the lists name, once no session is left that began before the newest of them.
// `survey`: what led to that list, none when it is of an earlier run. False: it has to wait.
Result<bool> Pruner::finish(std::unique_ptr<Survey> survey) {
  const auto older = TRY(lock_older_generations(files_, path_, newest_));
  if (!older) {
    TRY(wait_for_sessions());
    return false;
  }
  PackSet needed;
  if (!survey || !TRY(nothing_new(*survey))) {
    // Records in condemned packs count only where no other copy is.
    survey.reset();
    survey = TRY(this->survey(condemned_, {}));
    needed = still_needed(*survey);
    TRY(prove_survivors(*survey, needed));
  }
  std::vector<PackId> packs;
  for (const PackId& pack : condemned_) {
    if (!needed.contains(pack)) packs.push_back(pack);
  }
  report_.taken_back += needed.size();
  // A record that comes back after a power cut would lack its packs for ever.
  TRY(sync_records(repository_));
  TRY(delete_packs(packs, *survey));
  TRY(close_lists());
  return true;
}

Result<void> Pruner::wait_for_sessions() {
  std::set<int> pids;
  for (const std::string& name : TRY(files_.list(path_ + "/locks/gen"))) {
    const auto generation = generation_number(name);
    if (!generation || *generation >= newest_) continue;
    for (const int pid : lock_holders(generation_lock_path(path_, *generation))) pids.insert(pid);
  }
  report_.waiting_for.assign(pids.begin(), pids.end());
  report_.waiting_packs = condemned_.size();
  report_.waiting_bytes = TRY(size_of(condemned_));
  return {};
}

Result<std::uint64_t> Pruner::size_of(const PackSet& packs) {
  std::uint64_t bytes = 0;
  for (const PackId& pack : packs) {
    const auto info = files_.info(pack_path(path_, pack));
    if (info) bytes += info->size;
    if (!info && info.error().code != Code::not_found) return info.error();
  }
  return bytes;
}

Result<void> Pruner::delete_packs(const std::vector<PackId>& packs, const Survey& survey) {
  std::vector<PackContents> contents;
  std::size_t rows = 0;
  std::uint64_t done = 0;
  for (const PackId& pack : packs) {
    step("deleting", done++, packs.size());
    const std::string file = pack_path(path_, pack);
    const auto info = files_.info(file);
    if (!info && info.error().code != Code::not_found) return info.error();
    PackContents each{.pack = pack, .chunks = {}};
    if (info) {
      // Damaged since it was condemned: nothing is lost by that, its rows stay behind.
      if (const auto reader = repository_.chunks().pack(pack)) {
        each.chunks = chunk_ids((*reader)->records());
      }
      TRY(files_.remove(file));
      ++report_.packs_deleted;
      report_.bytes_deleted += info->size;
    }
    // Where an earlier run got no further than here, the index still knows the pack.
    rows += each.chunks.size();
    contents.push_back(std::move(each));
    if (rows < kRowsBatch) continue;
    TRY(forget_rows(contents, survey));
    rows = 0;
  }
  // Before the lists are closed: a pack that comes back after a power cut is still named by one.
  // Where an earlier run got no further, the folders of those that are gone may not be synced yet.
  TRY(repository_.chunks().sync_folders(packs));
  return forget_rows(contents, survey);
}

// Takes rows of deleted packs out of the index; where another copy is kept, its row comes back.
Result<void> Pruner::forget_rows(std::vector<PackContents>& contents, const Survey& survey) {
  Index& index = repository_.index();
  auto changed = index.remove_packs(pack_ids(contents));
  std::set<std::size_t> others;
  for (const PackContents& pack : contents) {
    for (const ChunkId& id : pack.chunks) {
      const auto row = index.find(id);
      if (row && *row) continue;
      for (const ChunkKind kind : {ChunkKind::data, ChunkKind::page}) {
        const auto kept = survey.table().find(kind, id);
        if (kept) others.insert(survey.table().pack_number(*kept));
      }
    }
  }
  std::vector<PackContents> again;
  for (const std::size_t number : others) {
    const RecordTable::Pack& pack = survey.table().packs()[number];
    if (condemned_.contains(pack.id) || pack.may_vanish) continue;
    const auto reader = TRY(repository_.chunks().pack(pack.id));
    again.push_back({.pack = pack.id, .chunks = chunk_ids(reader->records())});
  }
  // A row promises a pack that a power cut cannot take away, whoever wrote it.
  TRY(repository_.chunks().sync_folders(pack_ids(again)));
  if (changed && !again.empty()) changed = index.insert(again);
  if (!changed) log::warning(changed.error().message + "; the index catches up later");
  contents.clear();
  return {};
}

// The newest list keeps its number and names nothing; the older ones go, and with them the lock
// files of their generations, which no session can want again. None of that is synced: a list that
// comes back after a power cut names what is gone or needed, and is closed again.
Result<void> Pruner::close_lists() {
  TRY(write_condemned(files_, repository_.keys(), path_, {newest_, {}}));
  condemned_.clear();
  for (const std::uint64_t generation : TRY(condemned_generations(files_, path_))) {
    if (generation < newest_)
      TRY(files_.remove(path_ + "/condemned/" + std::to_string(generation)));
  }
  for (const std::string& name : TRY(files_.list(path_ + "/locks/gen"))) {
    const auto generation = generation_number(name);
    if (generation && *generation < newest_) TRY(files_.remove(path_ + "/locks/gen/" + name));
  }
  return {};
}

// One pass over steps (1) to (3). True: the disk was full, and now there is room for another one.
Result<bool> Pruner::round() {
  const std::set<SnapshotId> leaving = TRY(expired());
  auto survey = TRY(this->survey(condemned_, leaving));
  std::vector<PackUse> uses = TRY(survey->measure());
  const PruneTime time = prune_time(*survey, options_.clock);
  PrunePlan plan = plan_prune(survey->table(), uses, options_, time);
  if (!time.clock_doubt.empty() && !plan.spared.empty()) {
    warn("what unfinished backups left is spared, however old it is: " + time.clock_doubt);
  }
  report_.trash_bytes = 0;
  for (const PackUse& use : uses) report_.trash_bytes += use.bytes.trash;
  report_.trash_kept = survey->trash_count();
  report_.spared_packs = plan.spared.size();
  report_.spared_bytes = 0;
  for (const std::size_t number : plan.spared) {
    report_.spared_bytes += survey->table().packs()[number].size_bytes;
  }
  if (options_.dry_run) {
    report_.trash_removed = leaving.size();
    TRY(foresee(*survey, plan));
    return false;
  }
  TRY(empty_trash(leaving));
  TRY(rewrite(*survey, plan));
  if (plan.dropped.empty() && plan.rewritten.empty()) return false;
  TRY(condemn(*survey, plan));
  const bool finished = TRY(finish(std::move(survey)));
  return finished && report_.out_of_space;
}

Result<PruneReport> Pruner::run() {
  const Fd held = TRY(lock_prune(files_, path_));
  if (!options_.dry_run) {
    TRY(clean_temp_folder(files_, path_ + "/tmp"));
    // Before all that stops where there are too many notes.
    TRY(fold_notes(repository_, options_.clock()));
    // On a full disk the next prune does it.
    if (auto added = repository_.add_config_copy(); !added) log::warning(added.error().message);
  }
  TRY(read_lists());
  PackSet before;
  for (const PackId& pack : TRY(repository_.chunks().list_packs())) before.insert(pack);
  report_.packs_before = before.size();
  report_.bytes_before = TRY(size_of(before));
  if (!condemned_.empty() && !options_.dry_run && !TRY(finish(nullptr))) return report_;
  for (int rounds = 1; TRY(round()) && rounds < kMaxRounds; ++rounds) report_.out_of_space = false;
  return report_;
}

}  // namespace

Result<PruneReport> prune(Repository& repository, const PruneOptions& options,
                          const std::function<void(const PruneProgress&)>& progress,
                          const std::atomic<bool>& cancel) {
  PruneReport report;
  TRY(with_reserve(repository.files(), repository.path(), [&]() -> Result<void> {
    report = TRY(Pruner(repository, options, progress, cancel).run());
    return {};
  }));
  if (!options.dry_run) renew_reserve(repository.files(), repository.path());
  return report;
}

}  // namespace bygone::store
