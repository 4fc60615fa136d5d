// SPDX-License-Identifier: Apache-2.0
#include "store/prune_plan.h"

#include <algorithm>

#include "store/format.h"

namespace bygone::store {
namespace {

constexpr std::uint64_t kSmallPack = kPackTarget / 4;

bool is_young(const RecordTable::Pack& pack, const PruneOptions& options, Nanoseconds now) {
  const std::int64_t age = now / kSecond - pack.mtime_seconds;
  return age < options.spare_orphans.count();
}

bool is_mostly_dead(const PackUse& use, double max_dead_percent) {
  const auto total = static_cast<double>(use.bytes.total());
  const auto dead = static_cast<double>(use.bytes.total() - use.bytes.kept());
  return dead * 100 > total * max_dead_percent;
}

}  // namespace

PrunePlan plan_prune(const RecordTable& table, const std::vector<PackUse>& uses,
                     const PruneOptions& options, Nanoseconds now) {
  PrunePlan plan;
  for (const ChunkKind kind : {ChunkKind::data, ChunkKind::page}) {
    std::vector<std::size_t> small;
    std::size_t rewritten = 0;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const RecordTable::Pack& pack = table.packs()[i];
      if (pack.kind != kind || pack.condemned) continue;
      if (uses[i].kept == 0) {
        const bool orphan = uses[i].bytes.expired == 0;
        (orphan && is_young(pack, options, now) ? plan.spared : plan.dropped).push_back(i);
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
