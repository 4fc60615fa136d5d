// SPDX-License-Identifier: Apache-2.0
//
// The kernel's mount table, and taking mounts out of it. No FUSE session. prepare_mountpoint() and
// unmount() of mount.h are implemented here. Callable from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::fs {

// The type under which the kernel shows our mounts.
inline constexpr std::string_view kMountType = "fuse.bygone";

// A line of /proc/self/mountinfo, as far as it is of use.
struct MountLine {
  std::string device;  // "0:67"
  std::string path;    // unescaped
  std::string type;
};

// The lines of a mountinfo text, in their order: of several mounts on one path the last is seen.
[[nodiscard]] std::vector<MountLine> parse_mountinfo(std::string_view text);
// The mount that is seen at exactly `path` (absolute, no links); nothing when there is none.
// Errors: io when the table cannot be read.
[[nodiscard]] Result<std::optional<MountLine>> mount_at(const std::string& path);
// `path` without links and relative parts, and without asking a file system mounted on it, which
// may be dead. Errors: not_found.
[[nodiscard]] Result<std::string> absolute_path(const std::string& path);

enum class Detach { if_unused, always };
// Takes the topmost mount at `path` away, through fusermount3 when this is not root. `always`: out
// of the tree at once, though still in use. Errors: busy, denied.
[[nodiscard]] Result<void> detach(const std::string& path, Detach how);

}  // namespace bygone::fs
