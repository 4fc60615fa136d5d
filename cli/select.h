// SPDX-License-Identifier: Apache-2.0
//
// From SOURCE[@INSTANT][:PATH] to the snapshot and the entry in it. Follows no symbolic links.
// One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/catalog.h"
#include "fs/instant.h"
#include "store/repository.h"

namespace bygone::cli {

// What a selection names: the snapshot's whole folder, or one entry in it.
struct Selected {
  fs::SnapshotPtr snapshot;
  std::string spelling;  // "db@2024-03-16T05:57:pgdata/base", for messages
  std::string path;      // in the snapshot, "pgdata/base"; empty: all of it
  // Nothing: the folder of a snapshot with volumes of their own, see top_entries().
  std::optional<store::Entry> entry;
};

// The snapshots of `repository` as they are now.
[[nodiscard]] Result<std::shared_ptr<const fs::Catalog>> read_catalog(
    store::Repository& repository);

// Errors: invalid for what the grammar refuses; not_found for an unknown source or instant, with
// those that exist, and for a path that is not there; those of TreeReader.
[[nodiscard]] Result<Selected> select(store::Repository& repository, const std::string& text);

// The names directly in the folder of a snapshot: its volumes, and for a container `.bygone`.
// Nothing for a folder source or a bare volume, whose tree is that folder itself.
[[nodiscard]] std::vector<store::Entry> top_entries(const store::Snapshot& snapshot);

// The entry at `path` in `snapshot`: volume first, or, for a container, as the container sees it;
// `.bygone/...` is what the backup says about itself. Nothing for the folder of several volumes.
// Errors: not_found, naming the part that is not there.
[[nodiscard]] Result<std::optional<store::Entry>> find_entry(store::TreeReader& trees,
                                                             const store::Snapshot& snapshot,
                                                             const std::string& path);

}  // namespace bygone::cli
