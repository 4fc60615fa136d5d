// SPDX-License-Identifier: Apache-2.0
//
// The entries of one captured folder, in order, one at a time: what an iterative walk keeps for
// each level. Holds one decoded leaf at most. One thread.
#pragma once

#include <optional>
#include <vector>

#include "store/base/result.h"
#include "store/node.h"
#include "store/tree_reader.h"

namespace bygone::fs {

class DirectoryCursor {
 public:
  // Over the folder at `node`; `trees` must outlive the cursor.
  DirectoryCursor(store::TreeReader& trees, const store::NodeRef& node);
  // Over entries that stand nowhere: the roots.
  DirectoryCursor(store::TreeReader& trees, std::vector<store::Entry> entries);

  // The next entry; nothing at the end. Errors: corrupt, also for a name that would leave the
  // folder; those of TreeReader.
  Result<std::optional<store::Entry>> next();
  // Drops the decoded leaf; next() reads it again. For levels that wait while others are walked.
  void rest();

 private:
  Result<bool> load();

  store::TreeReader& trees_;
  std::optional<store::NodeRef> node_;  // nothing: the entries were given
  std::optional<std::vector<store::LeafRef>> leaves_;
  std::size_t leaf_ = 0;      // the leaf that is being read
  std::size_t position_ = 0;  // of the next entry in it
  bool loaded_ = false;
  std::vector<store::Entry> entries_;
};

}  // namespace bygone::fs
