// SPDX-License-Identifier: Apache-2.0
//
// The data model of a captured tree, in memory: entries, extents, references. How it is laid out
// in bytes stands in page.h and FORMAT.md section 7. Values only, no I/O.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"

namespace bygone::store {

enum class FileType : std::uint8_t {
  regular = 1,
  directory = 2,
  symlink = 3,
  fifo = 4,
  socket = 5,
  char_device = 6,
  block_device = 7,
};

struct Timestamp {
  std::int64_t seconds = 0;       // since 1970, negative before
  std::uint32_t nanoseconds = 0;  // 0 to 999,999,999, always forward from `seconds`
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

// Of a time that is not before 1970.
inline Timestamp to_timestamp(Nanoseconds time) {
  return {.seconds = time / kSecond, .nanoseconds = static_cast<std::uint32_t>(time % kSecond)};
}

// A node inside a page: the page's chunk id and the node's number in it.
// Equal references mean equal content; unequal ones mean nothing.
struct NodeRef {
  ChunkId page;
  std::uint32_t node = 0;
  friend bool operator==(const NodeRef&, const NodeRef&) = default;
};

// A piece of a file. The extents of a file are in file order and cover it without gaps: their
// lengths add up to its size.
struct Extent {
  enum class Kind : std::uint8_t {
    data = 0,  // `length` bytes of `chunk` from `offset`
    hole = 1,  // never written; comes back as a hole
    zero = 2,  // written zeros; comes back allocated
  };
  Kind kind = Kind::data;
  std::uint64_t length = 0;
  std::uint32_t offset = 0;
  ChunkId chunk;
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct Xattr {
  std::string name;  // with its namespace: "user.x", "system.posix_acl_access"
  Bytes value;
  friend bool operator==(const Xattr&, const Xattr&) = default;
};

// Flags of an entry; kept in one byte on disk.
inline constexpr std::uint8_t kRacy = 1;              // times too fresh to prove it unchanged later
inline constexpr std::uint8_t kChangedWhileRead = 2;  // content may mix two states
inline constexpr std::uint8_t kUnreadable = 4;        // content (or listing) could not be read
inline constexpr std::uint8_t kNotCrossed = 8;  // a mount point, or left out on purpose: empty

// One name in a directory, or the root of a volume (then `name` is empty).
struct Entry {
  enum class Content : std::uint8_t {
    none = 0,          // no bytes: empty file, symlink, device, unreadable
    inline_bytes = 1,  // up to kMaxInlineBytes in `inline_bytes`
    extents = 2,       // up to kMaxInlineExtents in `extents`
    extent_node = 3,   // `node` is the root of an extent tree
    directory = 4,     // `node` is the directory's node; the totals below are set
  };

  std::string name;  // raw bytes, 1 to 255, no '/' and no NUL
  FileType type = FileType::regular;
  std::uint8_t flags = 0;
  std::uint32_t mode = 0;  // the low 12 bits: permissions, setuid, setgid, sticky
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Timestamp mtime;
  Timestamp ctime;
  std::uint64_t size = 0;    // regular files: bytes; symlinks: target length; else 0
  std::uint64_t inode = 0;   // of the source; hard links and change detection
  std::uint32_t links = 1;   // st_nlink of the source
  std::uint64_t device = 0;  // st_rdev of devices, as makedev(3) makes it
  std::string target;        // symlinks: raw bytes

  // Sorted by name. Sets larger than kMaxInlineXattrs bytes stand in `xattr_node` instead;
  // TreeReader::xattrs() gives either.
  std::vector<Xattr> xattrs;
  std::optional<NodeRef> xattr_node;

  Content content = Content::none;
  Bytes inline_bytes;
  std::vector<Extent> extents;
  NodeRef node;
  // Directories only.
  std::uint64_t entries = 0;        // names directly in it
  std::uint64_t subtree_files = 0;  // everything below that is not a directory
  std::uint64_t subtree_bytes = 0;  // sizes of the regular files below

  [[nodiscard]] bool is_directory() const { return type == FileType::directory; }
  friend bool operator==(const Entry&, const Entry&) = default;
};

}  // namespace bygone::store
