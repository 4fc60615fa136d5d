// SPDX-License-Identifier: Apache-2.0
#include "store/tree_reader.h"

#include "store/base/lru.h"
#include "store/format.h"
#include "store/page.h"

namespace bygone::store {
namespace {

Error too_deep() { return Error{Code::corrupt, 0, "a tree of nodes is deeper than it can be"}; }

}  // namespace

struct TreeReader::Cache : LruCache<ChunkId, std::shared_ptr<const Page>, IdHash> {
  using LruCache::LruCache;
};

TreeReader::TreeReader(ChunkSource& source, std::size_t cache_bytes)
    : source_(source), cache_(std::make_unique<Cache>(cache_bytes)) {}
TreeReader::~TreeReader() = default;

Result<std::shared_ptr<const Page>> TreeReader::page(const ChunkId& id) {
  if (auto hit = cache_->find(id)) return *hit;
  std::shared_ptr<const Bytes> bytes = TRY(source_.get(ChunkKind::page, id));
  auto page = std::make_shared<const Page>(TRY(Page::parse(id, std::move(bytes))));
  cache_->insert(id, page, page->size_bytes() + 32 * page->ids().size() + 16 * page->node_count());
  return std::shared_ptr<const Page>(page);
}

Result<std::optional<Entry>> TreeReader::lookup(const Entry& directory, std::string_view name) {
  NodeRef node = directory.node;
  for (int depth = 0; depth < kMaxTreeDepth; ++depth) {
    const auto page = TRY(this->page(node.page));
    if (TRY(page->kind(node.node)) == NodeKind::directory_leaf) return page->find(node.node, name);
    const auto children = TRY(page->directory_index(node.node));
    const auto after = std::upper_bound(
        children.begin(), children.end(), name,
        [](std::string_view n, const DirectoryChild& child) { return n < child.first_name; });
    if (after == children.begin()) return std::optional<Entry>();
    node = std::prev(after)->node;
  }
  return too_deep();
}

Result<void> TreeReader::collect_leaves(const NodeRef& node, int depth, std::vector<LeafRef>& out) {
  if (depth >= kMaxTreeDepth) return too_deep();
  const auto page = TRY(this->page(node.page));
  if (TRY(page->kind(node.node)) == NodeKind::directory_leaf) {
    out.push_back({ node, {}, TRY(page->leaf_entries(node.node)) });
    return {};
  }
  for (const DirectoryChild& child : TRY(page->directory_index(node.node))) {
    const std::size_t first = out.size();
    TRY(collect_leaves(child.node, depth + 1, out));
    if (first < out.size()) out[first].first_name = child.first_name;
  }
  return {};
}

Result<std::vector<LeafRef>> TreeReader::leaves(const NodeRef& directory) {
  std::vector<LeafRef> out;
  TRY(collect_leaves(directory, 0, out));
  return out;
}

Result<std::vector<Entry>> TreeReader::leaf(const NodeRef& node) {
  const auto page = TRY(this->page(node.page));
  std::vector<Entry> entries;
  TRY(page->directory_leaf(node.node, 0, [&](Entry&& entry) {
    entries.push_back(std::move(entry));
    return true;
  }));
  return entries;
}

Result<bool> TreeReader::list_node(const NodeRef& node, int depth, std::uint64_t& skip,
                                   const std::function<bool(const Entry&)>& visit) {
  if (depth >= kMaxTreeDepth) return too_deep();
  const auto page = TRY(this->page(node.page));
  bool go_on = true;
  if (TRY(page->kind(node.node)) == NodeKind::directory_leaf) {
    TRY(page->directory_leaf(node.node, skip, [&](Entry&& entry) {
      go_on = visit(entry);
      return go_on;
    }));
    skip = 0;
    return go_on;
  }
  for (const DirectoryChild& child : TRY(page->directory_index(node.node))) {
    if (skip >= child.entries) {
      skip -= child.entries;
      continue;
    }
    if (!TRY(list_node(child.node, depth + 1, skip, visit))) return false;
  }
  return true;
}

Result<void> TreeReader::list(const Entry& directory, std::uint64_t from,
                              const std::function<bool(const Entry&)>& visit) {
  TRY(list_node(directory.node, 0, from, visit));
  return {};
}

Result<bool> TreeReader::walk_extents(const NodeRef& node, int depth, std::uint64_t base,
                                      std::uint64_t begin, std::uint64_t end,
                                      const VisitExtentLeaf& visit) {
  if (depth >= kMaxTreeDepth) return too_deep();
  const auto page = TRY(this->page(node.page));
  if (TRY(page->kind(node.node)) == NodeKind::extent_leaf) {
    return visit(base, node, TRY(page->extent_leaf(node.node)));
  }
  for (const ExtentChild& child : TRY(page->extent_index(node.node))) {
    const std::uint64_t child_end = base + child.length;
    if (child_end > begin && base < end) {
      if (!TRY(walk_extents(child.node, depth + 1, base, begin, end, visit))) return false;
    }
    base = child_end;
  }
  return true;
}

Result<void> TreeReader::extents(const Entry& file, std::uint64_t offset, std::uint64_t length,
                                 const std::function<bool(std::uint64_t, const Extent&)>& visit) {
  const std::uint64_t end = offset + std::min(length, UINT64_MAX - offset);
  const auto visit_run = [&](std::uint64_t base, const std::vector<Extent>& run) {
    for (const Extent& extent : run) {
      if (base >= end) return false;
      if (base + extent.length > offset && !visit(base, extent)) return false;
      base += extent.length;
    }
    return true;
  };
  if (file.content == Entry::Content::extents) {
    visit_run(0, file.extents);
  } else if (file.content == Entry::Content::extent_node) {
    TRY(walk_extents(file.node, 0, 0, offset, end,
                     [&](std::uint64_t base, const NodeRef&, std::vector<Extent>&& run)
                         -> Result<bool> { return visit_run(base, run); }));
  }
  return {};
}

Result<void> TreeReader::extent_leaves(
    const Entry& file,
    const std::function<void(std::uint64_t, const NodeRef&, std::vector<Extent>&&)>& visit) {
  TRY(walk_extents(
      file.node, 0, 0, 0, UINT64_MAX,
      [&](std::uint64_t base, const NodeRef& node, std::vector<Extent>&& run) -> Result<bool> {
        visit(base, node, std::move(run));
        return true;
      }));
  return {};
}

Result<std::vector<Xattr>> TreeReader::xattrs(const Entry& entry) {
  if (!entry.xattr_node) return entry.xattrs;
  const auto page = TRY(this->page(entry.xattr_node->page));
  return page->xattr_set(entry.xattr_node->node);
}

}  // namespace bygone::store
