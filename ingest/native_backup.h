// SPDX-License-Identifier: Apache-2.0
//
// The class `native` of one source: its PostgreSQL is found, held in backup mode while the volumes
// are read, and what makes a base backup of them afterwards is told: the WAL, the label, and what a
// copy must not have. Reads no data itself but pg_control. One thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/postgres_mode.h"
#include "ingest/source.h"
#include "ingest/tree_edit.h"
#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

// A path in one of a source's volumes.
struct VolumePath {
  std::size_t volume = 0;  // its number
  std::string path;        // from its root; empty: the root itself
};
// Where `path` in the container is; nothing when it is in none of the volumes. Symbolic links are
// not followed.
[[nodiscard]] std::optional<VolumePath> locate(const Source& source, const std::string& path);

class NativeBackup {
 public:
  // Finds the PostgreSQL that alone writes to the volumes, by its process and by its answer, and
  // puts it into backup mode; null when none runs there. `roots` are the open volumes, in order.
  // All references must outlive it. Errors: unsupported, with the reason, when there is one that
  // cannot be backed up so (a standby, a second writer, data outside of the volumes); those of
  // PostgresMode; cancelled.
  static Result<std::unique_ptr<NativeBackup>> begin(docker::Engine& engine, const Source& source,
                                                     std::vector<const Fd*> roots,
                                                     const std::atomic<bool>& cancel);

  // Whether a PostgreSQL is among what writes to the volumes, so that people may expect the class.
  static bool is_for(docker::Engine& engine, const Source& source);

  // The id of the container; it must run until the end.
  [[nodiscard]] const std::string& container() const { return container_; }
  // (st_dev, inode) of the folder of the WAL: it is of use only after the end, and is read then.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> wal_folder() const { return wal_id_; }
  // Whether what is in the volume belongs to the database, so that it may change until the end.
  [[nodiscard]] bool owns(std::size_t volume) const;

  // Leaves backup mode: what was committed until here is in the backup. The WAL is kept from being
  // removed for as long as this object lives. Errors: those of PostgresMode::stop(); io.
  Result<void> end();
  // After end(): the changes that make a base backup of what was read before it, by volume.
  [[nodiscard]] const std::map<std::size_t, TreeEdit>& edits() const { return edits_; }

 private:
  NativeBackup(const Source& source, std::vector<const Fd*> roots, std::string container)
      : source_(source), roots_(std::move(roots)), container_(std::move(container)) {}
  Result<void> find_data();
  Result<void> find_wal();
  [[nodiscard]] const Fd& root(const VolumePath& place) const { return *roots_[place.volume]; }

  const Source& source_;
  std::vector<const Fd*> roots_;
  std::string container_;
  std::unique_ptr<PostgresMode> mode_;
  VolumePath data_;
  VolumePath wal_;
  std::pair<std::uint64_t, std::uint64_t> wal_id_;
  std::vector<VolumePath> tablespaces_;
  std::map<std::size_t, TreeEdit> edits_;
};

}  // namespace bygone::ingest
