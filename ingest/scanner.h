// SPDX-License-Identifier: Apache-2.0
//
// Lists folders ahead of the one who walks them, in the order in which he will want them, as many
// as memory and descriptors allow. The
// walker asks folder by folder; what no thread has listed yet, it lists itself, so that it never
// waits for a thread that waits for it. One walker; the threads are the scanner's own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ingest/exclude.h"
#include "ingest/limiter.h"
#include "ingest/source_tree.h"

namespace bygone::ingest {

struct ScannedFolder;

// An entry of a scanned folder; subfolders come with their own scan, begun or not.
struct ScannedEntry {
  Listed listed;
  std::shared_ptr<ScannedFolder> folder;  // of a directory that is to be walked
};

struct ScannedFolder {
  std::weak_ptr<ScannedFolder> above;  // to open it in; the walker keeps it for as long
  std::size_t depth = 0;               // of the root 0
  std::string name;
  std::string path;          // from the volume's root; empty for the root itself
  std::uint64_t device = 0;  // its st_dev; until it is open its parent's, and
  std::uint64_t space = 0;   // so of the set of its inode numbers

  // Valid once the walker has it.
  Listed self;  // the open folder's metadata
  std::vector<ScannedEntry> entries;
  std::vector<std::pair<std::string, int>> failed;
  std::optional<Error> error;

  // The open folder, opened again where rest() has let it go: by its name, in the one above. Any
  // thread. Errors: those of opening; io when another folder has its name by now.
  Result<Folder> open();
  // The walker is below it now, and comes back later. Folders near the root and every 32nd level
  // stay open: to open one again takes few steps, and a deep tree few descriptors. wake(): he is
  // back.
  void rest();
  void wake();

  enum class State { waiting, running, done };
  State state = State::waiting;  // guarded by the scanner

 private:
  friend class Scanner;
  Result<Folder> reopen(const Fd& in) const;
  std::uint64_t inode_ = 0;  // as the file system numbers it
  std::mutex mutex_;
  Folder fd_;           // guarded by mutex_
  bool rests_ = false;  // guarded by mutex_: opened again, it is not kept
};

class Scanner {
 public:
  // `is_off_limits` says of a listed folder that it must not be entered. The threads give way to
  // others as `limiter` says. All references must outlive the scanner.
  Scanner(const Excludes& excludes, std::function<bool(const Listed&)> is_off_limits,
          unsigned threads, const Limiter* limiter);
  ~Scanner();
  Scanner(const Scanner&) = delete;
  Scanner& operator=(const Scanner&) = delete;

  // The root of a walk.
  std::shared_ptr<ScannedFolder> root(Fd fd, Listed self);
  // Lists `folder`, or waits for the thread that does.
  void finish(const std::shared_ptr<ScannedFolder>& folder);
  // The walker is about to take the entries out of `folder`.
  void release(const ScannedFolder& folder);
  // Entries listed so far: the total when the walk ends.
  [[nodiscard]] std::uint64_t files_seen() const { return files_seen_.load(); }
  [[nodiscard]] std::uint64_t bytes_seen() const { return bytes_seen_.load(); }

 private:
  void run();
  void scan(const std::shared_ptr<ScannedFolder>& folder);
  static Result<Folder> open(ScannedFolder& folder);
  Result<void> scan(const std::shared_ptr<ScannedFolder>& folder,
                    std::vector<std::shared_ptr<ScannedFolder>>& children);

  const Excludes& excludes_;
  std::function<bool(const Listed&)> is_off_limits_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::weak_ptr<ScannedFolder>> stack_;  // next at the back
  std::size_t held_ = 0;                             // entries listed and not yet released
  std::size_t ahead_ = 0;                            // folders that those are in, all open
  bool stopping_ = false;
  std::atomic<std::uint64_t> files_seen_{0};
  std::atomic<std::uint64_t> bytes_seen_{0};
  std::vector<std::thread> threads_;
};

}  // namespace bygone::ingest
