// SPDX-License-Identifier: Apache-2.0
//
// Proves a repository: every snapshot reads, those in the trash included, every page and chunk that
// they reach stands in a pack whose footer shows it; with read_data also every record decodes to
// the bytes that its id names. And whatever stands in a small file of its own proves itself: notes,
// condemned lists, key slots, the configuration. Believes footers, never the index. Writes nothing
// but notes: marks for what is damaged (damage_marks.h), and takes those back that are out of date;
// and after all was read, that the snapshots in whose reach no damage is were verified.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "store/repository.h"

namespace bygone::store {

struct VerifyOptions {
  double read_data_percent = 0;  // 0: structure only; 100: every record
  Nanoseconds now = 0;           // for notes; 0: the system's clock
};

struct VerifyProgress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::string phase;  // "snapshots", "packs"
};

struct VerifyReport {
  std::uint64_t snapshots = 0;
  std::uint64_t trashed = 0;  // forgotten, but not for good yet
  std::uint64_t packs = 0;
  std::uint64_t records = 0;       // in all footers
  std::uint64_t records_read = 0;  // decoded and hashed
  std::uint64_t bytes_read = 0;
  // What is wrong, a line each: the object, what is broken, and what it costs (which snapshot and
  // path loses which range).
  std::vector<std::string> damage;
  // What is damaged and costs nothing, because another copy is whole.
  std::vector<std::string> spare_damage;
};

// Errors: cancelled, and what keeps the verification itself from running; damage is no error.
Result<VerifyReport> verify(Repository& repository, const VerifyOptions& options,
                            const std::function<void(const VerifyProgress&)>& progress,
                            const std::atomic<bool>& cancel);

}  // namespace bygone::store
