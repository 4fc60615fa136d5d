// SPDX-License-Identifier: Apache-2.0
//
// The tree of names that the mount shows, without FUSE: root, sources, instants, volumes, captured
// entries, and what is found but never listed.
//
//   /db  /db/2024-03-16T05:57  /db/2024-03-16T05:57/pgdata/...  /db/2024-03-16T05:57/.bygone/...
//   /db/latest  /db/<any instant> -> 2024-03-16T05:57         /etc-of-nas/2024-03-16T05:57/...
//   /@volumes/data/2024-03-16T05:57/...                       /@snapshots/<id> -> ../db/...
//   /@groups/shop/2024-03-16T05:57/db -> ../../../db/...
//
// Follows the repository through refresh(). Callable from any thread but for refresh(), which is
// one thread's. No lock is held during I/O.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fs/attributes.h"
#include "fs/catalog.h"
#include "fs/inodes.h"
#include "fs/tree.h"

namespace bygone::fs {

// How long an answer stays true.
enum class Lifetime {
  forever,  // inside a snapshot
  brief,    // lists of sources and instants: changes are told by refresh(), too
  moment,   // latest, and instants in words
};

struct Found {
  NodeId node = 0;
  Attributes attributes;
  Lifetime name = Lifetime::forever;
  Lifetime content = Lifetime::forever;  // of the attributes
};

struct Lookup {
  std::optional<Found> found;
  bool absent_for_ever = false;  // when nothing was found: whether that may be remembered
};

// A captured entry, or a made file in the same shape.
struct Captured {
  EntryPtr entry;
  SnapshotPtr snapshot;
  std::uint32_t volume = 0;
  std::uint64_t ino = 0;
};

// An open directory: the made names in it, then the captured ones.
struct Listing {
  NodeId folder = 0;
  std::uint64_t ino = 0;
  std::uint64_t parent_ino = 0;
  std::vector<Made> made;
  std::optional<Place> place;
};

// What refresh() saw: `name` appeared in or vanished from `folder`; empty: just its attributes.
struct Change {
  NodeId folder = 0;
  std::string name;
};

struct NamespaceOptions {
  std::uint32_t uid = 0;  // owner of what is made: the user who mounts
  std::uint32_t gid = 0;
  std::size_t tree_cache_bytes = 12u << 20;
  Clock clock = system_now;
};

class Namespace {
 public:
  // All must outlive it. Errors: those of load_catalog().
  static Result<std::unique_ptr<Namespace>> open(SnapshotSource& snapshots,
                                                 store::TreeReader& reader,
                                                 const store::KeyRing& keys,
                                                 NamespaceOptions options);

  // Errors of all below: not_found with ESTALE for a node that nobody handed out; invalid with
  // ENOTDIR where a folder is meant; those of TreeReader. error_number() makes an errno of them.

  // The entry called `name`; a found node counts as handed out once more.
  // Errors: invalid with ENAMETOOLONG above 255 bytes; io as for open_folder().
  Result<Lookup> lookup(NodeId folder, std::string_view name);
  void forget(NodeId node, std::uint64_t count) { inodes_.forget(node, count); }
  Result<Found> attributes(NodeId node);
  // Errors: invalid with EINVAL when it is no symbolic link.
  Result<std::string> read_link(NodeId node);
  // The entry behind a node; for snapshot.json an entry with inline bytes. Errors: invalid with
  // EISDIR for made folders.
  Result<Captured> file(NodeId node);
  // Extended attributes, sorted by name: only of the namespaces that Linux knows.
  Result<std::vector<store::Xattr>> xattrs(NodeId node);

  // Errors: io when the folder could not be read when it was captured.
  Result<Listing> open_folder(NodeId node);
  // `next`: the position after this entry, to go on from.
  using Visit =
      std::function<bool(const std::string& name, const Found& found, std::uint64_t next)>;
  // Calls `visit` for the entries from position `from` until it returns false; each one that
  // `visit` accepted counts as handed out once more.
  Result<void> list(const Listing& listing, std::uint64_t from, const Visit& visit);

  // Looks at the repository again. What changed, for folders that the kernel knows.
  Result<std::vector<Change>> refresh();
  // The errno for a failure on `node`: ESTALE when its snapshot is gone, else what the error says.
  int error_number(NodeId node, const Error& error);
  // The path below the mountpoint, for messages.
  std::string path(NodeId node);

  [[nodiscard]] Tree& tree() { return tree_; }
  [[nodiscard]] const Inodes& inodes() const { return inodes_; }

 private:
  Namespace(SnapshotSource& snapshots, store::TreeReader& reader, const store::KeyRing& keys,
            NamespaceOptions options);

  [[nodiscard]] std::shared_ptr<const Catalog> catalog() const;
  Result<std::shared_ptr<const Catalog>> read_catalog(const Catalog* previous);

  Found describe_made(const Catalog& catalog, const Made& made, NodeId node);
  Found describe_captured(const Captured& captured, NodeId node);
  Result<Captured> captured(const Spot& spot);
  Captured captured(const Place& place, EntryPtr entry) const;
  // The entry that a made node shows as itself: the root of a tree.
  [[nodiscard]] Captured root_of(const Made& made) const;
  // The captured directory that a made folder shows the entries of, if it shows one. Errors, here
  // and below: io when it could not be read when it was captured.
  [[nodiscard]] Result<std::optional<Place>> place_of(const Made& made, NodeId node) const;
  Result<Place> place_of(const Spot& spot, NodeId node);
  Result<std::optional<Found>> lookup_captured(const Place& place, std::string_view name);
  Result<void> list_captured(const Listing& listing, std::uint64_t from, const Visit& visit);

  SnapshotSource& snapshots_;
  const store::KeyRing& keys_;
  NamespaceOptions options_;
  Tree tree_;
  Inodes inodes_;
  std::set<SnapshotId> damaged_;  // told already; only refresh() looks at it
  mutable std::mutex mutex_;
  std::shared_ptr<const Catalog> catalog_;  // guarded by mutex_
};

}  // namespace bygone::fs
