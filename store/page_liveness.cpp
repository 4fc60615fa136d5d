// SPDX-License-Identifier: Apache-2.0
#include "store/page_liveness.h"

#include <unordered_map>
#include <vector>

#include "store/format.h"
#include "store/page.h"

namespace bygone::store {
namespace {

// What is known of one page while the tree is walked.
struct Tally {
  std::size_t live_bytes = 0;
  std::size_t all_bytes = 0;
  std::vector<bool> seen;
};

class Counter {
 public:
  Counter(TreeReader& trees, const std::atomic<bool>& cancel) : trees_(trees), cancel_(cancel) {}

  Result<void> walk(const Entry& root) {
    push(root);
    while (!todo_.empty()) {
      if (cancel_.load()) return Error{Code::cancelled, 0, "counting live pages was cancelled"};
      const NodeRef ref = todo_.back();
      todo_.pop_back();
      // The walk beside this tree meets the same damage, says so and reads the files again.
      if (auto visited = visit(ref); !visited) continue;
    }
    return {};
  }

  [[nodiscard]] std::unordered_set<ChunkId, IdHash> thin() const {
    std::unordered_set<ChunkId, IdHash> thin;
    for (const auto& [page, tally] : tallies_) {
      if (tally.live_bytes * 3 < tally.all_bytes * 2) thin.insert(page);
    }
    return thin;
  }

 private:
  void push(const Entry& entry) {
    if (entry.xattr_node) todo_.push_back(*entry.xattr_node);
    if (entry.content == Entry::Content::directory ||
        entry.content == Entry::Content::extent_node) {
      todo_.push_back(entry.node);
    }
  }

  // False when the node was counted before: links of one file share their extent nodes.
  bool count(const Page& page, const NodeRef& ref) {
    Tally& tally = tallies_[ref.page];
    if (tally.seen.empty()) {
      tally.seen.resize(page.node_count());
      for (std::uint32_t i = 0; i < page.node_count(); ++i) tally.all_bytes += page.node_size(i);
    }
    if (tally.seen[ref.node]) return false;
    tally.seen[ref.node] = true;
    tally.live_bytes += page.node_size(ref.node);
    return true;
  }

  Result<void> visit(const NodeRef& ref) {
    const auto page = TRY(trees_.page(ref.page));
    const NodeKind kind = TRY(page->kind(ref.node));  // also: there is such a node
    if (!count(*page, ref)) return {};
    // In reverse, so that they come off the stack in the order in which they were written.
    std::vector<NodeRef> below;
    std::swap(below, todo_);
    auto listed = list_below(*page, ref, kind);
    std::swap(below, todo_);
    todo_.insert(todo_.end(), below.rbegin(), below.rend());
    return listed;
  }

  Result<void> list_below(const Page& page, const NodeRef& ref, NodeKind kind) {
    switch (kind) {
      case NodeKind::directory_leaf:
        return page.directory_leaf(ref.node, 0, [&](Entry&& entry) {
          push(entry);
          return true;
        });
      case NodeKind::directory_index:
        for (const auto& child : TRY(page.directory_index(ref.node))) todo_.push_back(child.node);
        return {};
      case NodeKind::extent_index:
        for (const auto& child : TRY(page.extent_index(ref.node))) todo_.push_back(child.node);
        return {};
      case NodeKind::extent_leaf:
      case NodeKind::xattr_set:
        return {};
    }
    return {};
  }

  TreeReader& trees_;
  const std::atomic<bool>& cancel_;
  std::vector<NodeRef> todo_;
  std::unordered_map<ChunkId, Tally, IdHash> tallies_;
};

}  // namespace

Result<PageLiveness> PageLiveness::count(TreeReader& trees, std::span<const Entry> roots,
                                         const std::atomic<bool>& cancel) {
  Counter counter(trees, cancel);
  for (const Entry& root : roots) TRY(counter.walk(root));
  PageLiveness liveness;
  liveness.thin_ = counter.thin();
  return liveness;
}

Result<bool> PageLiveness::node_touches(TreeReader& trees, const NodeRef& ref, int depth) const {
  if (is_thin(ref.page)) return true;
  if (depth >= kMaxTreeDepth) return Error{Code::corrupt, 0, "index nodes nest too deep"};
  const auto page = TRY(trees.page(ref.page));
  switch (TRY(page->kind(ref.node))) {
    case NodeKind::directory_index:
      for (const auto& child : TRY(page->directory_index(ref.node))) {
        if (TRY(node_touches(trees, child.node, depth + 1))) return true;
      }
      return false;
    case NodeKind::extent_index:
      for (const auto& child : TRY(page->extent_index(ref.node))) {
        if (TRY(node_touches(trees, child.node, depth + 1))) return true;
      }
      return false;
    default:
      return false;
  }
}

Result<bool> PageLiveness::touches(TreeReader& trees, const Entry& entry) const {
  if (thin_.empty()) return false;
  if (entry.xattr_node && is_thin(entry.xattr_node->page)) return true;
  if (entry.content != Entry::Content::directory && entry.content != Entry::Content::extent_node) {
    return false;
  }
  return node_touches(trees, entry.node, 0);
}

}  // namespace bygone::store
