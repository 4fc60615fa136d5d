// SPDX-License-Identifier: Apache-2.0
//
// The newest snapshot of each source in a repository, whoever made it, kept up to date at the cost
// of listing the names of the records: a record is read once. Any thread.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/discover.h"
#include "store/base/result.h"
#include "store/repository.h"

namespace bygone::ingest {

class History {
 public:
  // `repository` must outlive it.
  explicit History(store::Repository& repository) : repository_(repository) {}

  // Reads the records that are new since the last call. One that cannot be read is passed by, and
  // tried again by the next call: verify and forget name it. Errors: those of listing them.
  Result<void> refresh();
  void add(const store::Snapshot& snapshot);

  // As of the last refresh() or add(); by source_key().
  [[nodiscard]] std::optional<store::Snapshot> newest(const std::string& key) const;
  // Whether all there were at the last refresh() are known, so that a source without a newest() has
  // none.
  [[nodiscard]] bool is_complete() const;
  // Of every source, in no order.
  [[nodiscard]] std::vector<store::Snapshot> newest_of_all() const;
  // Answers as last_names() does; must not outlive this.
  [[nodiscard]] ParentNames parent_names() const;

 private:
  void add_locked(const store::Snapshot& snapshot);

  store::Repository& repository_;
  mutable std::mutex mutex_;  // guards all below
  std::set<SnapshotId> seen_;
  std::map<std::string, store::Snapshot> newest_;
  bool is_complete_ = false;
};

}  // namespace bygone::ingest
