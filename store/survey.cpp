// SPDX-License-Identifier: Apache-2.0
#include "store/survey.h"

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/locks.h"
#include "store/notes.h"

namespace bygone::store {
namespace {

constexpr const char* kHint =
    "; nothing was deleted, for nobody can tell what it needs; hint: bygone verify tells more";

}  // namespace

RecordBytes& RecordBytes::operator+=(const RecordBytes& other) {
  live += other.live;
  bases += other.bases;
  trash += other.trash;
  expired += other.expired;
  dead += other.dead;
  return *this;
}

Survey::Survey(Repository& repository, Lists lists, RecordTable table,
               const std::atomic<bool>& cancel)
    : repository_(repository),
      table_(std::move(table)),
      marker_(repository, table_, cancel),
      lists_(std::move(lists)) {
  for (const auto* list : {&lists_.snapshots, &lists_.trash}) {
    for (const Snapshot& snapshot : *list) known_.insert(snapshot.id);
  }
}

// Both folders under the lock: a record that moves between them is in one of the listings.
Result<Survey::Lists> Survey::list(Repository& repository, const std::set<SnapshotId>& expired) {
  const auto refused = [](Error error) {
    if (!needs_newer_key(error)) error.message += kHint;  // else it has a better one
    return error;
  };
  const Fd names = TRY(lock_names(repository.files(), repository.path(), Lock::shared));
  // Any of them may be a pin, or say what a record of the trash is waiting for.
  const Notes notes = TRY(read_notes(repository));
  if (notes.locked()) return *notes.locked();
  if (!notes.unreadable().empty()) {
    return refused({Code::corrupt, 0, notes.unreadable().front()});
  }
  Lists lists;
  lists.marks = DamageMarks(notes);
  auto snapshots = repository.all_snapshots();
  if (!snapshots) return refused(std::move(snapshots).error());
  lists.snapshots = std::move(snapshots).value();
  for (const SnapshotId& id : TRY(repository.trashed_ids())) {
    auto snapshot = repository.trashed_snapshot(id);
    if (snapshot) {
      (expired.contains(id) ? lists.expired : lists.trash).push_back(std::move(snapshot).value());
    } else if (!expired.contains(id) || needs_newer_key(snapshot.error())) {
      return refused(std::move(snapshot).error());
    } else {
      log::warning(snapshot.error().message);
    }
  }
  return lists;
}

Result<void> Survey::mark_all(const ReportSurvey& report, const std::atomic<bool>& cancel) {
  std::uint64_t done = 0;
  const std::uint64_t total = lists_.snapshots.size() + lists_.trash.size() + lists_.expired.size();
  const auto mark = [&](const std::vector<Snapshot>& list, bool tolerate) -> Result<void> {
    // The newest first: what prune copies lies in its order.
    for (auto snapshot = list.rbegin(); snapshot != list.rend(); ++snapshot) {
      if (report) report({.phase = "snapshots", .done = done++, .total = total});
      auto marked = marker_.mark(*snapshot);
      if (!marked && (!tolerate || cancel.load())) return marked;
    }
    return {};
  };
  TRY(mark(lists_.snapshots, false));
  live_end_ = marker_.count();
  TRY(marker_.mark_bases());
  bases_end_ = marker_.count();
  TRY(mark(lists_.trash, false));
  TRY(marker_.mark_bases());
  trash_end_ = marker_.count();
  return mark(lists_.expired, true);
}

Result<std::unique_ptr<Survey>> Survey::make(Repository& repository, const PackSet& condemned,
                                             const std::set<SnapshotId>& expired,
                                             const ReportSurvey& report,
                                             const std::atomic<bool>& cancel) {
  // Snapshots before packs: what these need is durable by then. What is committed after this
  // listing is for the next look.
  Lists lists = TRY(list(repository, expired));
  RecordTable table =
      TRY(RecordTable::read(repository, condemned, lists.marks,
                            [&](std::uint64_t done, std::uint64_t total) -> Result<void> {
                              if (cancel.load())
                                return Error{Code::cancelled, 0, "reading packs was cancelled"};
                              if (report) report({.phase = "packs", .done = done, .total = total});
                              return {};
                            }));
  std::unique_ptr<Survey> survey(
      new Survey(repository, std::move(lists), std::move(table), cancel));
  TRY(survey->mark_all(report, cancel));
  return survey;
}

bool Survey::is_kept(Ordinal ordinal) const {
  return marker_.is_marked(ordinal) && marker_.order(ordinal) <= trash_end_;
}

void Survey::count(Ordinal ordinal, const Record& record, PackUse& use) const {
  const std::uint64_t bytes = align_record(record.pack_bytes());
  const std::uint32_t order = marker_.order(ordinal);
  if (is_kept(ordinal)) ++use.kept;
  if (order == 0) {
    use.bytes.dead += bytes;
  } else if (order <= live_end_) {
    use.bytes.live += bytes;
    use.raw_bytes += record.raw_size;
  } else if (order <= bases_end_) {
    use.bytes.bases += bytes;
  } else if (order <= trash_end_) {
    use.bytes.trash += bytes;
  } else {
    use.bytes.expired += bytes;
  }
}

Result<std::vector<PackUse>> Survey::measure() {
  std::vector<PackUse> uses;
  for (const RecordTable::Pack& pack : table_.packs()) {
    const auto reader = TRY(repository_.chunks().pack(pack.id));
    PackUse use;
    for (std::uint32_t slot = 0; slot < pack.records; ++slot) {
      count(pack.first + slot, reader->records()[slot], use);
    }
    uses.push_back(use);
  }
  return uses;
}

}  // namespace bygone::store
