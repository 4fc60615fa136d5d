// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_node.h"

#include <algorithm>
#include <atomic>
#include <cerrno>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/stat_types.h"

namespace bygone::fs {
namespace {

using store::Entry;
using store::FileType;

Result<bool> same_link(int folder, const std::string& name, const Entry& entry) {
  std::string target(entry.target.size() + 1, '\0');
  const ssize_t size = readlinkat(folder, name.c_str(), target.data(), target.size());
  if (size < 0) return os_error(errno, "reading the link");
  target.resize(static_cast<std::size_t>(size));
  return target == entry.target;
}

Result<bool> is_unchanged(int folder, const std::string& name, const struct stat& standing,
                          const Entry& entry) {
  if ((standing.st_mode & S_IFMT) != store::format_bits(entry.type)) return false;
  // A file with other names elsewhere is not ours alone to touch.
  if (entry.links <= 1 && standing.st_nlink > 1) return false;
  switch (entry.type) {
    case FileType::regular:
      return static_cast<std::uint64_t>(standing.st_size) == entry.size &&
             store::to_timestamp(standing.st_mtim) == entry.mtime;
    case FileType::symlink:
      return same_link(folder, name, entry);
    case FileType::char_device:
    case FileType::block_device:
      return standing.st_rdev == entry.device;
    default:
      return true;
  }
}

// Unguessable by name only as far as needed: O_EXCL does the rest.
std::string temporary_name() {
  static std::atomic<std::uint64_t> counter{0};
  return fmt::format(".bygone-restore.{:x}.{:x}.{:x}", static_cast<unsigned>(getpid()),
                     static_cast<std::uint64_t>(system_now()), ++counter);
}

}  // namespace

Result<std::optional<struct stat>> look(int folder, const std::string& name) {
  struct stat status {};
  if (fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    return std::optional<struct stat>(status);
  }
  if (errno == ENOENT) return std::optional<struct stat>();
  return os_error(errno, "looking at what stands there");
}

Result<Decision> decide(int folder, const std::string& name,
                        const std::optional<struct stat>& standing, const Entry& entry,
                        Overwrite overwrite) {
  if (!standing) return Decision::create;
  switch (overwrite) {
    case Overwrite::never:
      return Decision::keep;
    case Overwrite::if_newer:
      return entry.mtime > store::to_timestamp(standing->st_mtim) ? Decision::replace
                                                                  : Decision::keep;
    case Overwrite::if_changed:
      return TRY(is_unchanged(folder, name, *standing, entry))
      ? Decision::refresh : Decision::replace;
    case Overwrite::always:
      break;
  }
  return Decision::replace;
}

Decision decide_folder(const std::optional<struct stat>& standing, const Entry& entry,
                       Overwrite overwrite) {
  if (!standing) return Decision::create;
  if (S_ISDIR(standing->st_mode)) return Decision::refresh;
  if (overwrite == Overwrite::never) return Decision::keep;
  if (overwrite == Overwrite::if_newer && entry.mtime <= store::to_timestamp(standing->st_mtim)) {
    return Decision::keep;
  }
  return Decision::replace;
}

Placement::Placement(int folder, std::string name, Decision decision)
    : folder_(folder),
      name_(std::move(name)),
      current_(decision == Decision::replace ? temporary_name() : name_) {}

Placement::Placement(Placement&& other) noexcept { *this = std::move(other); }

Placement& Placement::operator=(Placement&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(name_, other.name_);
  std::swap(current_, other.current_);
  std::swap(created_, other.created_);
  return *this;
}

Placement::~Placement() {
  if (created_) unlinkat(folder_, current_.c_str(), 0);
}

Result<Fd> Placement::create_file() {
  Fd fd(openat(folder_, current_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
               0600));
  if (!fd.is_open()) return os_error(errno, "creating the file");
  created_ = true;
  return fd;
}

Result<void> Placement::create_special(const Entry& entry) {
  const int rc = entry.type == FileType::symlink
                     ? symlinkat(entry.target.c_str(), folder_, current_.c_str())
                     : mknodat(folder_, current_.c_str(), store::format_bits(entry.type) | 0600,
                               static_cast<dev_t>(entry.device));
  if (rc != 0) return os_error(errno, "creating the special file");
  created_ = true;
  return {};
}

Result<void> Placement::create_link(int folder, const std::string& name) {
  if (linkat(folder, name.c_str(), folder_, current_.c_str(), 0) != 0) {
    return os_error(errno, "linking");
  }
  created_ = true;
  return {};
}

Result<void> Placement::commit() {
  if (current_ != name_ && renameat(folder_, current_.c_str(), folder_, name_.c_str()) != 0) {
    return os_error(errno, "moving the new file into place");
  }
  created_ = false;
  return {};
}

Result<std::vector<std::string>> list_folder(int folder) {
  const int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return os_error(errno, "listing the folder");
  DIR* dir = fdopendir(fd);
  if (dir == nullptr) {
    const int error = errno;
    ::close(fd);
    return os_error(error, "listing the folder");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* item = readdir(dir)) {
    const std::string_view name = item->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  const int error = errno;
  closedir(dir);
  if (error != 0) return os_error(error, "listing the folder");
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

// A level of a tree that is being removed. Only the deepest folder is open; going up through ".."
// is checked against what was left below.
struct Doomed {
  std::string name;
  dev_t device = 0;
  ino_t inode = 0;
  std::vector<std::string> names;
};

Result<Doomed> enter_doomed(const Fd& fd, std::string name, dev_t device) {
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return os_error(errno, "removing a folder");
  if (status.st_dev != device) {
    return Error{Code::busy, 0, "removing a folder: " + printable(name) + " is a mount point"};
  }
  return Doomed { std::move(name), status.st_dev, status.st_ino, TRY(list_folder(fd.get())) };
}

Result<Fd> up_to(const Fd& from, const Doomed& parent) {
  Fd fd(openat(from.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status {};
  if (!fd.is_open() || fstat(fd.get(), &status) != 0) return os_error(errno, "removing a folder");
  if (status.st_dev != parent.device || status.st_ino != parent.inode) {
    return Error{Code::busy, 0, "removing a folder: it was moved meanwhile"};
  }
  return fd;
}

Result<void> remove_folder(int folder, const std::string& name) {
  struct stat top {};
  if (fstat(folder, &top) != 0) return os_error(errno, "removing a folder");
  Fd at = TRY(open_folder_at(folder, name));
  std::vector<Doomed> levels;
  levels.push_back(TRY(enter_doomed(at, name, top.st_dev)));
  while (true) {
    Doomed& level = levels.back();
    if (!level.names.empty()) {
      std::string child = std::move(level.names.back());
      level.names.pop_back();
      if (unlinkat(at.get(), child.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR) return os_error(errno, "removing " + printable(child));
      at = TRY(open_folder_at(at.get(), child));
      levels.push_back(TRY(enter_doomed(at, std::move(child), top.st_dev)));
      continue;
    }
    const std::string emptied = std::move(level.name);
    levels.pop_back();
    if (!levels.empty()) at = TRY(up_to(at, levels.back()));
    const int parent = levels.empty() ? folder : at.get();
    if (unlinkat(parent, emptied.c_str(), AT_REMOVEDIR) != 0) {
      return os_error(errno, "removing " + printable(emptied));
    }
    if (levels.empty()) return {};
  }
}

}  // namespace

Result<void> remove_tree(int folder, const std::string& name) {
  if (unlinkat(folder, name.c_str(), 0) == 0) return {};
  if (errno != EISDIR) return os_error(errno, "removing it");
  return remove_folder(folder, name);
}

}  // namespace bygone::fs
