// SPDX-License-Identifier: Apache-2.0
#include "tests/support/faulty_files.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <random>
#include <set>

#include <fcntl.h>

#include "tests/support/damage.h"
#include "tests/support/torture.h"

namespace bygone::test {
namespace {

Tally faults("faults injected");
Tally crash_states("crash states tried");

std::uint64_t chance(std::uint64_t below) {
  static std::mutex mutex;
  static std::mt19937_64 random(seed_of_run());
  const std::lock_guard lock(mutex);
  return random() % below;
}

}  // namespace

Result<Fd> WatchedFiles::open(const std::string& path, int flags, unsigned mode) {
  TRY(before(Call::open, path));
  return inner_.open(path, flags, mode);
}
Result<std::size_t> WatchedFiles::read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) {
  TRY(before(Call::read, ""));
  return inner_.read_at(fd, out, offset);
}
Result<void> WatchedFiles::write_at(const Fd& fd, ByteView data, std::uint64_t offset) {
  TRY(before(Call::write, ""));
  return inner_.write_at(fd, data, offset);
}
void WatchedFiles::start_writeback(const Fd& fd, std::uint64_t offset, std::uint64_t length) {
  inner_.start_writeback(fd, offset, length);
}
Result<void> WatchedFiles::sync_data(const Fd& fd) {
  TRY(before(Call::sync_data, ""));
  return inner_.sync_data(fd);
}
Result<void> WatchedFiles::sync_directory(const std::string& path) {
  TRY(before(Call::sync_directory, path));
  return inner_.sync_directory(path);
}
Result<void> WatchedFiles::rename(const std::string& from, const std::string& to) {
  TRY(before(Call::rename, from));
  return inner_.rename(from, to);
}
Result<void> WatchedFiles::remove(const std::string& path) {
  TRY(before(Call::remove, path));
  return inner_.remove(path);
}
Result<void> WatchedFiles::make_directory(const std::string& path) {
  TRY(before(Call::make_directory, path));
  return inner_.make_directory(path);
}
Result<std::vector<std::string>> WatchedFiles::list(const std::string& path) {
  TRY(before(Call::list, path));
  return inner_.list(path);
}
Result<FileInfo> WatchedFiles::info(const std::string& path) {
  TRY(before(Call::info, path));
  return inner_.info(path);
}
Result<FileInfo> WatchedFiles::info(const Fd& fd) {
  TRY(before(Call::info, ""));
  return inner_.info(fd);
}
Result<void> WatchedFiles::allocate(const Fd& fd, std::uint64_t size) {
  TRY(before(Call::allocate, ""));
  return inner_.allocate(fd, size);
}
Result<bool> WatchedFiles::try_lock(const Fd& fd, Lock lock) {
  TRY(before(Call::lock, ""));
  return inner_.try_lock(fd, lock);
}

void FaultyFiles::fail_at(std::size_t n, int errnum, Then then) {
  const std::lock_guard lock(mutex_);
  left_ = n;
  errnum_ = errnum;
  then_ = then;
  fired_ = false;
  only_changes_ = false;
}

void FaultyFiles::die_at_change(std::size_t n) {
  fail_at(n, EIO, Then::stay_dead);
  const std::lock_guard lock(mutex_);
  only_changes_ = true;
}

bool FaultyFiles::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

std::pair<Call, std::string> FaultyFiles::failed_call() const {
  const std::lock_guard lock(mutex_);
  return failed_call_;
}

std::size_t FaultyFiles::calls_alike() const {
  const auto [call, path] = failed_call();
  const auto at = path.rfind("/packs/");
  const bool is_bucket = at != std::string::npos && path.size() == at + 9;
  if (!is_bucket || (call != Call::list && call != Call::make_directory)) return 0;
  const std::size_t bucket = std::stoul(path.substr(at + 7), nullptr, 16);
  return std::min(std::size_t{126}, 255 - bucket);
}

Result<void> FaultyFiles::before(Call call, const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (fired_ && then_ == Then::stay_dead) return os_error(errnum_, "injected, after " + path);
  const bool is_look = call == Call::read || call == Call::list || call == Call::info;
  if (only_changes_ && is_look) return {};
  if (left_ == 0 || --left_ > 0) return {};
  fired_ = true;
  faults.add();
  failed_call_ = {call, path};
  return os_error(errnum_, "injected at " + path);
}

PowerCutFiles::PowerCutFiles(Files& inner, std::string root)
    : inner_(inner), root_(std::move(root)) {
  namespace filesystem = std::filesystem;
  for (const auto& each : filesystem::recursive_directory_iterator(root_)) {
    auto node = std::make_shared<Node>();
    node->is_directory = each.is_directory();
    node->made_as = each.path().string();
    if (!node->is_directory) node->durable = read_whole(node->made_as);
    live_[node->made_as] = node;
  }
  durable_ = live_;
}

// A sector is written whole or not at all; which of them were, and when, is the disk's own affair.
Bytes PowerCutFiles::some_of(const Node& node) {
  constexpr std::uint64_t kSector = 512;
  Bytes content = node.durable;
  const std::uint64_t of_four = chance(5);  // from none to all of this file
  for (const Write& write : node.unsynced) {
    const std::uint64_t end = write.offset + write.data.size();
    for (std::uint64_t at = write.offset; at < end;) {
      const std::uint64_t stop = std::min(end, (at / kSector + 1) * kSector);
      if (chance(4) < of_four) {
        if (content.size() < stop) content.resize(stop);
        std::copy_n(write.data.begin() + static_cast<std::ptrdiff_t>(at - write.offset), stop - at,
                    content.begin() + static_cast<std::ptrdiff_t>(at));
      }
      at = stop;
    }
  }
  return content;
}

PowerCutFiles::Tree PowerCutFiles::some_names() const {
  Tree names = durable_;
  std::set<std::uint64_t> left_out;
  for (const NameChange& change : unsynced_) {
    if (chance(2) == 0 || left_out.contains(change.rename)) {
      if (change.node && change.rename != 0) left_out.insert(change.rename);
    } else if (change.node) {
      names[change.path] = change.node;
    } else {
      names.erase(change.path);
    }
  }
  return names;
}

void PowerCutFiles::cut(const std::string& target, Unsynced unsynced) const {
  crash_states.add();
  namespace filesystem = std::filesystem;
  const std::lock_guard lock(mutex_);
  const bool some = unsynced == Unsynced::some;
  filesystem::create_directory(target);
  const Tree names = some ? some_names() : unsynced == Unsynced::names ? live_ : durable_;
  for (const auto& [path, node] : names) {
    const std::string to = target + path.substr(root_.size());
    if (!filesystem::is_directory(parent_folder(to))) continue;  // lost with its folder
    if (node->is_directory) {
      filesystem::create_directory(to);
    } else {
      write_whole(to, some ? some_of(*node) : node->durable);
    }
  }
}

Result<Fd> PowerCutFiles::open(const std::string& path, int flags, unsigned mode) {
  Fd fd = TRY(inner_.open(path, flags, mode));
  const std::lock_guard lock(mutex_);
  if (!path.starts_with(root_ + "/")) {  // an index elsewhere: no cut reaches it
    open_.erase(fd.get());
    return fd;
  }
  auto& node = live_[path];
  if (!node) {
    node = std::make_shared<Node>();
    node->made_as = path;
    unsynced_.push_back({path, node});
  }
  open_[fd.get()] = node;
  return fd;
}

Result<std::size_t> PowerCutFiles::read_at(const Fd& fd, MutableByteView out,
                                           std::uint64_t offset) {
  return inner_.read_at(fd, out, offset);
}

Result<void> PowerCutFiles::write_at(const Fd& fd, ByteView data, std::uint64_t offset) {
  TRY(inner_.write_at(fd, data, offset));
  const std::lock_guard lock(mutex_);
  if (const auto& node = open_[fd.get()]) {
    node->unsynced.push_back({offset, Bytes(data.begin(), data.end())});
  }
  return {};
}

void PowerCutFiles::start_writeback(const Fd& /*fd*/, std::uint64_t /*offset*/,
                                    std::uint64_t /*length*/) {}

Result<void> PowerCutFiles::sync_data(const Fd& fd) {
  Bytes content(TRY(inner_.info(fd)).size);
  TRY(inner_.read_at(fd, content, 0));
  const std::lock_guard lock(mutex_);
  const auto& node = open_[fd.get()];
  if (!node) return {};
  if (lies_ && lies_(Call::sync_data, node->made_as)) return {};
  node->durable = std::move(content);
  node->unsynced.clear();
  return {};
}

Result<void> PowerCutFiles::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (lies_ && lies_(Call::sync_directory, path)) return {};
  std::erase_if(durable_, [&](const auto& each) { return parent_folder(each.first) == path; });
  std::erase_if(unsynced_, [&](const auto& each) { return parent_folder(each.path) == path; });
  for (const auto& [name, node] : live_) {
    if (parent_folder(name) == path) durable_[name] = node;
  }
  return {};
}

Result<void> PowerCutFiles::rename(const std::string& from, const std::string& to) {
  TRY(inner_.rename(from, to));
  const std::lock_guard lock(mutex_);
  const auto node = live_[from];
  live_[to] = node;
  live_.erase(from);
  unsynced_.push_back({to, node, ++renames_});
  unsynced_.push_back({from, nullptr, renames_});
  return {};
}

Result<void> PowerCutFiles::remove(const std::string& path) {
  TRY(inner_.remove(path));
  const std::lock_guard lock(mutex_);
  live_.erase(path);
  unsynced_.push_back({path, nullptr});
  return {};
}

Result<void> PowerCutFiles::make_directory(const std::string& path) {
  TRY(inner_.make_directory(path));
  const std::lock_guard lock(mutex_);
  auto node = std::make_shared<Node>();
  node->is_directory = true;
  node->made_as = path;
  live_[path] = node;
  unsynced_.push_back({path, std::move(node)});
  return {};
}

Result<std::vector<std::string>> PowerCutFiles::list(const std::string& path) {
  return inner_.list(path);
}
Result<FileInfo> PowerCutFiles::info(const std::string& path) { return inner_.info(path); }
Result<FileInfo> PowerCutFiles::info(const Fd& fd) { return inner_.info(fd); }
Result<void> PowerCutFiles::allocate(const Fd& /*fd*/, std::uint64_t /*size*/) { return {}; }
Result<bool> PowerCutFiles::try_lock(const Fd& fd, Lock lock) { return inner_.try_lock(fd, lock); }

}  // namespace bygone::test
