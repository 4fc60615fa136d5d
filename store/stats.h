// SPDX-License-Identifier: Apache-2.0
//
// What a repository holds, in figures. Believes footers, as prune does; changes nothing. Costs a
// look at every footer and at every page that a snapshot reaches. One thread.
#pragma once

#include "store/survey.h"

namespace bygone::store {

struct Stats {
  std::uint64_t snapshots = 0, sources = 0, trash = 0;
  std::uint64_t packs = 0, pack_bytes = 0;  // files in `packs/`
  std::uint64_t records = 0;
  RecordBytes bytes;                      // of these records
  std::uint64_t live_raw = 0;             // decoded size of what snapshots reach, each chunk once
  std::uint64_t restore_size = 0;         // of all snapshots' files
  std::uint64_t newest_restore_size = 0;  // of each source's newest snapshot
  std::uint64_t index_bytes = 0, index_rows = 0;
  std::vector<std::string> unreadable;  // packs that count nowhere but in pack_bytes
};

// Errors: those of Survey::make().
[[nodiscard]] Result<Stats> read_stats(Repository& repository, const ReportSurvey& report,
                                       const std::atomic<bool>& cancel);

}  // namespace bygone::store
