// SPDX-License-Identifier: Apache-2.0
#include "ingest/walk_output.h"

#include <iterator>
#include <utility>

#include "store/base/log.h"

namespace bygone::ingest {

using store::Entry;

Result<EntriesBefore> EntriesBefore::read(store::TreeReader& trees, const Entry& folder) {
  EntriesBefore before;
  before.leaves_ = TRY(trees.leaves(folder.node));
  for (std::size_t i = 0; i < before.leaves_.size(); ++i) {
    auto entries = TRY(trees.leaf(before.leaves_[i].node));
    before.leaves_[i].entries = entries.size();
    before.leaf_of_.insert(before.leaf_of_.end(), entries.size(), static_cast<int>(i));
    std::move(entries.begin(), entries.end(), std::back_inserter(before.entries_));
  }
  return before;
}

EntriesBefore::Match EntriesBefore::find(const std::string& name) {
  while (next_ < entries_.size() && entries_[next_].name < name) ++next_;
  if (next_ == entries_.size() || entries_[next_].name != name) return {};
  return {.entry = &entries_[next_], .leaf = leaf_of_[next_]};
}

WalkOutput::WalkOutput(store::TreeReader& trees, bool collapse,
                       std::function<bool(const Entry&)> is_stored)
    : trees_(trees), collapse_(collapse), is_stored_(std::move(is_stored)) {}

bool WalkOutput::is_stored(const Entry& before) const { return !is_stored_ || is_stored_(before); }

void WalkOutput::put(Item&& item) {
  if (collapse_) {
    gathered_.push_back(std::move(item));
  } else if (!is_stopped_ && !(*emit_)(std::move(item))) {
    is_stopped_ = true;
  }
}

Result<EntriesBefore> WalkOutput::read_before(const WalkFrame& frame, const std::string& path) {
  if (!frame.parent || !frame.parent->is_directory()) return EntriesBefore();
  if (!is_stored(*frame.parent)) {
    return Error{Code::corrupt, 0, "/" + printable(path) + ": its listing is missing or damaged"};
  }
  return EntriesBefore::read(trees_, *frame.parent);
}

void WalkOutput::enter(WalkFrame& frame, const std::string& path) {
  frame.first_item = gathered_.size();
  if (auto before = read_before(frame, path)) {
    frame.before = std::move(*before);
  } else {
    log::warning(before.error().message + ": storing this folder again");
    frame.parent.reset();
  }
  Item item;
  item.kind = Item::Kind::enter;
  item.entry = frame.entry;
  item.leaf = frame.leaf;
  item.parent = frame.parent;
  item.leaves = frame.before.take_leaves();
  put(std::move(item));
}

bool WalkOutput::leave(WalkFrame& frame, bool may_collapse) {
  const bool whole = collapse_ && may_collapse && frame.parent && frame.parent->is_directory() &&
                     frame.kept == frame.taken && frame.taken == frame.before.size();
  Item item;
  item.kind = Item::Kind::leave;
  if (whole) {
    gathered_.resize(frame.first_item);
    item.kind = Item::Kind::entry;
    item.entry = std::move(*frame.parent);
    item.leaf = frame.leaf;
  }
  put(std::move(item));
  return whole;
}

Result<void> WalkOutput::finish() {
  for (Item& item : gathered_) {
    is_stopped_ = is_stopped_ || !(*emit_)(std::move(item));
  }
  gathered_.clear();
  if (is_stopped_) return Error{Code::cancelled, 0, "stopped"};
  return {};
}

}  // namespace bygone::ingest
