// SPDX-License-Identifier: Apache-2.0
//
// Snapshots by their exact names, for commands that change what is said about them or take them
// away: what only comes near is refused. One thread.
#pragma once

#include <string>
#include <vector>

#include "fs/catalog.h"
#include "store/repository.h"

namespace bygone::cli {

// Where to look.
enum class Shelf { snapshots, trash };

class NamedSnapshots {
 public:
  // Reads the records of the shelf. Damaged ones are left out and logged.
  static Result<NamedSnapshots> read(store::Repository& repository, Shelf shelf);

  // The snapshot called SOURCE@INSTANT (as it is listed, or latest, latest~2, id:1a2b) or id:1a2b.
  // Errors: invalid for what is no such name; not_found, with the nearest one when there is one.
  [[nodiscard]] Result<fs::SnapshotPtr> find(const std::string& text) const;
  [[nodiscard]] const fs::Catalog& catalog() const { return *catalog_; }

 private:
  Shelf shelf_ = Shelf::snapshots;
  std::shared_ptr<const fs::Catalog> catalog_;
};

// "db@2024-03-16T05:57", as it can be typed.
[[nodiscard]] std::string spelled(const store::Snapshot& snapshot);
// "db", "volume:data".
[[nodiscard]] std::string spelled_source(const store::Snapshot& snapshot);

}  // namespace bygone::cli
