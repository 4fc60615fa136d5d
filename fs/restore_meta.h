// SPDX-License-Identifier: Apache-2.0
//
// Gives a file of the target the owner, attributes, mode and times of its entry, and remembers
// what this user or this file system does not allow. No content, no names. Callable from any
// thread.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <span>
#include <string>

#include "store/base/result.h"
#include "store/node.h"

namespace bygone::fs {

// What could not be restored here, told once of a kind and counted.
class Limits {
 public:
  explicit Limits(std::function<void(const std::string&)> tell) : tell_(std::move(tell)) {}
  void note(const std::string& text);
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::function<void(const std::string&)> tell_;
  std::mutex mutex_;
  std::set<std::string> told_;
  std::atomic<std::uint64_t> count_{0};
};

// A file of the target. `fd` is open for reading or writing when it is a regular file or a folder,
// and -1 for everything else, which is then named by folder and name.
struct Node {
  int folder = -1;
  std::string name;
  int fd = -1;
};

enum class Existing { no, yes };

// Owner, extended attributes (ACLs and capabilities are such), mode, times: in this order, because
// chown clears capabilities and set-id bits, and everything before it moves the times. `existing`:
// attributes that `wanted` lacks are removed. What only root may do, or the file system cannot, is
// noted in `limits`; other failures are errors.
[[nodiscard]] Result<void> apply_metadata(const Node& node, const store::Entry& entry,
                                          std::span<const store::Xattr> wanted, Existing existing,
                                          Limits& limits);

// Takes inherited ACLs off a new folder, so that what is created in it inherits none.
void strip_inherited_acls(int folder);
// The times of `entry` alone.
[[nodiscard]] Result<void> set_times(const Node& node, const store::Entry& entry);

}  // namespace bygone::fs
