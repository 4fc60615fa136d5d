// SPDX-License-Identifier: Apache-2.0
#include "ingest/kept_check.h"

#include "store/format.h"
#include "store/page.h"

namespace bygone::ingest {

using store::ChunkKind;
using store::Entry;
using store::Extent;
using store::NodeKind;

bool KeptCheck::has(ChunkKind kind, const ChunkId& id) {
  const auto [at, is_new] = known_.try_emplace(id, false);
  if (is_new) at->second = session_.has(kind, id);
  return at->second;
}

bool KeptCheck::extents(const std::vector<Extent>& list) {
  for (const Extent& extent : list) {
    if (extent.kind == Extent::Kind::data && !has(ChunkKind::data, extent.chunk)) return false;
  }
  return true;
}

// A page may still be read through an open file of a pack that is gone: both are asked.
Result<bool> KeptCheck::node(const store::NodeRef& ref, int depth) {
  if (depth >= store::kMaxTreeDepth || !has(ChunkKind::page, ref.page)) return false;
  const auto page = TRY(trees_.page(ref.page));
  switch (TRY(page->kind(ref.node))) {
    case NodeKind::extent_leaf:
      return extents(TRY(page->extent_leaf(ref.node)));
    case NodeKind::extent_index:
      for (const auto& child : TRY(page->extent_index(ref.node))) {
        if (!TRY(node(child.node, depth + 1))) return false;
      }
      return true;
    case NodeKind::directory_index:
      for (const auto& child : TRY(page->directory_index(ref.node))) {
        if (!TRY(node(child.node, depth + 1))) return false;
      }
      return true;
    case NodeKind::directory_leaf:
    case NodeKind::xattr_set:
      return true;
  }
  return false;
}

bool KeptCheck::is_stored(const Entry& entry) {
  const auto whole = [&]() -> Result<bool> {
    if (entry.xattr_node && !TRY(node(*entry.xattr_node, 0))) return false;
    switch (entry.content) {
      case Entry::Content::extents:
        return extents(entry.extents);
      case Entry::Content::extent_node:
      case Entry::Content::directory:
        return node(entry.node, 0);
      case Entry::Content::none:
      case Entry::Content::inline_bytes:
        return true;
    }
    return false;
  };
  const auto result = whole();
  return result.ok() && *result;
}

}  // namespace bygone::ingest
