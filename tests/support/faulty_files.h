// SPDX-License-Identifier: Apache-2.0
//
// Decorators of Files for crash tests. FaultyFiles fails the n-th call, once or for good.
// PowerCutFiles remembers what a power cut would leave of data and of names that were not synced:
// nothing, or any part in any order. Callable from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/base/files.h"

namespace bygone::test {

enum class Call {
  open,
  read,
  write,
  sync_data,
  sync_directory,
  rename,
  remove,
  make_directory,
  list,
  info,
  allocate,
  lock
};

// Passes every call on, after asking `before` about it.
class WatchedFiles : public Files {
 public:
  explicit WatchedFiles(Files& inner) : inner_(inner) {}

  Result<Fd> open(const std::string& path, int flags, unsigned mode) override;
  Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) override;
  Result<void> write_at(const Fd& fd, ByteView data, std::uint64_t offset) override;
  void start_writeback(const Fd& fd, std::uint64_t offset, std::uint64_t length) override;
  Result<void> sync_data(const Fd& fd) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<FileInfo> info(const std::string& path) override;
  Result<FileInfo> info(const Fd& fd) override;
  Result<void> allocate(const Fd& fd, std::uint64_t size) override;
  Result<bool> try_lock(const Fd& fd, Lock lock) override;

 protected:
  // An error here is the call's answer; the call is not made.
  virtual Result<void> before(Call call, const std::string& path) = 0;
  Files& inner_;
};

class FaultyFiles final : public WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  enum class Then { recover, stay_dead };  // a fault, or a process that was killed
  // Fails the n-th call from now (1 is the next) with `errnum`.
  void fail_at(std::size_t n, int errnum, Then then);
  // The process dies at the n-th call that is more than a look: what a death or a power cut at a
  // look leaves, one at the call after it leaves as well.
  void die_at_change(std::size_t n);
  [[nodiscard]] bool fired() const;
  [[nodiscard]] std::pair<Call, std::string> failed_call() const;
  // How many of the calls after the one that failed are like it, so that nothing new comes of
  // failing them, too: the 256 folders of packs are listed, and made, one by one. A few of them are
  // left to fail; what comes after the last of them is never counted.
  [[nodiscard]] std::size_t calls_alike() const;

 protected:
  Result<void> before(Call call, const std::string& path) override;

 private:
  mutable std::mutex mutex_;
  std::size_t left_ = 0;
  int errnum_ = 0;
  Then then_ = Then::recover;
  bool fired_ = false;
  bool only_changes_ = false;
  std::pair<Call, std::string> failed_call_{Call::open, ""};
};

class PowerCutFiles final : public Files {
 public:
  // What stands in `root` now counts as durable.
  PowerCutFiles(Files& inner, std::string root);

  // Syncs for which this says true are lies: mutations of the code under test.
  using Lies = std::function<bool(Call, const std::string& path)>;
  void lie_about(Lies lies) { lies_ = std::move(lies); }

  // What reached the disk although nobody synced it. `names`: each of them, and no data; `some`:
  // some names, and of the data some sectors of 512 bytes, whichever were written first.
  enum class Unsynced { nothing, names, some };
  static constexpr std::array kCuts = {Unsynced::nothing, Unsynced::names, Unsynced::some};
  // Writes what a power cut now would leave to the new folder `target`. What `some` are, chance
  // says: BYGONE_SEED repeats it.
  void cut(const std::string& target, Unsynced unsynced) const;

  Result<Fd> open(const std::string& path, int flags, unsigned mode) override;
  Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) override;
  Result<void> write_at(const Fd& fd, ByteView data, std::uint64_t offset) override;
  void start_writeback(const Fd& fd, std::uint64_t offset, std::uint64_t length) override;
  Result<void> sync_data(const Fd& fd) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<FileInfo> info(const std::string& path) override;
  Result<FileInfo> info(const Fd& fd) override;
  Result<void> allocate(const Fd& fd, std::uint64_t size) override;
  Result<bool> try_lock(const Fd& fd, Lock lock) override;

 private:
  struct Write {
    std::uint64_t offset = 0;
    Bytes data;
  };
  struct Node {
    bool is_directory = false;
    std::string made_as;  // the path under which it was created
    Bytes durable;
    std::vector<Write> unsynced;
  };
  using Tree = std::map<std::string, std::shared_ptr<Node>>;
  // A name that appeared or, without a node, went. A rename is two of them, with one number; a
  // journal may split it into two names of one file, but not into none.
  struct NameChange {
    std::string path;
    std::shared_ptr<Node> node;
    std::uint64_t rename = 0;
  };

  static Bytes some_of(const Node& node);
  [[nodiscard]] Tree some_names() const;

  Files& inner_;
  std::string root_;
  Lies lies_;
  mutable std::mutex mutex_;
  Tree live_;
  Tree durable_;
  std::vector<NameChange> unsynced_;
  std::uint64_t renames_ = 0;
  std::map<int, std::shared_ptr<Node>> open_;
};

}  // namespace bygone::test
