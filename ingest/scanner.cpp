// SPDX-License-Identifier: Apache-2.0
#include "ingest/scanner.h"

#include "ingest/btrfs.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMaxHeld = 32u << 10;  // entries listed ahead; some 300 bytes each
constexpr std::size_t kMaxStack = 64u << 10;

}  // namespace

Scanner::Scanner(const Excludes& excludes, std::function<bool(const Listed&)> is_off_limits,
                 unsigned threads, const Limiter* limiter)
    : excludes_(excludes), is_off_limits_(std::move(is_off_limits)) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this, limiter] {
      Limiter::give_way(limiter);
      run();
    });
  }
}

Scanner::~Scanner() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::shared_ptr<ScannedFolder> Scanner::root(Fd fd, Listed self) {
  auto folder = std::make_shared<ScannedFolder>();
  folder->fd = std::make_shared<const Fd>(std::move(fd));
  folder->device = self.device;
  folder->self = std::move(self);
  return folder;
}

void Scanner::scan(ScannedFolder& folder, std::vector<std::shared_ptr<ScannedFolder>>& children) {
  if (!folder.fd) {
    auto opened = open_folder(*folder.parent, folder.name);
    folder.parent.reset();
    if (!opened) {
      folder.error = std::move(opened).error();
      return;
    }
    folder.fd = std::make_shared<const Fd>(std::move(*opened));
    auto self = look_at(*folder.fd);
    if (!self) {
      folder.error = std::move(self).error();
      return;
    }
    folder.self = std::move(*self);
    folder.self.entry.name = folder.name;
    const bool other = folder.self.device != folder.device &&
                       folder.self.entry.inode != btrfs::kLostSubvolumeInode;  // is of none
    if (other) folder.space = inode_space(*folder.fd);
    folder.device = folder.self.device;
    folder.self.entry.inode = inode_in(folder.space, folder.self.entry.inode);
  }
  auto listing = list_folder(*folder.fd);
  if (!listing) {
    folder.error = std::move(listing).error();
    return;
  }
  folder.failed = std::move(listing->failed);
  const std::string prefix = folder.path.empty() ? "" : folder.path + "/";
  std::uint64_t bytes = 0;
  for (Listed& listed : listing->entries) {
    ScannedEntry entry{.listed = std::move(listed), .folder = nullptr};
    const store::Entry& meta = entry.listed.entry;
    if (!excludes_.empty() && excludes_.matches(prefix + meta.name, meta.is_directory())) continue;
    if (meta.is_directory() && !is_off_limits_(entry.listed)) {
      entry.folder = std::make_shared<ScannedFolder>();
      entry.folder->name = meta.name;
      entry.folder->path = prefix + meta.name;
      entry.folder->parent = folder.fd;
      entry.folder->device = folder.device;
      entry.folder->space = folder.space;
      children.push_back(entry.folder);
    }
    bytes += meta.size;
    folder.entries.push_back(std::move(entry));
  }
  files_seen_ += folder.entries.size();
  bytes_seen_ += bytes;
}

void Scanner::scan(const std::shared_ptr<ScannedFolder>& folder) {
  std::vector<std::shared_ptr<ScannedFolder>> children;
  scan(*folder, children);
  const std::lock_guard lock(mutex_);
  folder->state = ScannedFolder::State::done;
  held_ += folder->entries.size();
  // The first child is wanted next: it comes last, to the back. What does not fit is listed by
  // the walker when he comes there.
  if (stack_.size() < kMaxStack) stack_.insert(stack_.end(), children.rbegin(), children.rend());
  changed_.notify_all();
}

void Scanner::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || (!stack_.empty() && held_ < kMaxHeld); });
    if (stopping_) return;
    const std::shared_ptr<ScannedFolder> folder = stack_.back().lock();
    stack_.pop_back();
    if (!folder || folder->state != ScannedFolder::State::waiting) continue;
    folder->state = ScannedFolder::State::running;
    lock.unlock();
    scan(folder);
    lock.lock();
  }
}

void Scanner::finish(const std::shared_ptr<ScannedFolder>& folder) {
  {
    std::unique_lock lock(mutex_);
    if (folder->state != ScannedFolder::State::waiting) {
      changed_.wait(lock, [&] { return folder->state == ScannedFolder::State::done; });
      return;
    }
    folder->state = ScannedFolder::State::running;
  }
  scan(folder);
}

void Scanner::release(const ScannedFolder& folder) {
  const std::lock_guard lock(mutex_);
  held_ -= folder.entries.size();
  changed_.notify_all();
}

}  // namespace bygone::ingest
