// SPDX-License-Identifier: Apache-2.0
//
// What stat shows of a node, and above all its st_ino. The mount is one file system to every
// program, so equal numbers must mean equal content over all snapshots: `diff`, `cp -a`, `rsync
// -H` and tar treat two files of one number as one. Numbers are keyed hashes, so no table is
// needed and a remount gives the same. Pure functions, callable from any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "store/keys.h"
#include "store/node.h"
#include "store/snapshot.h"

namespace bygone::fs {

struct Attributes {
  std::uint64_t ino = 0;
  store::FileType type = store::FileType::regular;
  std::uint32_t mode = 0;  // the low 12 bits
  std::uint32_t links = 1;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t device = 0;  // st_rdev
  std::uint64_t size = 0;
  std::uint64_t allocated = 0;  // bytes that are not holes
  store::Timestamp mtime;
  store::Timestamp ctime;
};

// The tree that an entry belongs to.
struct TreeIdentity {
  SourceId source;
  SnapshotId snapshot;
  std::string_view volume;  // its name; of the second tree ".bygone"
};

// The st_ino of a captured entry: 62 bits (overlayfs needs two for itself), never 0. Hashed are
//   file with one link:  source, volume, source inode, type, size, content (chunk ids, or the
//                        page and node of its extents): the same while it is unchanged
//   several links:       source, snapshot, volume, source inode, ctime and size: the same for all
//                        its names, and another one for a file that got the number later
//   directory:           source, snapshot, volume, source inode
// and, where the source had no inode number, the `parent`'s st_ino and the name.
[[nodiscard]] std::uint64_t inode_number(const store::KeyRing& keys, const TreeIdentity& tree,
                                         const store::Entry& entry, std::uint64_t parent);
// The st_ino of a node that is no captured entry, from its unique key.
[[nodiscard]] std::uint64_t inode_number(const store::KeyRing& keys, std::string_view made_key);

// The rest of what stat shows of `entry`; the sizes of directories are nominal.
[[nodiscard]] Attributes describe(const store::Entry& entry, std::uint64_t ino,
                                  std::uint64_t allocated);

}  // namespace bygone::fs
