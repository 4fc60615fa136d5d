// SPDX-License-Identifier: Apache-2.0
//
// A folder of the target while it is being restored: its place in the tree, its descriptor, and
// how much below it is still unfinished. Every name is resolved relative to such a descriptor and
// no link is followed, so depth has no limit and nothing outside the target is reached. Callable
// from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "store/base/files.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::fs {

class Folder;
using FolderPtr = std::shared_ptr<Folder>;
using FdPtr = std::shared_ptr<const Fd>;

class Folder {
 public:
  enum class Origin {
    created,   // by us, empty
    existing,  // stood there before
  };

  // The target itself. `handle` is open for reading.
  Folder(Fd handle, Origin origin);
  // A folder in `parent`, which waits for it.
  Folder(FolderPtr parent, const store::Entry& entry, std::string name, Fd handle, Origin origin);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  // Its descriptor, opened again when it was let go. Errors: of open(2) on the way.
  [[nodiscard]] Result<FdPtr> open();
  // The same by one step from `below`, which was opened as a folder in it.
  [[nodiscard]] Result<FdPtr> open_above(const Fd& below);
  // Lets the descriptor go and keeps none again; folders near the top and every 32nd level keep
  // theirs, so that opening again costs a few steps and a deep tree a few descriptors.
  void rest();
  // The same for each, when the walk is done with it: many small folders may wait for their files
  // at once. Whoever still has something to do in one opens it for that long.
  void leave();

  // One more, or one less, thing in it is unfinished. done() is true for the last one: then the
  // caller sets its metadata and calls done() of the parent. A new folder has one: its own listing.
  void expect() { pending_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] bool done() { return pending_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  [[nodiscard]] const FolderPtr& parent() const { return parent_; }
  [[nodiscard]] const store::Entry& entry() const { return entry_; }
  [[nodiscard]] Origin origin() const { return origin_; }
  // False for a target that is no folder of the snapshot: its metadata is left alone.
  [[nodiscard]] bool has_entry() const { return has_entry_; }
  // Makes the target itself the folder of `entry`.
  void adopt(const store::Entry& entry);
  // Relative to the target, "." for the target; `name` is appended when it is not empty.
  [[nodiscard]] std::string path(std::string_view name = {}) const;

 private:
  FolderPtr parent_;
  store::Entry entry_;
  std::string name_;
  const std::size_t depth_;
  const Origin origin_;
  bool has_entry_ = true;
  std::uint64_t device_ = 0, inode_ = 0;  // as it stands in the target
  std::atomic<std::uint64_t> pending_{1};
  std::mutex mutex_;
  FdPtr handle_;       // guarded by mutex_
  bool left_ = false;  // guarded by mutex_: do not keep a descriptor again
};

// The folder that was opened last: neighbours mostly share theirs. One thread.
class LastFolder {
 public:
  // Errors: those of Folder::open().
  [[nodiscard]] Result<FdPtr> open(const FolderPtr& folder);

 private:
  FolderPtr folder_;
  FdPtr fd_;
};

// open(2) of the folder `name` in `parent`, refusing links.
[[nodiscard]] Result<Fd> open_folder_at(int parent, const std::string& name);

}  // namespace bygone::fs
