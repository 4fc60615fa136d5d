// SPDX-License-Identifier: Apache-2.0
//
// Garbage collection, beside any number of backups and mounts (FORMAT.md section 11.1): finishes
// what an earlier prune had to leave, lets what expired leave the trash, marks what snapshots and
// trash reach, copies what is live out of packs that are mostly dead, condemns these packs,
// and deletes them once no session is left that began before. Waits for nobody. Any step may be
// cut short by a crash: the next prune goes on. One thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "store/base/clock.h"
#include "store/repository.h"
#include "store/survey.h"

namespace bygone::store {

inline constexpr std::chrono::hours kSpareOrphans{7 * 24};

struct PruneOptions {
  bool dry_run = false;
  double max_dead_percent = 30;  // of a pack's records; above it, what lives is copied out
  // All of the trash leaves now, not only what expired (trash.h).
  bool empty_trash = false;
  // Packs that nothing has ever reached are spared while they are younger, or the clock is doubted
  // (retention.h): an interrupted first backup goes on with them. Economy, not safety. 0: none are.
  std::chrono::seconds spare_orphans = kSpareOrphans;
  Clock clock = system_now;
};

struct PruneProgress {
  std::string phase;                              // "packs", "snapshots", "copying", "deleting"
  std::uint64_t done = 0, total = 0;              // objects
  std::uint64_t bytes_done = 0, bytes_total = 0;  // when copying
};

// Sizes are those of files in `packs/`. With dry_run, what would be.
struct PruneReport {
  std::uint64_t packs_before = 0, bytes_before = 0;
  std::uint64_t packs_deleted = 0, bytes_deleted = 0;
  std::uint64_t packs_rewritten = 0;  // of them, those of which something was copied
  std::uint64_t packs_written = 0, bytes_written = 0;
  std::uint64_t records_copied = 0;
  std::uint64_t trash_removed = 0;  // records that left the trash
  std::uint64_t trash_kept = 0;
  std::uint64_t trash_bytes = 0;  // of records that only the trash holds: free when it is emptied
  // Of packs that are condemned, and wait for sessions that began before they were.
  std::uint64_t waiting_packs = 0, waiting_bytes = 0;
  std::vector<int> waiting_for;                      // process ids, as far as the kernel tells
  std::uint64_t spared_packs = 0, spared_bytes = 0;  // by spare_orphans
  std::uint64_t taken_back = 0;       // condemned packs that a snapshot reached meanwhile
  bool out_of_space = false;          // not all could be copied
  std::vector<std::string> warnings;  // packs that cannot be read: left alone; a doubted clock
};

// Errors: busy when another prune or a change of keys runs; corrupt when anything that a snapshot
// or the trash reaches cannot be read or proven, or a record of them: nothing was deleted then;
// unsupported for a list of a later version; cancelled; io; no_space when not even a list can be
// written.
[[nodiscard]] Result<PruneReport> prune(Repository& repository, const PruneOptions& options,
                                        const std::function<void(const PruneProgress&)>& progress,
                                        const std::atomic<bool>& cancel);

}  // namespace bygone::store
