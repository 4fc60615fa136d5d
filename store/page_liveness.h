// SPDX-License-Identifier: Apache-2.0
//
// Which pages of a snapshot have become thin: less than two thirds of the bytes in them are
// nodes that the snapshot still refers to. Increments leave dead nodes behind in old pages, and
// whoever reads a tree decodes whole pages; a backup that writes the live nodes of thin pages anew
// once a day keeps that cost bounded. Counts only; tree_writer.h writes. Immutable once counted:
// callable from any thread.
#pragma once

#include <atomic>
#include <span>
#include <unordered_set>

#include "store/tree_reader.h"

namespace bygone::store {

class PageLiveness {
 public:
  // Walks every node below `roots`, each page as often as the reader's cache makes it. What cannot
  // be read counts as dead: writing a node anew is never wrong. Errors: cancelled.
  static Result<PageLiveness> count(TreeReader& trees, std::span<const Entry> roots,
                                    const std::atomic<bool>& cancel);

  [[nodiscard]] std::size_t thin_pages() const { return thin_.size(); }
  [[nodiscard]] bool is_thin(const ChunkId& page) const { return thin_.contains(page); }
  // Whether the content of a directory, or the extent nodes or attribute set of any other entry,
  // lies in a thin page. Not what is below a directory. Errors: those of TreeReader.
  Result<bool> touches(TreeReader& trees, const Entry& entry) const;

 private:
  Result<bool> node_touches(TreeReader& trees, const NodeRef& ref, int depth) const;

  std::unordered_set<ChunkId, IdHash> thin_;
};

}  // namespace bygone::store
