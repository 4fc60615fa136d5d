// SPDX-License-Identifier: Apache-2.0
//
// Captured directories by position and by name, with decoded leaves kept in a cache bounded in
// bytes. The mount names a file by (directory, position), which is stable because content is
// immutable, and so needs no memory per file. Callable from any thread; no lock is held while a
// page is read or decoded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "store/base/lru.h"
#include "store/base/result.h"
#include "store/node.h"
#include "store/tree_reader.h"

namespace bygone::fs {

using EntryPtr = std::shared_ptr<const store::Entry>;

// One entry of a directory and its position in it.
struct TreeItem {
  EntryPtr entry;  // keeps the whole leaf alive
  std::uint64_t position = 0;
};

struct NodeRefHash {
  std::size_t operator()(const store::NodeRef& ref) const {
    return IdHash()(ref.page) ^ (ref.node * std::size_t{0x9e3779b97f4a7c15});
  }
};

class Tree {
 public:
  // `reader` must outlive it. `cache_bytes`: of decoded leaves.
  Tree(store::TreeReader& reader, std::size_t cache_bytes);

  // Errors of all: those of TreeReader.

  // The entry called `name`; nothing when there is none.
  Result<std::optional<TreeItem>> find(const store::NodeRef& directory, std::string_view name);
  // Errors: corrupt when the directory has no such position.
  Result<TreeItem> at(const store::NodeRef& directory, std::uint64_t position);
  // Calls `visit` with the entries from position `from` until it returns false.
  Result<void> list(const store::NodeRef& directory, std::uint64_t from,
                    const std::function<bool(const TreeItem&)>& visit);
  // Bytes of a regular file that are not holes.
  Result<std::uint64_t> allocated_bytes(const store::Entry& file);

  [[nodiscard]] store::TreeReader& reader() { return reader_; }

 private:
  using Leaf = std::vector<store::Entry>;
  struct Directory {
    std::vector<store::LeafRef> leaves;
    std::vector<std::uint64_t> starts;  // position of each leaf's first entry
  };

  Result<std::shared_ptr<const Directory>> directory(const store::NodeRef& ref);
  Result<std::shared_ptr<const Leaf>> leaf(const store::NodeRef& ref);

  store::TreeReader& reader_;
  LruCache<store::NodeRef, std::shared_ptr<const Directory>, NodeRefHash> directories_;
  LruCache<store::NodeRef, std::shared_ptr<const Leaf>, NodeRefHash> leaves_;
  LruCache<store::NodeRef, std::uint64_t, NodeRefHash> allocated_;
};

}  // namespace bygone::fs
