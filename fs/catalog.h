// SPDX-License-Identifier: Apache-2.0
//
// The catalogue: which sources exist, and the snapshots of each in order. An immutable value, built
// anew when snapshots appear or vanish; shared between threads by shared_ptr. Reads no trees.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/instant.h"
#include "store/base/result.h"
#include "store/repository.h"
#include "store/snapshot.h"

namespace bygone::fs {

// Where snapshot records come from: a repository, or a test. Callable from any thread.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  // The committed snapshots, in any order.
  virtual Result<std::vector<SnapshotId>> ids() = 0;
  // Errors: not_found when it is not (or no longer) committed; corrupt.
  virtual Result<store::Snapshot> get(const SnapshotId& id) = 0;
};

// The snapshots of `repository`, which must outlive it.
class RepositorySnapshots : public SnapshotSource {
 public:
  explicit RepositorySnapshots(store::Repository& repository) : repository_(repository) {}
  Result<std::vector<SnapshotId>> ids() override { return repository_.snapshot_ids(); }
  Result<store::Snapshot> get(const SnapshotId& id) override { return repository_.snapshot(id); }

 private:
  store::Repository& repository_;
};

using SnapshotPtr = std::shared_ptr<const store::Snapshot>;

// One source: its snapshots, oldest first. `points[i]` describes `records[i]`; the listed names in
// `points` are unique within the source.
struct History {
  std::string name;  // display name; on the command line bare volumes carry "volume:" before it
  store::SourceKind kind = store::SourceKind::folder;
  std::vector<InstantPoint> points;
  std::vector<SnapshotPtr> records;
  Nanoseconds changed = 0;  // when a snapshot last appeared or vanished: the folder's mtime

  // The index of the snapshot listed as `listed_name`; nothing when there is none.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view listed_name) const;
};

// The captures of a group of which every member's snapshot is there, oldest first: what is not
// complete is no common instant. `points[i]` describes `runs[i]` and has the id of its first
// member.
struct Group {
  std::string name;  // "+host" behind it when an older group of that name is another host's
  std::vector<InstantPoint> points;
  std::vector<std::vector<SnapshotPtr>> runs;  // each by display name
  Nanoseconds changed = 0;                     // as in History

  [[nodiscard]] std::optional<std::size_t> find(std::string_view listed_name) const;
};

class Catalog {
 public:
  using Histories = std::map<std::string, History, std::less<>>;  // by display name
  using Groups = std::map<std::string, Group, std::less<>>;

  // Groups `records` by source. `previous` (may be null) tells which sources changed; those get
  // `now` as the time of change, or their newest instant when there is no previous catalogue.
  static std::shared_ptr<const Catalog> build(const std::vector<SnapshotPtr>& records,
                                              const Catalog* previous, Nanoseconds now);

  // Containers and folders.
  [[nodiscard]] const Histories& sources() const { return sources_; }
  // Volumes that no container uses.
  [[nodiscard]] const Histories& volumes() const { return volumes_; }
  [[nodiscard]] const Groups& groups() const { return groups_; }
  [[nodiscard]] const std::unordered_map<SnapshotId, SnapshotPtr, IdHash>& by_id() const {
    return by_id_;
  }
  // The newest time of change of all.
  [[nodiscard]] Nanoseconds changed() const { return changed_; }

  // The source called `name` on the command line: a display name, "volume:NAME", or "name+host",
  // which always finds the source of that host. nullptr when there is none.
  [[nodiscard]] const History* find(std::string_view name) const;
  // The snapshot that `wanted` names; its path is not looked at.
  // Errors: not_found, naming the sources or the listed instants that do exist; invalid.
  [[nodiscard]] Result<SnapshotPtr> resolve(const SnapshotPath& wanted, Nanoseconds now) const;

 private:
  void add_groups(const Catalog* previous, Nanoseconds now);

  Histories sources_, volumes_;
  Groups groups_;
  std::unordered_map<SnapshotId, SnapshotPtr, IdHash> by_id_;
  Nanoseconds changed_ = 0;
};

// Reads every record. A record that is damaged, or that vanishes meanwhile, is left out and logged.
// Errors: those of SnapshotSource::ids.
[[nodiscard]] Result<std::shared_ptr<const Catalog>> load_catalog(SnapshotSource& source,
                                                                  Nanoseconds now);

}  // namespace bygone::fs
