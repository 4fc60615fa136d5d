// SPDX-License-Identifier: Apache-2.0
#include "fs/restore_cursor.h"

#include "store/base/bytes.h"

namespace bygone::fs {

using store::Entry;

DirectoryCursor::DirectoryCursor(store::TreeReader& trees, const store::NodeRef& node)
    : trees_(trees), node_(node) {}

DirectoryCursor::DirectoryCursor(store::TreeReader& trees, std::vector<Entry> entries)
    : trees_(trees), loaded_(true), entries_(std::move(entries)) {}

// Makes entries_[position_] the next entry; false at the end.
Result<bool> DirectoryCursor::load() {
  if (!node_) return position_ < entries_.size();
  if (!leaves_) leaves_ = TRY(trees_.leaves(*node_));
  while (leaf_ < leaves_->size()) {
    if (!loaded_) {
      entries_ = TRY(trees_.leaf((*leaves_)[leaf_].node));
      loaded_ = true;
    }
    if (position_ < entries_.size()) return true;
    ++leaf_;
    position_ = 0;
    loaded_ = false;
  }
  return false;
}

Result<std::optional<Entry>> DirectoryCursor::next() {
  if (!TRY(load())) return std::optional<Entry>();
  Entry entry = std::move(entries_[position_++]);
  const std::string& name = entry.name;
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
    return Error{Code::corrupt, 0,
                 "the snapshot holds the impossible name \"" + printable(name) + "\""};
  }
  return std::optional<Entry>(std::move(entry));
}

void DirectoryCursor::rest() {
  if (!node_) return;
  entries_ = {};
  loaded_ = false;
}

}  // namespace bygone::fs
