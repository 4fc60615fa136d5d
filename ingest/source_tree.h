// SPDX-License-Identifier: Apache-2.0
//
// Reads a tree that somebody else may be changing, or wants to lead astray: every step is an
// openat2(2) beneath an open folder, no symbolic link is ever followed, no mount is crossed. All
// I/O on sources is here. Functions are callable from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/base/clock.h"
#include "store/base/files.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::ingest {

// An open folder of a source, shared by those who still open things in it.
using Folder = std::shared_ptr<const Fd>;

// What a folder's listing says of one name. `entry` has everything but content and xattrs.
struct Listed {
  store::Entry entry;
  std::uint64_t device = 0;  // st_dev, to recognise folders that are off limits
};

// Numbers the inodes of a tree that has several sets of them, as every subvolume of a btrfs is one:
// files of different ones must not pass for hard links. `space` is that of the set, 0 for the
// root's.
[[nodiscard]] inline std::uint64_t inode_in(std::uint64_t space, std::uint64_t inode) {
  return inode + space * 0x9e3779b97f4a7c15U;
}
// The number of the set that an open folder is in, other than the root's: on a btrfs the same after
// every mount, elsewhere the st_dev.
[[nodiscard]] std::uint64_t inode_space(const Fd& folder);

// What a tree is: files as they are, or the upper folder of an overlay (layer.h).
enum class TreeKind { plain, layer };

struct Listing {
  std::vector<Listed> entries;  // sorted by name; names that vanished meanwhile are not there
  // Names whose metadata could not be read, with the errno.
  std::vector<std::pair<std::string, int>> failed;
};

// As far as times and size tell, whether nobody has written in between.
[[nodiscard]] inline bool same_times(const store::Entry& a, const store::Entry& b) {
  return a.size == b.size && a.mtime == b.mtime && a.ctime == b.ctime;
}

// Path of `name` in `folder`, from a volume's root, which is the empty path.
[[nodiscard]] inline std::string join_path(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

// The folder, "." for none, and the last name of a path: what openat() takes for each.
[[nodiscard]] inline std::pair<std::string, std::string> split_last(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// Opens the root of a volume: a folder, or a regular file for a bind of a file. `path` is
// canonical(): a symbolic link that stands in it was put there since, and may lead anywhere.
// Errors: not_found; denied, also for such a link; io.
Result<Fd> open_root(const std::string& path);

// Opens `name` in `folder` for listing. Errors: os_error(); EXDEV (Code::io) for a mount point,
// ENOTDIR or ELOOP when it is no folder any more; busy after a fraction of a second, without an
// errno, when another program has a lease on it.
Result<Fd> open_folder(const Fd& folder, const std::string& name);
// Opens a regular file for reading. What it may have become, a device or a fifo, is not opened.
// Errors: as above; ENOENT when it is no regular file any more.
Result<Fd> open_file(const Fd& folder, const std::string& name);

// Metadata of an open file or folder, as of now; the name is empty.
Result<Listed> look_at(const Fd& fd);
// All names in a folder with their metadata. Errors: io when the listing itself fails.
Result<Listing> list_folder(const Fd& folder);

// Extended attributes of an open file or folder, sorted by name; those of namespaces that no copy
// could restore are left out. A file system without them has none. Errors: those of
// take_overlay_attributes(), for a layer.
Result<std::vector<store::Xattr>> read_xattrs(const Fd& fd, TreeKind kind);
// Those of `name` in `folder`, whatever it is; a symbolic link's own.
Result<std::vector<store::Xattr>> read_xattrs_at(const Fd& folder, const std::string& name,
                                                 TreeKind kind);

// Whether a file with these times, looked at `now`, could change again without its times showing.
[[nodiscard]] bool is_racy(const store::Entry& entry, Nanoseconds now);

}  // namespace bygone::ingest
