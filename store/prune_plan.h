// SPDX-License-Identifier: Apache-2.0
//
// Which packs prune drops and which it rewrites: a pure function of what a survey measured.
#pragma once

#include <vector>

#include "store/prune.h"

namespace bygone::store {

struct PrunePlan {
  // Numbers of packs in RecordTable::packs().
  std::vector<std::size_t> dropped;    // nothing in them is kept
  std::vector<std::size_t> rewritten;  // what is kept is copied
  std::vector<std::size_t> spared;     // unreachable, but young
};

// A pack is dropped when nothing in it is kept, unless it is younger than options.spare_orphans at
// `now` and nothing that leaves the trash reaches it either. It is rewritten when more than
// options.max_dead_percent of its record bytes are not kept, or when it is smaller than a quarter
// of the target and is merged with another one of its kind.
[[nodiscard]] PrunePlan plan_prune(const RecordTable& table, const std::vector<PackUse>& uses,
                                   const PruneOptions& options, Nanoseconds now);

// The kept records of the packs that are rewritten, of one kind, in the order of first reach.
[[nodiscard]] std::vector<Ordinal> records_to_copy(const Survey& survey, const PrunePlan& plan,
                                                   ChunkKind kind);

}  // namespace bygone::store
