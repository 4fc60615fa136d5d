// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_meta.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "store/base/files.h"
#include "store/stat_types.h"

namespace bygone::fs {
namespace {

using store::Entry;
using store::FileType;
using store::Xattr;

bool privileged() {
  static const bool root = geteuid() == 0;
  return root;
}

// Names a file that has no descriptor of its own without following it if it is a link.
std::string magic_path(const Node& node) {
  return node.fd >= 0 ? fmt::format("/proc/self/fd/{}", node.fd)
                      : fmt::format("/proc/self/fd/{}/{}", node.folder, node.name);
}

Result<bool> set_owner(const Node& node, const Entry& entry, Limits& limits) {
  const int rc = node.fd >= 0 ? fchown(node.fd, entry.uid, entry.gid)
                              : fchownat(node.folder, node.name.c_str(), entry.uid, entry.gid,
                                         AT_SYMLINK_NOFOLLOW);
  if (rc == 0) return true;
  if (errno == EPERM && !privileged()) {
    // An own file with an own group is as it should be even where chown is refused.
    if (entry.uid == geteuid() && entry.gid == getegid()) return true;
    limits.note("owners other than yourself are not restored; hint: run as root");
    return false;
  }
  return os_error(errno, "setting the owner");
}

bool is_reserved(const std::string& name) {
  return name.starts_with("trusted.") || name.starts_with("security.");
}

Result<void> xattr_failed(const std::string& name, Limits& limits) {
  const int error = errno;
  if (error == EOPNOTSUPP) {
    limits.note(
        fmt::format("the target's file system cannot hold attributes such as {}", printable(name)));
    return {};
  }
  if (error == EPERM && !privileged()) {
    limits.note(is_reserved(name)
                    ? "attributes in trusted.* and security.* are not restored; hint: run as root"
                    : "some extended attributes are refused here; hint: run as root");
    return {};
  }
  return os_error(error, fmt::format("setting attribute {}", printable(name)));
}

Result<void> set_xattr(const Node& node, const Xattr& xattr, Limits& limits) {
  const int rc = node.fd >= 0 ? fsetxattr(node.fd, xattr.name.c_str(), xattr.value.data(),
                                          xattr.value.size(), 0)
                              : lsetxattr(magic_path(node).c_str(), xattr.name.c_str(),
                                          xattr.value.data(), xattr.value.size(), 0);
  return rc == 0 ? Result<void>() : xattr_failed(xattr.name, limits);
}

// Attributes that the system sets by itself (SELinux labels) stay.
bool is_ours_to_remove(const std::string& name) {
  return name.starts_with("user.") || name.starts_with("trusted.") ||
         name == "security.capability" || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

Result<std::vector<std::string>> list_xattrs(const Node& node) {
  std::vector<char> names(64u << 10);  // XATTR_LIST_MAX
  const ssize_t size = node.fd >= 0
                           ? flistxattr(node.fd, names.data(), names.size())
                           : llistxattr(magic_path(node).c_str(), names.data(), names.size());
  if (size < 0) {
    if (errno == EOPNOTSUPP) return std::vector<std::string>();
    return os_error(errno, "listing attributes");
  }
  std::vector<std::string> found;
  for (const char* at = names.data(); at < names.data() + size; at += found.back().size() + 1) {
    found.emplace_back(at);
  }
  return found;
}

Result<void> remove_other_xattrs(const Node& node, std::span<const Xattr> wanted, Limits& limits) {
  for (const std::string& name : TRY(list_xattrs(node))) {
    const bool keep =
        std::any_of(wanted.begin(), wanted.end(), [&](const Xattr& x) { return x.name == name; });
    if (keep || !is_ours_to_remove(name)) continue;
    const int rc = node.fd >= 0 ? fremovexattr(node.fd, name.c_str())
                                : lremovexattr(magic_path(node).c_str(), name.c_str());
    if (rc != 0 && errno != ENODATA) TRY(xattr_failed(name, limits));
  }
  return {};
}

Result<void> set_mode(const Node& node, const Entry& entry, bool owner_set) {
  if (entry.type == FileType::symlink) return {};
  // A set-id bit on a file of another owner than meant would hand out the wrong identity.
  const mode_t mode = owner_set ? entry.mode & 07777u : entry.mode & 01777u;
  if (node.fd >= 0) {
    if (fchmod(node.fd, mode) != 0) return os_error(errno, "setting the mode");
    return {};
  }
  const Fd handle(openat(node.folder, node.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!handle.is_open()) return os_error(errno, "setting the mode");
  const std::string path = fmt::format("/proc/self/fd/{}", handle.get());
  if (chmod(path.c_str(), mode) != 0) return os_error(errno, "setting the mode");
  return {};
}

}  // namespace

void Limits::note(const std::string& text) {
  ++count_;
  const std::lock_guard lock(mutex_);
  if (told_.insert(text).second && tell_) tell_(text);
}

Result<void> set_times(const Node& node, const Entry& entry) {
  timespec times[2] = {{}, store::to_timespec(entry.mtime)};
  times[0].tv_nsec = UTIME_OMIT;
  const int rc = node.fd >= 0
                     ? futimens(node.fd, times)
                     : utimensat(node.folder, node.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
  if (rc != 0) return os_error(errno, "setting the times");
  return {};
}

void strip_inherited_acls(int folder) {
  // A file system without ACLs, or a folder that inherited none, answers with an error: fine.
  fremovexattr(folder, "system.posix_acl_default");
  fremovexattr(folder, "system.posix_acl_access");
}

Result<void> apply_metadata(const Node& node, const Entry& entry, std::span<const Xattr> wanted,
                            Existing existing, Limits& limits) {
  const bool owner_set = TRY(set_owner(node, entry, limits));
  if (existing == Existing::yes) TRY(remove_other_xattrs(node, wanted, limits));
  for (const Xattr& xattr : wanted) TRY(set_xattr(node, xattr, limits));
  TRY(set_mode(node, entry, owner_set));
  return set_times(node, entry);
}

}  // namespace bygone::fs
