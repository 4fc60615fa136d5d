// SPDX-License-Identifier: Apache-2.0
#include "store/prune_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "store/format.h"
#include "store/retention.h"

namespace bygone::store {
namespace {

constexpr std::uint64_t kSmallPack = kPackTarget / 4;

// Whose file system says so; beyond what nanoseconds can tell is as good as that.
Nanoseconds written_at(const RecordTable::Pack& pack) {
  constexpr std::int64_t kFarthest = std::numeric_limits<Nanoseconds>::max() / kSecond;
  return std::clamp(pack.mtime_seconds, -kFarthest, kFarthest) * kSecond;
}

// By a clock that leapt all are old at once.
bool is_young(const RecordTable::Pack& pack, const PruneOptions& options, const PruneTime& time) {
  if (options.spare_orphans.count() == 0) return false;
  const std::int64_t age = time.now / kSecond - pack.mtime_seconds;
  return age < options.spare_orphans.count() || !time.clock_doubt.empty();
}

bool is_mostly_dead(const PackUse& use, double max_dead_percent) {
  const auto total = static_cast<double>(use.bytes.total());
  const auto dead = static_cast<double>(use.bytes.total() - use.bytes.kept());
  return dead * 100 > total * max_dead_percent;
}

}  // namespace

PruneTime prune_time(const Survey& survey, const Clock& clock) {
  std::vector<Nanoseconds> instants;
  for (const Snapshot& snapshot : survey.snapshots()) instants.push_back(snapshot.instant);
  const Nanoseconds now = clock();
  for (const RecordTable::Pack& pack : survey.table().packs()) {
    // What is of the future is young for that alone; a file server's clock that was ahead once, or
    // a copy of the repository, is no reason to doubt this one for years.
    if (written_at(pack) <= now) instants.push_back(written_at(pack));
  }
  return {.now = now, .clock_doubt = doubt_about_clock(std::move(instants), now)};
}

PrunePlan plan_prune(const RecordTable& table, const std::vector<PackUse>& uses,
                     const PruneOptions& options, const PruneTime& time) {
  PrunePlan plan;
  for (const ChunkKind kind : {ChunkKind::data, ChunkKind::page}) {
    std::vector<std::size_t> small;
    std::size_t rewritten = 0;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const RecordTable::Pack& pack = table.packs()[i];
      if (pack.kind != kind || pack.condemned) continue;
      if (uses[i].kept == 0) {
        const bool orphan = uses[i].bytes.expired == 0;
        (orphan && is_young(pack, options, time) ? plan.spared : plan.dropped).push_back(i);
      } else if (is_mostly_dead(uses[i], options.max_dead_percent)) {
        plan.rewritten.push_back(i);
        ++rewritten;
      } else if (pack.size_bytes < kSmallPack) {
        small.push_back(i);
      }
    }
    // One alone would become itself again.
    if (small.size() + rewritten < 2) continue;
    plan.rewritten.insert(plan.rewritten.end(), small.begin(), small.end());
  }
  return plan;
}

std::vector<Ordinal> records_to_copy(const Survey& survey, const PrunePlan& plan, ChunkKind kind) {
  std::vector<Ordinal> ordinals;
  for (const std::size_t number : plan.rewritten) {
    const RecordTable::Pack& pack = survey.table().packs()[number];
    if (pack.kind != kind) continue;
    for (Ordinal o = pack.first; o < pack.first + pack.records; ++o) {
      if (survey.is_kept(o)) ordinals.push_back(o);
    }
  }
  std::sort(ordinals.begin(), ordinals.end(), [&](Ordinal a, Ordinal b) {
    return survey.marker().order(a) < survey.marker().order(b);
  });
  return ordinals;
}

}  // namespace bygone::store
