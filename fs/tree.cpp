// SPDX-License-Identifier: Apache-2.0
#include "fs/tree.h"

#include <algorithm>

namespace bygone::fs {
namespace {

using store::Entry;
using store::Extent;
using store::LeafRef;
using store::NodeRef;

// About what an entry costs in memory beside itself.
std::size_t cost_of(const Entry& entry) {
  std::size_t cost = sizeof(Entry) + entry.name.size() + entry.target.size() +
                     entry.inline_bytes.size() + entry.extents.size() * sizeof(Extent);
  for (const store::Xattr& xattr : entry.xattrs) {
    cost += sizeof xattr + xattr.name.size() + xattr.value.size();
  }
  return cost;
}

}  // namespace

Tree::Tree(store::TreeReader& reader, std::size_t cache_bytes)
    : reader_(reader), directories_(cache_bytes / 4), leaves_(cache_bytes), allocated_(4096) {}

Result<std::shared_ptr<const Tree::Directory>> Tree::directory(const NodeRef& ref) {
  if (auto hit = directories_.find(ref)) return *hit;
  auto built = std::make_shared<Directory>();
  built->leaves = TRY(reader_.leaves(ref));
  std::uint64_t start = 0;
  std::size_t cost = 256;
  for (const LeafRef& leaf : built->leaves) {
    built->starts.push_back(start);
    start += leaf.entries;
    cost += sizeof leaf + leaf.first_name.size() + sizeof start;
  }
  std::shared_ptr<const Directory> shared = std::move(built);
  directories_.insert(ref, shared, cost);
  return shared;
}

Result<std::shared_ptr<const Tree::Leaf>> Tree::leaf(const NodeRef& ref) {
  if (auto hit = leaves_.find(ref)) return *hit;
  auto shared = std::make_shared<const Leaf>(TRY(reader_.leaf(ref)));
  std::size_t cost = 256;
  for (const Entry& entry : *shared) cost += cost_of(entry);
  leaves_.insert(ref, shared, cost);
  return shared;
}

Result<std::optional<TreeItem>> Tree::find(const NodeRef& directory_ref, std::string_view name) {
  const auto folder = TRY(directory(directory_ref));
  const auto after =
      std::upper_bound(folder->leaves.begin(), folder->leaves.end(), name,
                       [](std::string_view n, const LeafRef& leaf) { return n < leaf.first_name; });
  if (after == folder->leaves.begin()) return std::optional<TreeItem>();
  const auto index = static_cast<std::size_t>(after - folder->leaves.begin()) - 1;
  const auto entries = TRY(leaf(folder->leaves[index].node));
  const auto found =
      std::lower_bound(entries->begin(), entries->end(), name,
                       [](const Entry& entry, std::string_view n) { return entry.name < n; });
  if (found == entries->end() || found->name != name) return std::optional<TreeItem>();
  const auto offset = static_cast<std::uint64_t>(found - entries->begin());
  return std::optional<TreeItem>({EntryPtr(entries, &*found), folder->starts[index] + offset});
}

Result<TreeItem> Tree::at(const NodeRef& directory_ref, std::uint64_t position) {
  std::optional<TreeItem> found;
  TRY(list(directory_ref, position, [&](const TreeItem& item) {
    found = item;
    return false;
  }));
  if (!found) return Error{Code::corrupt, 0, "a directory has fewer entries than were listed"};
  return *std::move(found);
}

Result<void> Tree::list(const NodeRef& directory_ref, std::uint64_t from,
                        const std::function<bool(const TreeItem&)>& visit) {
  const auto folder = TRY(directory(directory_ref));
  const auto after = std::upper_bound(folder->starts.begin(), folder->starts.end(), from);
  std::size_t index = after == folder->starts.begin()
                          ? 0
                          : static_cast<std::size_t>(after - folder->starts.begin()) - 1;
  for (; index < folder->leaves.size(); ++index) {
    const auto entries = TRY(leaf(folder->leaves[index].node));
    const std::uint64_t start = folder->starts[index];
    if (entries->size() != folder->leaves[index].entries) {
      return Error{Code::corrupt, 0, "a directory's leaf does not hold what its index says"};
    }
    for (std::uint64_t i = from > start ? from - start : 0; i < entries->size(); ++i) {
      if (!visit({EntryPtr(entries, &(*entries)[i]), start + i})) return {};
    }
  }
  return {};
}

Result<std::uint64_t> Tree::allocated_bytes(const Entry& file) {
  using Content = Entry::Content;
  if (file.content == Content::inline_bytes) return file.size;
  if (file.content != Content::extents && file.content != Content::extent_node) {
    return std::uint64_t{0};
  }
  const bool is_large = file.content == Content::extent_node;
  if (is_large) {
    if (const auto hit = allocated_.find(file.node)) return *hit;
  }
  std::uint64_t sum = 0;
  TRY(reader_.extents(file, 0, UINT64_MAX, [&](std::uint64_t, const Extent& extent) {
    if (extent.kind != Extent::Kind::hole) sum += extent.length;
    return true;
  }));
  if (is_large) allocated_.insert(file.node, sum, 1);
  return sum;
}

}  // namespace bygone::fs
