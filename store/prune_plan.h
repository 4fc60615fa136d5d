// SPDX-License-Identifier: Apache-2.0
//
// Which packs prune drops and which it rewrites: a pure function of what a survey measured.
#pragma once

#include <string>
#include <vector>

#include "store/prune.h"

namespace bygone::store {

struct PruneTime {
  Nanoseconds now = 0;
  std::string clock_doubt;  // why that may be wrong; empty: it is not doubted
};

// What the times of snapshots and packs say of the clock (retention.h).
[[nodiscard]] PruneTime prune_time(const Survey& survey, const Clock& clock);

struct PrunePlan {
  // Numbers of packs in RecordTable::packs().
  std::vector<std::size_t> dropped;    // nothing in them is kept
  std::vector<std::size_t> rewritten;  // what is kept is copied
  std::vector<std::size_t> spared;     // unreachable, but young
};

// A pack is dropped when nothing in it is kept, unless it is younger than options.spare_orphans, or
// the clock is doubted, and nothing that leaves the trash reaches it either. It is rewritten when
// more than options.max_dead_percent of its record bytes are not kept, or when it is smaller than a
// quarter of the target and is merged with another one of its kind.
[[nodiscard]] PrunePlan plan_prune(const RecordTable& table, const std::vector<PackUse>& uses,
                                   const PruneOptions& options, const PruneTime& time);

// The kept records of the packs that are rewritten, of one kind, in the order of first reach.
[[nodiscard]] std::vector<Ordinal> records_to_copy(const Survey& survey, const PrunePlan& plan,
                                                   ChunkKind kind);

}  // namespace bygone::store
