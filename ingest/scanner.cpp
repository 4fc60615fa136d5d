// SPDX-License-Identifier: Apache-2.0
#include "ingest/scanner.h"

#include "ingest/btrfs.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMaxHeld = 32u << 10;  // entries listed ahead; some 300 bytes each
constexpr std::size_t kMaxStack = 64u << 10;
// Each is open until the walker leaves it: a shell and a service may have 1024 descriptors.
constexpr std::size_t kMaxAhead = 128;
constexpr std::size_t kAlwaysOpen = 64;  // levels from the root
constexpr std::size_t kOpenStep = 32;

}  // namespace

Result<Folder> ScannedFolder::reopen(const Fd& in) const {
  // With no errno of its own: that something above is gone says nothing about what is asked for.
  const auto cannot = [this](const std::string& why) {
    return Error{Code::io, 0, "opening /" + printable(path) + " again: " + why};
  };
  auto opened = open_folder(in, name);
  if (!opened) return cannot(opened.error().message);
  const auto found = look_at(*opened);
  if (!found) return cannot(found.error().message);
  if (found->device != device || found->entry.inode != inode_) {
    return cannot("another folder has its name by now");
  }
  return std::make_shared<const Fd>(std::move(*opened));
}

Result<Folder> ScannedFolder::open() {
  std::vector<ScannedFolder*> chain;  // from here up to the first one that is open
  std::vector<std::shared_ptr<ScannedFolder>> kept;
  Folder at;
  for (ScannedFolder* folder = this;;) {
    {
      const std::lock_guard lock(folder->mutex_);
      at = folder->fd_;
    }
    if (at) break;
    chain.push_back(folder);
    kept.push_back(folder->above.lock());
    if (!kept.back()) return Error{Code::cancelled, 0, "the walk has ended"};
    folder = kept.back().get();
  }
  for (auto folder = chain.rbegin(); folder != chain.rend(); ++folder) {
    at = TRY((*folder)->reopen(*at));
    const std::lock_guard lock((*folder)->mutex_);
    if (!(*folder)->rests_) (*folder)->fd_ = at;
  }
  return at;
}

void ScannedFolder::rest() {
  if (depth < kAlwaysOpen || depth % kOpenStep == 0) return;
  const std::lock_guard lock(mutex_);
  rests_ = true;
  fd_.reset();
}

void ScannedFolder::wake() {
  const std::lock_guard lock(mutex_);
  rests_ = false;
}

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
  folder->fd_ = std::make_shared<const Fd>(std::move(fd));
  folder->device = self.device;
  folder->inode_ = self.entry.inode;
  folder->self = std::move(self);
  return folder;
}

// Opens a folder for the first time, and looks at it.
Result<Folder> Scanner::open(ScannedFolder& folder) {
  const auto above = folder.above.lock();
  if (!above) return Error{Code::cancelled, 0, "the walk has ended"};
  auto fd = std::make_shared<const Fd>(TRY(open_folder(*TRY(above->open()), folder.name)));
  folder.self = TRY(look_at(*fd));
  folder.self.entry.name = folder.name;
  folder.inode_ = folder.self.entry.inode;
  const bool other = folder.self.device != folder.device &&
                     folder.self.entry.inode != btrfs::kLostSubvolumeInode;  // is of none
  if (other) folder.space = inode_space(*fd);
  folder.device = folder.self.device;
  folder.self.entry.inode = inode_in(folder.space, folder.self.entry.inode);
  const std::lock_guard lock(folder.mutex_);
  folder.fd_ = fd;
  return Folder(std::move(fd));
}

Result<void> Scanner::scan(const std::shared_ptr<ScannedFolder>& shared,
                           std::vector<std::shared_ptr<ScannedFolder>>& children) {
  ScannedFolder& folder = *shared;
  const Folder fd = TRY(folder.depth == 0 ? folder.open() : open(folder));
  auto listing = TRY(list_folder(*fd));
  folder.failed = std::move(listing.failed);
  const std::string prefix = folder.path.empty() ? "" : folder.path + "/";
  std::uint64_t bytes = 0;
  for (Listed& listed : listing.entries) {
    ScannedEntry entry{.listed = std::move(listed), .folder = nullptr};
    const store::Entry& meta = entry.listed.entry;
    if (!excludes_.empty() && excludes_.matches(prefix + meta.name, meta.is_directory())) continue;
    if (meta.is_directory() && !is_off_limits_(entry.listed)) {
      entry.folder = std::make_shared<ScannedFolder>();
      entry.folder->name = meta.name;
      entry.folder->path = prefix + meta.name;
      entry.folder->above = shared;
      entry.folder->depth = folder.depth + 1;
      entry.folder->device = folder.device;
      entry.folder->space = folder.space;
      children.push_back(entry.folder);
    }
    bytes += meta.size;
    folder.entries.push_back(std::move(entry));
  }
  files_seen_ += folder.entries.size();
  bytes_seen_ += bytes;
  return {};
}

void Scanner::scan(const std::shared_ptr<ScannedFolder>& folder) {
  std::vector<std::shared_ptr<ScannedFolder>> children;
  if (auto scanned = scan(folder, children); !scanned) folder->error = std::move(scanned).error();
  const std::lock_guard lock(mutex_);
  folder->state = ScannedFolder::State::done;
  held_ += folder->entries.size();
  ++ahead_;
  // The first child is wanted next: it comes last, to the back. What does not fit is listed by
  // the walker when he comes there.
  if (stack_.size() < kMaxStack) stack_.insert(stack_.end(), children.rbegin(), children.rend());
  changed_.notify_all();
}

void Scanner::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] {
      return stopping_ || (!stack_.empty() && held_ < kMaxHeld && ahead_ < kMaxAhead);
    });
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
  --ahead_;
  changed_.notify_all();
}

}  // namespace bygone::ingest
