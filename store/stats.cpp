// SPDX-License-Identifier: Apache-2.0
#include "store/stats.h"

#include "store/base/log.h"
#include "store/chunk_store.h"
#include "store/index.h"
#include "store/locks.h"

namespace bygone::store {
namespace {

void count_snapshots(const std::vector<Snapshot>& snapshots, Stats& stats) {
  stats.snapshots = snapshots.size();
  for (const Snapshot& snapshot : snapshots) stats.restore_size += snapshot.bytes;
  for (const Snapshot* newest : newest_of_sources(snapshots)) {
    ++stats.sources;
    stats.newest_restore_size += newest->bytes;
  }
}

Result<void> count_packs(Repository& repository, Stats& stats) {
  for (const PackId& id : TRY(repository.chunks().list_packs())) {
    const auto info = repository.files().info(pack_path(repository.path(), id));
    if (!info && info.error().code == Code::not_found) continue;
    if (!info) return info.error();
    ++stats.packs;
    stats.pack_bytes += info->size;
  }
  return {};
}

// An index is a cache: figures of one that fails are left out.
void count_index(Repository& repository, Stats& stats) {
  const auto info = repository.files().info(repository.index().folder() + "/data.mdb");
  if (info) stats.index_bytes = info->size;
  if (const auto rows = repository.index().chunk_count()) stats.index_rows = *rows;
}

}  // namespace

Result<Stats> read_stats(Repository& repository, const ReportSurvey& report,
                         const std::atomic<bool>& cancel) {
  // Nothing that this run looks at is deleted meanwhile. On a medium that cannot be written no
  // prune can run either.
  auto lock = lock_generation(repository.files(), repository.path());
  if (!lock && lock.error().code != Code::denied) return std::move(lock).error();
  auto survey = TRY(Survey::make(repository, {}, {}, report, cancel));
  Stats stats;
  stats.trash = survey->trash_count();
  stats.records = survey->table().size();
  stats.unreadable = survey->table().unreadable();
  for (const PackUse& use : TRY(survey->measure())) {
    stats.bytes += use.bytes;
    stats.live_raw += use.raw_bytes;
  }
  count_snapshots(survey->snapshots(), stats);
  TRY(count_packs(repository, stats));
  count_index(repository, stats);
  return stats;
}

}  // namespace bygone::store
