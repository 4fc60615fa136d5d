// SPDX-License-Identifier: Apache-2.0
//
// Pages: chunks that hold directory, extent and attribute nodes (FORMAT.md section 7). PageBuilder
// encodes nodes into one page; Page decodes them, bounds-checked, trusting nothing but the AEAD's
// word on who wrote them. Page is immutable and callable from any thread; PageBuilder is not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "store/base/codec.h"
#include "store/base/result.h"
#include "store/node.h"

namespace bygone::store {

enum class NodeKind : std::uint8_t {
  directory_leaf = 1,
  directory_index = 2,
  extent_leaf = 3,
  extent_index = 4,
  xattr_set = 5,
};

struct DirectoryChild {
  std::string first_name;
  NodeRef node;
  std::uint64_t entries = 0;
};

struct ExtentChild {
  NodeRef node;
  std::uint64_t length = 0;  // file bytes below it
};

class PageBuilder {
 public:
  // Replaces the reference of a node whose page is still open: index 0, this page.
  using IsThisPage = std::function<bool(const ChunkId&)>;
  explicit PageBuilder(IsThisPage is_this_page) : is_this_page_(std::move(is_this_page)) {}

  // Each returns the number of the node in this page.
  std::uint32_t add_directory_leaf(std::span<const Entry> entries);
  std::uint32_t add_directory_index(std::span<const DirectoryChild> children);
  std::uint32_t add_extent_leaf(std::span<const Extent> extents);
  std::uint32_t add_extent_index(std::span<const ExtentChild> children);
  std::uint32_t add_xattr_set(std::span<const Xattr> xattrs);

  [[nodiscard]] std::size_t size_bytes() const { return 32 * ids_.size() + nodes_.size(); }
  [[nodiscard]] bool empty() const { return ends_.empty(); }
  // The whole page; the builder is empty afterwards.
  [[nodiscard]] Bytes finish();

 private:
  std::uint64_t index_of(const ChunkId& id);
  void put_ref(const NodeRef& ref);
  void put_extent(const Extent& extent);
  void put_entry(const Entry& entry);
  void put_xattrs(std::span<const Xattr> xattrs);
  std::uint32_t end_node();

  IsThisPage is_this_page_;
  Writer nodes_;
  std::vector<std::size_t> ends_;
  std::map<ChunkId, std::uint64_t> table_;
  std::vector<ChunkId> ids_;
};

class Page {
 public:
  // Parses the tables; nodes are decoded when asked for. `id` is the page's own chunk id.
  // Errors, here and below: corrupt; unsupported for a newer page version.
  static Result<Page> parse(const ChunkId& id, std::shared_ptr<const Bytes> bytes);

  [[nodiscard]] std::size_t node_count() const { return nodes_.size(); }
  [[nodiscard]] std::size_t size_bytes() const { return bytes_->size(); }
  // Encoded bytes of a node below node_count().
  [[nodiscard]] std::size_t node_size(std::uint32_t node) const { return nodes_[node].size(); }
  // Ids of chunks and of other pages that the nodes refer to.
  [[nodiscard]] const std::vector<ChunkId>& ids() const { return ids_; }

  Result<NodeKind> kind(std::uint32_t node) const;
  // Calls `visit` for the entries from position `from` until it returns false.
  Result<void> directory_leaf(std::uint32_t node, std::uint64_t from,
                              const std::function<bool(Entry&&)>& visit) const;
  // The entry called `name`, and nothing when there is none. Does not build the others.
  Result<std::optional<Entry>> find(std::uint32_t node, std::string_view name) const;
  Result<std::uint64_t> leaf_entries(std::uint32_t node) const;
  Result<std::vector<DirectoryChild>> directory_index(std::uint32_t node) const;
  Result<std::vector<Extent>> extent_leaf(std::uint32_t node) const;
  Result<std::vector<ExtentChild>> extent_index(std::uint32_t node) const;
  Result<std::vector<Xattr>> xattr_set(std::uint32_t node) const;

 private:
  Result<Reader> open(std::uint32_t node, NodeKind kind) const;
  Result<ChunkId> get_id(Reader& r) const;
  Result<NodeRef> get_ref(Reader& r) const;
  Result<Extent> get_extent(Reader& r) const;
  Result<Entry> get_entry(Reader& r) const;
  Result<void> get_content(Reader& r, Entry& entry) const;
  static Result<std::vector<Xattr>> get_xattrs(Reader& r);
  Error damaged(const char* what) const;

  ChunkId id_;
  std::shared_ptr<const Bytes> bytes_;
  std::vector<ChunkId> ids_;
  std::vector<ByteView> nodes_;
};

// Whether a name may stand in a directory: not "." or "..", without '/' and NUL. Length aside.
[[nodiscard]] bool is_valid_name(ByteView name);

// The cost of an entry for the splitting of directories: near its encoded size, but the same
// wherever it stands. FORMAT.md section 7.4.
[[nodiscard]] std::size_t entry_weight(const Entry& entry);

}  // namespace bygone::store
