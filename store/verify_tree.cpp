// SPDX-License-Identifier: Apache-2.0
#include "store/verify_tree.h"

#include <fmt/core.h>

#include "store/format.h"

namespace bygone::store {
namespace {

constexpr const char* kShared = "shares the damage named above";

}  // namespace

bool TreeVerifier::damage(const std::string& what) {
  report_(fmt::format("{}: {}: {}", snapshot_, path_.empty() ? "/" : path_, what));
  return false;
}

std::shared_ptr<const Page> TreeVerifier::open(const NodeRef& ref) {
  const auto lost = [&](const std::string& why) {
    damage("all below it is lost: " + why);
    return nullptr;
  };
  if (const auto found = lost_pages_.find(ref.page); found != lost_pages_.end()) {
    return lost(found->second);
  }
  auto page = trees_.page(ref.page);
  if (!page) {
    lost_pages_.emplace(ref.page, page.error().message);
    return lost(page.error().message);
  }
  if (ref.node >= (*page)->node_count()) {
    return lost(fmt::format("page {} has no node {}", ref.page.hex(), ref.node));
  }
  return *page;
}

TreeVerifier::State TreeVerifier::known(const NodeRef& ref) const {
  const auto found = seen_.find(ref.page);
  if (found == seen_.end() || ref.node >= found->second.size()) return State::unseen;
  return found->second[ref.node];
}

TreeVerifier::State& TreeVerifier::state(const NodeRef& ref, const Page& page) {
  return seen_.try_emplace(ref.page, page.node_count(), State::unseen).first->second[ref.node];
}

Result<void> TreeVerifier::walk(const std::string& snapshot, const std::string& path,
                                const Entry& root) {
  snapshot_ = snapshot;
  path_ = path;
  entry(root);
  return root.is_directory() ? walk_directory(root) : Result<void>();
}

Result<void> TreeVerifier::walk_directory(const Entry& root) {
  std::vector<Frame> frames;
  const std::size_t base = path_.size();
  enter({.name = {}, .ref = root.node, .entries = root.entries, .depth = 0}, frames);
  while (!frames.empty()) {
    if (cancel_.load()) return Error{Code::cancelled, 0, "verifying was cancelled"};
    Frame& top = frames.back();
    path_.resize(top.path_size);
    if (top.next < top.children.size()) {
      const Pending child = std::move(top.children[top.next++]);
      append_name(path_, child.name);
      const std::size_t at = frames.size() - 1;  // `top` may move when a frame is pushed
      if (!enter(child, frames)) frames[at].sound = false;
      continue;
    }
    seen_[top.ref.page][top.ref.node] = top.sound ? State::sound : State::damaged;
    const bool sound = top.sound;
    frames.pop_back();
    if (!frames.empty() && !sound) frames.back().sound = false;
  }
  path_.resize(base);
  return {};
}

bool TreeVerifier::enter(const Pending& pending, std::vector<Frame>& frames) {
  const State before = known(pending.ref);
  if (before == State::sound) return true;
  if (before == State::damaged) return damage(kShared);
  if (pending.depth >= kMaxTreeDepth) return damage("its index nodes nest deeper than they can");
  const auto page = open(pending.ref);
  if (!page) return false;
  // Until all below it is walked: a node that refers to itself is no sound one.
  state(pending.ref, *page) = State::damaged;
  Frame frame{
      .ref = pending.ref, .path_size = path_.size(), .children = {}, .next = 0, .sound = true};
  if (auto expanded = expand(*page, pending, frame); !expanded) {
    return damage("all below it is lost: " + expanded.error().message);
  }
  frames.push_back(std::move(frame));
  return true;
}

Result<void> TreeVerifier::expand(const Page& page, const Pending& pending, Frame& frame) {
  const std::size_t path_size = path_.size();
  std::uint64_t count = 0;
  if (TRY(page.kind(pending.ref.node)) == NodeKind::directory_leaf) {
    TRY(page.directory_leaf(pending.ref.node, 0, [&](Entry&& e) {
      ++count;
      append_name(path_, e.name);
      if (!entry(e)) frame.sound = false;
      path_.resize(path_size);
      if (e.is_directory()) frame.children.push_back({std::move(e.name), e.node, e.entries, 0});
      return true;
    }));
  } else {
    for (const DirectoryChild& child : TRY(page.directory_index(pending.ref.node))) {
      count += child.entries;
      frame.children.push_back({{}, child.node, child.entries, pending.depth + 1});
    }
  }
  if (count != pending.entries) {
    frame.sound = damage(fmt::format("holds {} names where {} are stated", count, pending.entries));
  }
  return {};
}

bool TreeVerifier::entry(const Entry& entry) {
  bool sound = !entry.xattr_node || xattrs(*entry.xattr_node);
  if (entry.type != FileType::regular) return sound;
  switch (entry.content) {
    case Entry::Content::extents:
      return extents(entry.extents, 0) && sound;
    case Entry::Content::extent_node:
      return extent_node(entry.node, 0, 0, entry.size) && sound;
    case Entry::Content::none:
      if (entry.size == 0 || (entry.flags & (kUnreadable | kNotCrossed)) != 0) return sound;
      return damage(fmt::format("{} bytes without content", entry.size));
    default:
      return sound;
  }
}

bool TreeVerifier::xattrs(const NodeRef& ref) {
  const State before = known(ref);
  if (before == State::sound) return true;
  if (before == State::damaged) return damage(kShared);
  const auto page = open(ref);
  if (!page) return false;
  const auto set = page->xattr_set(ref.node);
  state(ref, *page) = set ? State::sound : State::damaged;
  return set ? true : damage("its extended attributes are lost: " + set.error().message);
}

bool TreeVerifier::extent_node(const NodeRef& ref, int depth, std::uint64_t offset,
                               std::uint64_t length) {
  if (depth >= kMaxTreeDepth) return damage("its extent nodes nest deeper than they can");
  const State before = known(ref);
  if (before == State::sound) return true;
  if (before == State::damaged) return damage(kShared);
  const auto page = open(ref);
  if (!page) return false;
  state(ref, *page) = State::damaged;
  std::uint64_t total = 0;
  const auto check = [&]() -> Result<bool> {
    bool sound = true;
    if (TRY(page->kind(ref.node)) == NodeKind::extent_leaf) {
      const auto run = TRY(page->extent_leaf(ref.node));
      for (const Extent& extent : run) total += extent.length;
      return extents(run, offset);
    }
    for (const ExtentChild& child : TRY(page->extent_index(ref.node))) {
      sound = extent_node(child.node, depth + 1, offset + total, child.length) && sound;
      total += child.length;
    }
    return sound;
  };
  auto sound = check();
  if (!sound) {
    return damage(fmt::format("bytes {} to {} are lost: {}", offset, offset + length - 1,
                              sound.error().message));
  }
  if (total != length) {
    return damage(fmt::format("extents add up to {} bytes where {} are stated", total, length));
  }
  if (*sound) state(ref, *page) = State::sound;
  return *sound;
}

bool TreeVerifier::extents(const std::vector<Extent>& run, std::uint64_t offset) {
  bool sound = true;
  std::uint64_t lost_from = 0;
  std::uint64_t lost_to = 0;
  ChunkId first_lost;
  const auto flush = [&] {
    if (lost_from == lost_to) return;
    sound = damage(fmt::format("bytes {} to {} are lost: chunk {} is in no readable pack",
                               lost_from, lost_to - 1, first_lost.hex()));
  };
  for (const Extent& extent : run) {
    const std::uint64_t end = offset + extent.length;
    const auto size = extent.kind == Extent::Kind::data
                          ? records_.find(ChunkKind::data, extent.chunk)
                          : std::optional<std::uint32_t>(0);
    const bool lost =
        !size || (extent.kind == Extent::Kind::data && extent.offset + extent.length > *size);
    if (lost) lost_chunks_.insert(extent.chunk);
    if (lost && (lost_from == lost_to || lost_to != offset)) {
      flush();
      lost_from = offset;
      first_lost = extent.chunk;
    }
    if (lost) lost_to = end;
    offset = end;
  }
  flush();
  return sound;
}

}  // namespace bygone::store
