// SPDX-License-Identifier: Apache-2.0
#include "ingest/source_tree.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <thread>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ingest/btrfs.h"
#include "ingest/layer.h"
#include "store/stat_types.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::FileType;

// DESIGN 4.4: times closer to our look than this prove nothing later.
constexpr Nanoseconds kRacyWindow = 60 * kSecond;
constexpr std::size_t kListBuffer = 64u << 10;
constexpr std::size_t kMaxXattrValue = 64u << 10;

// The kernel says EAGAIN when something was renamed while it looked, and for a lease (fcntl(2))
// that somebody has. Both mostly pass in a moment; nobody is to be waited for longer, least of all
// under a freeze: a holder that does not answer is given 45 s by the kernel.
constexpr int kTriesAtOnce = 8;
constexpr int kTries = kTriesAtOnce + 5;
constexpr std::chrono::milliseconds kFirstPause{5};

// `open`: with or without O_NOATIME, as open(2).
Result<Fd> open_with(const std::function<long(std::uint64_t no_atime)>& open) {
  std::uint64_t no_atime = O_NOATIME;
  std::chrono::milliseconds pause = kFirstPause;
  for (int tries = 1;;) {
    const long fd = open(no_atime);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == EINTR) continue;
    if (errno == EPERM && no_atime != 0) {  // only the owner may ask for it
      no_atime = 0;
      continue;
    }
    if (errno != EAGAIN) return os_error(errno, "opening");
    if (++tries > kTries) {
      return Error{Code::busy, 0, "in use: another program has a lease on it, or renames it"};
    }
    if (tries <= kTriesAtOnce) continue;
    std::this_thread::sleep_for(pause);
    pause *= 2;
  }
}

Result<Fd> open_beneath(const Fd& folder, const std::string& name, std::uint64_t flags) {
  open_how how{};
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  return open_with([&](std::uint64_t no_atime) {
    how.flags = flags | O_CLOEXEC | O_NOFOLLOW | ((flags & O_PATH) == 0 ? no_atime : 0);
    return ::syscall(SYS_openat2, folder.get(), name.c_str(), &how, sizeof how);
  });
}

// /proc/self/fd, looked up once: for each file it would take as long as the file's own lookup. Of
// the process that asks first; nothing here forks to go on with walks.
int own_descriptors() {
  static const Fd folder(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  return folder.get();
}

std::optional<Listed> to_listed(const struct stat& st) {
  const auto type = store::file_type(st.st_mode);
  if (!type) return std::nullopt;
  Listed listed;
  Entry& entry = listed.entry;
  entry.type = *type;
  entry.mode = st.st_mode & 07777;
  entry.uid = st.st_uid;
  entry.gid = st.st_gid;
  entry.mtime = store::to_timestamp(st.st_mtim);
  entry.ctime = store::to_timestamp(st.st_ctim);
  entry.size = *type == FileType::regular ? static_cast<std::uint64_t>(st.st_size) : 0;
  entry.inode = st.st_ino;
  // A folder's link count follows its subfolders and says nothing that they do not.
  entry.links = *type == FileType::directory ? 1 : static_cast<std::uint32_t>(st.st_nlink);
  if (*type == FileType::char_device || *type == FileType::block_device) entry.device = st.st_rdev;
  listed.device = st.st_dev;
  return listed;
}

Result<std::string> read_link(const Fd& folder, const std::string& name) {
  std::string target(4096, '\0');
  const ssize_t n = ::readlinkat(folder.get(), name.c_str(), target.data(), target.size());
  if (n < 0) return os_error(errno, "reading link");
  target.resize(static_cast<std::size_t>(n));
  return target;
}

// Restorable by a copy: anything else would make rsync and tar fail on the mount.
bool is_kept_xattr(std::string_view name) {
  return name.starts_with("user.") || name.starts_with("trusted.") ||
         name.starts_with("security.") || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

using ListCall = std::function<ssize_t(char*, std::size_t)>;
using GetCall = std::function<ssize_t(const char*, void*, std::size_t)>;

Result<std::vector<store::Xattr>> collect_xattrs(const ListCall& list, const GetCall& get,
                                                 TreeKind kind) {
  std::vector<store::Xattr> xattrs;
  std::array<char, 1024> small{};
  std::string names;
  ssize_t n = list(small.data(), small.size());
  if (n >= 0) {
    names.assign(small.data(), static_cast<std::size_t>(n));
  } else if (errno == ERANGE) {
    names.resize(kMaxXattrValue);
    n = list(names.data(), names.size());
    if (n >= 0) names.resize(static_cast<std::size_t>(n));
  }
  if (n < 0) {
    if (errno == EOPNOTSUPP || errno == ENOSYS) return xattrs;
    return os_error(errno, "listing extended attributes");
  }
  for (std::size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    if (!is_kept_xattr(name)) continue;
    Bytes value(256);
    ssize_t size = get(name.c_str(), value.data(), value.size());
    if (size < 0 && errno == ERANGE) {
      value.resize(kMaxXattrValue);
      size = get(name.c_str(), value.data(), value.size());
    }
    if (size < 0) {
      if (errno == ENODATA) continue;  // removed since it was listed
      return os_error(errno, "reading extended attribute " + name);
    }
    value.resize(static_cast<std::size_t>(size));
    xattrs.push_back({name, std::move(value)});
  }
  if (kind == TreeKind::layer) TRY(take_overlay_attributes(xattrs));
  std::sort(xattrs.begin(), xattrs.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return xattrs;
}

}  // namespace

Result<Fd> open_root(const std::string& path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  auto fd = open_with([&](std::uint64_t /*no_atime*/) {
    return ::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how);
  });
  if (fd) return fd;
  const std::string what = "opening " + printable(path);
  const int errnum = fd.error().errnum;
  if (errnum == 0) return std::move(fd).error().with(what);
  if (errnum != ELOOP) return os_error(errnum, what);
  return Error{Code::denied, ELOOP,
               what + ": a part of it has become a symbolic link, which is not followed"};
}

Result<Fd> open_folder(const Fd& folder, const std::string& name) {
  return open_beneath(folder, name, O_RDONLY | O_DIRECTORY);
}

Result<Fd> open_file(const Fd& folder, const std::string& name) {
  // To open a device can do something: a watchdog reboots the machine, a tape rewinds. So the file
  // is found first, which does nothing, and opened when it is known to be one. What was found
  // cannot be swapped.
  const Fd found = TRY(open_beneath(folder, name, O_PATH));
  struct stat st {};
  if (::fstat(found.get(), &st) != 0) return os_error(errno, "looking at a file");
  if (!S_ISREG(st.st_mode)) return os_error(S_ISLNK(st.st_mode) ? ELOOP : ENOENT, "opening");
  const std::string link = std::to_string(found.get());
  return open_with([&](std::uint64_t no_atime) {
    const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | static_cast<int>(no_atime);
    return static_cast<long>(::openat(own_descriptors(), link.c_str(), flags));
  });
}

Result<Listed> look_at(const Fd& fd) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return os_error(errno, "looking at an open file");
  auto listed = to_listed(st);
  if (!listed) return Error{Code::unsupported, 0, "a file of unknown type"};
  return std::move(*listed);
}

std::uint64_t inode_space(const Fd& folder) {
  const auto subvolume = btrfs::subvolume_of(folder);
  if (subvolume) return subvolume->id;
  struct stat st {};
  return ::fstat(folder.get(), &st) == 0 ? st.st_dev : 0;
}

Result<Listing> list_folder(const Fd& folder) {
  std::vector<std::string> names;
  alignas(dirent64) std::array<char, kListBuffer> buffer;
  for (;;) {
    const ssize_t n = ::getdents64(folder.get(), buffer.data(), buffer.size());
    if (n < 0) return os_error(errno, "listing");
    if (n == 0) break;
    for (ssize_t at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  Listing listing;
  listing.entries.reserve(names.size());
  for (std::string& name : names) {
    struct stat st {};
    if (::fstatat(folder.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
      if (errno != ENOENT) listing.failed.emplace_back(std::move(name), errno);
      continue;
    }
    auto listed = to_listed(st);
    if (!listed) {
      listing.failed.emplace_back(std::move(name), EINVAL);
      continue;
    }
    if (listed->entry.type == FileType::symlink) {
      auto target = read_link(folder, name);
      if (!target) {
        // ENOENT: deleted; EINVAL: it is no link any more, and shows as what it is next time.
        const int errnum = target.error().errnum;
        if (errnum != ENOENT && errnum != EINVAL) listing.failed.emplace_back(name, errnum);
        continue;
      }
      listed->entry.target = std::move(*target);
      listed->entry.size = listed->entry.target.size();
    }
    listed->entry.name = std::move(name);
    listing.entries.push_back(std::move(*listed));
  }
  return listing;
}

Result<std::vector<store::Xattr>> read_xattrs(const Fd& fd, TreeKind kind) {
  return collect_xattrs(
      [&](char* out, std::size_t size) { return ::flistxattr(fd.get(), out, size); },
      [&](const char* name, void* out, std::size_t size) {
        return ::fgetxattr(fd.get(), name, out, size);
      },
      kind);
}

Result<std::vector<store::Xattr>> read_xattrs_at(const Fd& folder, const std::string& name,
                                                 TreeKind kind) {
  // The l-calls take a path: the open folder's own, so that nothing in between can be swapped.
  const std::string path = "/proc/self/fd/" + std::to_string(folder.get()) + "/" + name;
  return collect_xattrs(
      [&](char* out, std::size_t size) { return ::llistxattr(path.c_str(), out, size); },
      [&](const char* attribute, void* out, std::size_t size) {
        return ::lgetxattr(path.c_str(), attribute, out, size);
      },
      kind);
}

bool is_racy(const Entry& entry, Nanoseconds now) {
  const auto fresh = [&](const store::Timestamp& t) {
    // In seconds: times in the year 2446 do not fit nanoseconds. A time ahead of us is racy too.
    return t.seconds >= (now - kRacyWindow) / kSecond;
  };
  return fresh(entry.mtime) || fresh(entry.ctime);
}

}  // namespace bygone::ingest
