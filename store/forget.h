// SPDX-License-Identifier: Apache-2.0
//
// What retention would let go of in a repository: its records and notes, brought before retention.h
// source by source. Reads only; trash.h does what is decided. One run at a time: lock_forget().
#pragma once

#include <set>
#include <string>
#include <vector>

#include "store/repository.h"
#include "store/retention.h"

namespace bygone::store {

// Held through a run of forget, so that two runs do not let go of what the other one keeps.
// Errors: busy, naming the holder; those of the file system.
[[nodiscard]] Result<Fd> lock_forget(Files& files, const std::string& repository);

struct ForgetOptions {
  // Asked once all records are read: what is made meanwhile is not of a time to come.
  Clock clock = system_now;
  // Only these sources; empty: all.
  std::set<SourceId> only;
  // Much smaller snapshots are meant: they do not block.
  bool accept_shrink = false;
  // The clock is right, although it leapt.
  bool accept_clock = false;
};

struct ForgetPlan {
  struct Source {
    std::vector<Snapshot> snapshots;  // newest first; thinning.verdicts are in the same order
    Thinning thinning;
  };
  std::vector<Source> sources;       // by display name
  std::vector<std::string> damaged;  // records that cannot be read, a line each

  [[nodiscard]] std::vector<Snapshot> let_go() const;
};

// Changes nothing. A source of which a record cannot be read is blocked; when it is unknown whose
// the record is, all are. Errors: invalid without a rule; corrupt or unsupported when a note cannot
// be read, for it may be a pin; those of the file system.
[[nodiscard]] Result<ForgetPlan> plan_forgetting(Repository& repository,
                                                 const RetentionRules& rules,
                                                 const ForgetOptions& options);

}  // namespace bygone::store
