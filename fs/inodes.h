// SPDX-License-Identifier: Apache-2.0
//
// The nodes that the kernel knows: 64-bit numbers and how often each was handed out. Not st_ino
// (attributes.h). Two kinds of numbers:
//
//   1 | counter (63 bits)                  made nodes: root, sources, instants, links, .bygone
//   0 | place (35 bits) | position (28)    entries of captured trees; place = a known directory
//
// Entries cost no memory of their own: a place counts all that was handed out of its directory,
// and goes when that count is back at zero. A place keeps its directory's own number alive, so
// every number held by the kernel can be followed up to the root, in whatever order the kernel
// forgets. Numbers are never used twice. Callable from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "fs/made.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::fs {

using NodeId = std::uint64_t;
inline constexpr NodeId kRootNode = 1;  // FUSE's number for it

// Stands for the second tree of a snapshot where a volume's index is expected.
inline constexpr std::uint32_t kExtraTree = UINT32_MAX;

// A directory of a captured tree.
struct Place {
  SnapshotPtr snapshot;
  std::uint32_t volume = 0;  // or kExtraTree
  store::NodeRef directory;
  std::uint64_t ino = 0;  // its st_ino
  NodeId folder = 0;      // its own number
};
// An entry of a captured tree.
struct Spot {
  Place place;
  std::uint64_t position = 0;
};
using KnownNode = std::variant<MadePtr, Spot>;

class Inodes {
 public:
  Inodes();

  // The number of `made`, handed out once more.
  NodeId remember(const Made& made);
  // What a number stands for. Errors: not_found with ESTALE when nobody handed it out.
  Result<KnownNode> get(NodeId node) const;
  // The number of `made` when the kernel knows it.
  [[nodiscard]] std::optional<NodeId> find(const Made& made) const;
  // `count` of the times that `node` was handed out are taken back.
  void forget(NodeId node, std::uint64_t count);

  // Makes `place.folder` a place, or counts its users up; give it back with unpin().
  std::uint64_t pin(const Place& place);
  void unpin(std::uint64_t place) { release(place << kPositionBits, 1); }
  // The number of the entry at `position` of a pinned place, handed out once more.
  // Errors: unsupported for a directory of more than 2^28 entries.
  Result<NodeId> remember(std::uint64_t place, std::uint64_t position);

  // How many made nodes and places are known; the root counts for ever.
  [[nodiscard]] std::size_t size() const;

 private:
  static constexpr unsigned kPositionBits = 28;
  static constexpr NodeId kMadeBit = NodeId{1} << 63;
  struct MadeSlot {
    MadePtr made;
    std::uint64_t count = 0;
  };
  struct PlaceSlot {
    Place place;
    std::uint64_t count = 0;
  };

  void release(NodeId node, std::uint64_t count);
  void retain(NodeId node);

  mutable std::mutex mutex_;
  std::unordered_map<NodeId, MadeSlot> made_;
  std::unordered_map<std::string, NodeId> made_by_key_;
  std::unordered_map<std::uint64_t, PlaceSlot> places_;
  std::unordered_map<NodeId, std::uint64_t> place_of_folder_;
  std::uint64_t next_made_ = 1;
  std::uint64_t next_place_ = 1;
};

}  // namespace bygone::fs
