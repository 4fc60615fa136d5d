// SPDX-License-Identifier: Apache-2.0
//
// Reads captured trees: directories, extents, extended attributes. Decodes whole pages and keeps
// the last ones in a cache bounded in bytes. Knows nothing of packs: pages come from a
// ChunkSource. Callable from any thread; no lock is held while a page is fetched or decoded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "store/base/result.h"
#include "store/node.h"

namespace bygone::store {

// What a chunk holds: file bytes or directory nodes. Each kind has its own keys.
enum class ChunkKind : std::uint8_t { data = 1, page = 2 };

// Where decoded chunks come from: the chunk store, or a test.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  // The decoded bytes of a chunk, proven by its AEAD and the id in its head.
  // Errors: not_found when no pack has it; corrupt when every copy is damaged; io.
  virtual Result<std::shared_ptr<const Bytes>> get(ChunkKind kind, const ChunkId& id) = 0;
};

class Page;  // page.h

// One leaf of a directory: a run of its name-sorted entries.
struct LeafRef {
  NodeRef node;
  std::string first_name;
  std::uint64_t entries = 0;
};

class TreeReader {
 public:
  // `source` must outlive the reader. The cache holds at most `cache_bytes` of decoded pages
  // (and always the page just read).
  TreeReader(ChunkSource& source, std::size_t cache_bytes);
  ~TreeReader();

  // All errors: corrupt when a page does not decode or a reference points nowhere, and those of
  // ChunkSource::get.

  // The entry called `name` in `directory`, nothing when there is none. Logarithmic in leaves.
  Result<std::optional<Entry>> lookup(const Entry& directory, std::string_view name);
  // Calls `visit` with the entries of `directory` in byte order of their names, from position
  // `from` (0 = first) until it returns false. Positions are stable: content is immutable.
  Result<void> list(const Entry& directory, std::uint64_t from,
                    const std::function<bool(const Entry&)>& visit);
  // The leaves of a directory in order; an empty directory has one empty leaf.
  Result<std::vector<LeafRef>> leaves(const NodeRef& directory);
  // The entries of one leaf, in order.
  Result<std::vector<Entry>> leaf(const NodeRef& node);
  // Calls `visit` with each extent of `file` that meets [offset, offset + length), whole, with the
  // file offset at which it begins, in order, until it returns false. Content::inline_bytes and
  // Content::none have no extents.
  Result<void> extents(const Entry& file, std::uint64_t offset, std::uint64_t length,
                       const std::function<bool(std::uint64_t, const Extent&)>& visit);
  // Calls `visit` with each extent leaf of a file with Content::extent_node, in file order: its
  // file offset, its reference, its extents.
  Result<void> extent_leaves(
      const Entry& file,
      const std::function<void(std::uint64_t, const NodeRef&, std::vector<Extent>&&)>& visit);
  // The extended attributes of `entry`, inline or not, sorted by name.
  Result<std::vector<Xattr>> xattrs(const Entry& entry);
  // The decoded page. For verify, which walks pages itself.
  Result<std::shared_ptr<const Page>> page(const ChunkId& id);

 private:
  struct Cache;
  using VisitExtentLeaf =
      std::function<Result<bool>(std::uint64_t offset, const NodeRef&, std::vector<Extent>&&)>;
  Result<void> collect_leaves(const NodeRef& node, int depth, std::vector<LeafRef>& out);
  Result<bool> walk_extents(const NodeRef& node, int depth, std::uint64_t base, std::uint64_t begin,
                            std::uint64_t end, const VisitExtentLeaf& visit);
  Result<bool> list_node(const NodeRef& node, int depth, std::uint64_t& skip,
                         const std::function<bool(const Entry&)>& visit);

  ChunkSource& source_;
  std::unique_ptr<Cache> cache_;
};

}  // namespace bygone::store
