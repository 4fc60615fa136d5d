// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_folder.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

namespace bygone::fs {
namespace {

constexpr std::size_t kAlwaysOpen = 64;  // levels from the top
constexpr std::size_t kStep = 32;

}  // namespace

Result<Fd> open_folder_at(int parent, const std::string& name) {
  Fd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.is_open()) return os_error(errno, "opening the folder");
  return fd;
}

Folder::Folder(Fd handle, Origin origin)
    : depth_(0),
      origin_(origin),
      has_entry_(false),
      handle_(std::make_shared<const Fd>(std::move(handle))) {}

Folder::Folder(FolderPtr parent, const store::Entry& entry, std::string name, Fd handle,
               Origin origin)
    : parent_(std::move(parent)),
      entry_(entry),
      name_(std::move(name)),
      depth_(parent_->depth_ + 1),
      origin_(origin),
      handle_(std::make_shared<const Fd>(std::move(handle))) {
  parent_->expect();
  struct stat status {};
  if (!handle_->is_open() || fstat(handle_->get(), &status) != 0) return;  // a dry run
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

// Level by level: a chain of a hundred thousand folders must not recurse.
Folder::~Folder() {
  FolderPtr up = std::move(parent_);
  while (up && up.use_count() == 1) {
    FolderPtr next = std::move(up->parent_);
    up = std::move(next);
  }
}

void Folder::adopt(const store::Entry& entry) {
  entry_ = entry;
  has_entry_ = true;
}

Result<FdPtr> Folder::open() {
  std::vector<Folder*> chain;  // from here up to the first one that is open
  FdPtr at;
  for (Folder* folder = this; at == nullptr; folder = folder->parent_.get()) {
    const std::lock_guard lock(folder->mutex_);
    at = folder->handle_;
    if (at == nullptr) chain.push_back(folder);
  }
  for (auto folder = chain.rbegin(); folder != chain.rend(); ++folder) {
    at = std::make_shared<const Fd>(TRY(open_folder_at(at->get(), (*folder)->name_)));
    const std::lock_guard lock((*folder)->mutex_);
    const bool keep = *folder == this || (*folder)->depth_ % kStep == 0;
    if (keep && !(*folder)->left_) (*folder)->handle_ = at;
  }
  return at;
}

Result<FdPtr> Folder::open_above(const Fd& below) {
  {
    const std::lock_guard lock(mutex_);
    if (handle_ != nullptr) return handle_;
  }
  Fd fd(openat(below.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status {};
  // Somebody may have moved what is below elsewhere.
  const bool is_this = fd.is_open() && fstat(fd.get(), &status) == 0 && status.st_dev == device_ &&
                       status.st_ino == inode_;
  if (!is_this) return open();
  return std::make_shared<const Fd>(std::move(fd));
}

void Folder::rest() {
  if (depth_ >= kAlwaysOpen && depth_ % kStep != 0) leave();
}

void Folder::leave() {
  if (depth_ == 0) return;  // everything else opens from there
  const std::lock_guard lock(mutex_);
  left_ = true;
  if (handle_ && handle_->is_open()) handle_.reset();  // a dry run has nothing to open again
}

std::string Folder::path(std::string_view name) const {
  std::vector<std::string_view> parts;
  if (!name.empty()) parts.push_back(name);
  for (const Folder* folder = this; folder->depth_ > 0; folder = folder->parent_.get()) {
    parts.push_back(folder->name_);
  }
  if (parts.empty()) return ".";
  std::string joined;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!joined.empty()) joined += '/';
    joined += *part;
  }
  return joined;
}

Result<FdPtr> LastFolder::open(const FolderPtr& folder) {
  if (folder != folder_) {
    const bool is_above = folder_ != nullptr && folder_->parent() == folder;
    fd_ = TRY(is_above ? folder->open_above(*fd_) : folder->open());
    folder_ = folder;
  }
  return fd_;
}

}  // namespace bygone::fs
