// SPDX-License-Identifier: Apache-2.0
//
// The nodes that the mount makes: everything above and beside captured entries. What stands in
// which made folder, given a catalogue. Pure functions, callable from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/catalog.h"

namespace bygone::fs {

struct Made {
  enum class Kind : std::uint8_t {
    root,
    volumes,    // /@volumes
    snapshots,  // /@snapshots
    groups,     // /@groups
    group,      // /@groups/shop
    run,        // /@groups/shop/2024-03-16T05:57
    source,     // /db, /@volumes/data
    snapshot,   // /db/2024-03-16T05:57, for containers
    tree,       // the root of a volume's tree, or of a whole folder source
    about,      // .bygone
    summary,    // .bygone/snapshot.json
    link,       // latest, any instant, /@snapshots/<id>, db+host, members of a run
  };
  Kind kind = Kind::root;
  bool bare = false;         // of a source under /@volumes
  std::string group;         // its name; empty outside of /@groups
  std::string source;        // its display name; empty above the sources and in groups
  std::string instant;       // the listed name of `snapshot` or run; empty above the instants
  std::string name;          // the last part of its path
  std::string target;        // links
  SnapshotPtr snapshot;      // what it shows or points to, where there is one
  std::uint32_t volume = 0;  // tree: index into the snapshot's volumes

  // Equal for equal nodes, unequal for others.
  [[nodiscard]] std::string key() const;
  [[nodiscard]] bool is_folder() const { return kind != Kind::summary && kind != Kind::link; }
};
using MadePtr = std::shared_ptr<const Made>;

inline constexpr std::string_view kAboutName = ".bygone";

// The made node called `name` in `folder`: listed or not. Nothing when there is none. A captured
// entry of that name hides it where `folder` is a tree, and is hidden by it in .bygone.
[[nodiscard]] std::optional<Made> find_made(const Catalog& catalog, const Made& folder,
                                            std::string_view name, Nanoseconds now);
// The made nodes that are listed in `folder`, in the order of their names.
[[nodiscard]] std::vector<Made> list_made(const Catalog& catalog, const Made& folder);
// The folder that `made` stands in; the root's is the root.
[[nodiscard]] Made parent_of(const Made& made);
// The source that a `source` folder or anything below it belongs to; nullptr when it is gone.
[[nodiscard]] const History* history_of(const Catalog& catalog, const Made& made);

}  // namespace bygone::fs
