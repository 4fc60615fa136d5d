// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/history.h"

#include <utility>

#include "ingest/daemon/ledger.h"

namespace bygone::ingest {

Result<void> History::refresh() {
  const std::lock_guard lock(mutex_);
  std::set<SnapshotId> present;
  is_complete_ = false;
  bool all_read = true;
  for (const SnapshotId& id : TRY(repository_.snapshot_ids())) {
    if (seen_.count(id) == 0) {
      const auto snapshot = repository_.snapshot(id);
      all_read = all_read && snapshot.ok();
      if (!snapshot.ok()) continue;
      add_locked(*snapshot);
    }
    present.insert(id);
  }
  seen_ = std::move(present);
  is_complete_ = all_read;
  return {};
}

void History::add(const store::Snapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  add_locked(snapshot);
}

void History::add_locked(const store::Snapshot& snapshot) {
  seen_.insert(snapshot.id);
  const std::string key = source_key(snapshot.kind, snapshot.host_id, snapshot.name);
  const auto [at, is_new] = newest_.try_emplace(key, snapshot);
  if (!is_new && snapshot.sequence > at->second.sequence) at->second = snapshot;
}

std::optional<store::Snapshot> History::newest(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = newest_.find(key);
  if (found == newest_.end()) return std::nullopt;
  return found->second;
}

bool History::is_complete() const {
  const std::lock_guard lock(mutex_);
  return is_complete_;
}

std::vector<store::Snapshot> History::newest_of_all() const {
  const std::lock_guard lock(mutex_);
  std::vector<store::Snapshot> list;
  list.reserve(newest_.size());
  for (const auto& [key, snapshot] : newest_) list.push_back(snapshot);
  return list;
}

ParentNames History::parent_names() const {
  return [this](store::SourceKind kind, const std::string& host, const std::string& name) {
    std::map<std::string, std::string> names;
    if (const auto snapshot = newest(source_key(kind, host, name))) {
      for (const store::Volume& volume : snapshot->volumes) names[volume.destination] = volume.name;
    }
    return names;
  };
}

}  // namespace bygone::ingest
