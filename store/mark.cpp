// SPDX-License-Identifier: Apache-2.0
#include "store/mark.h"

#include <algorithm>

#include <fmt/core.h>

#include "store/chunk_store.h"
#include "store/format.h"

namespace bygone::store {
namespace {

constexpr const char* kHint =
    "; nothing was deleted; hint: bygone verify tells what is damaged, and forgetting the "
    "snapshots that it names, or bygone repair, lets prune go on";

}  // namespace

Result<void> Marker::mark(const Snapshot& snapshot) {
  const auto in_context = [&](Error error) {
    if (error.code == Code::cancelled) return error;
    if (error.code == Code::not_found) error.code = Code::corrupt;
    error.message = fmt::format("snapshot {} ({} {}): {}: {}{}", snapshot.id.hex(),
                                printable(snapshot.display_name), printable(snapshot.listed_name),
                                path_.empty() ? "/" : path_, error.message, kHint);
    return error;
  };
  for (const Volume& volume : snapshot.volumes) {
    const std::string path = volume.name.empty() ? "" : "/" + printable(volume.name);
    if (auto walked = walk(path, volume.root); !walked) return in_context(walked.error());
  }
  if (!snapshot.extra) return {};
  auto walked = walk("/.bygone", *snapshot.extra);
  return walked ? walked : in_context(walked.error());
}

Result<void> Marker::walk(const std::string& path, const Entry& root) {
  path_ = path;
  TRY(entry(root));
  return root.is_directory() ? walk_directory(root) : Result<void>();
}

Result<void> Marker::walk_directory(const Entry& root) {
  const std::size_t base = path_.size();
  std::vector<Frame> frames;
  TRY(enter({.name = {}, .ref = root.node, .depth = 0}, frames));
  while (!frames.empty()) {
    if (cancel_.load()) return Error{Code::cancelled, 0, "marking was cancelled"};
    Frame& top = frames.back();
    path_.resize(top.path_size);
    if (top.next == top.children.size()) {
      frames.pop_back();
      continue;
    }
    const Child child = std::move(top.children[top.next++]);
    append_name(path_, child.name);
    TRY(enter(child, frames));
  }
  path_.resize(base);
  return {};
}

Result<std::shared_ptr<const Page>> Marker::open(const NodeRef& ref) {
  const auto found = seen_.find(ref.page);
  if (found != seen_.end() && ref.node < found->second.size() && found->second[ref.node]) {
    return std::shared_ptr<const Page>();
  }
  auto page = TRY(repository_.trees().page(ref.page));
  if (ref.node >= page->node_count()) {
    return Error{Code::corrupt, 0, fmt::format("page {} has no node {}", ref.page.hex(), ref.node)};
  }
  TRY(mark_chunk(ChunkKind::page, ref.page));
  // Before what is below it: a node that refers to itself is walked once, too.
  seen_.try_emplace(ref.page, page->node_count()).first->second[ref.node] = true;
  return page;
}

Result<void> Marker::enter(const Child& child, std::vector<Frame>& frames) {
  if (child.depth >= kMaxTreeDepth) {
    return Error{Code::corrupt, 0, "its index nodes nest deeper than they can"};
  }
  const auto page = TRY(open(child.ref));
  if (!page) return {};
  Frame frame{.path_size = path_.size(), .children = {}, .next = 0};
  if (TRY(page->kind(child.ref.node)) == NodeKind::directory_index) {
    for (const DirectoryChild& below : TRY(page->directory_index(child.ref.node))) {
      frame.children.push_back({{}, below.node, child.depth + 1});
    }
  } else {
    Result<void> marked;
    TRY(page->directory_leaf(child.ref.node, 0, [&](Entry&& e) {
      append_name(path_, e.name);
      marked = entry(e);
      if (!marked) return false;
      path_.resize(frame.path_size);
      if (e.is_directory()) frame.children.push_back({std::move(e.name), e.node, 0});
      return true;
    }));
    TRY(marked);
  }
  frames.push_back(std::move(frame));
  return {};
}

Result<void> Marker::entry(const Entry& entry) {
  if (entry.xattr_node) {
    if (const auto page = TRY(open(*entry.xattr_node)))
      TRY(page->xattr_set(entry.xattr_node->node));
  }
  if (entry.content == Entry::Content::extents) return extents(entry.extents);
  if (entry.content == Entry::Content::extent_node) return extent_node(entry.node, 0);
  return {};
}

Result<void> Marker::extent_node(const NodeRef& ref, int depth) {
  if (depth >= kMaxTreeDepth) {
    return Error{Code::corrupt, 0, "its extent nodes nest deeper than they can"};
  }
  const auto page = TRY(open(ref));
  if (!page) return {};
  if (TRY(page->kind(ref.node)) == NodeKind::extent_leaf) {
    return extents(TRY(page->extent_leaf(ref.node)));
  }
  for (const ExtentChild& child : TRY(page->extent_index(ref.node))) {
    TRY(extent_node(child.node, depth + 1));
  }
  return {};
}

Result<void> Marker::extents(const std::vector<Extent>& run) {
  for (const Extent& extent : run) {
    if (extent.kind == Extent::Kind::data) TRY(mark_chunk(ChunkKind::data, extent.chunk));
  }
  return {};
}

Result<void> Marker::mark_chunk(ChunkKind kind, const ChunkId& id) {
  const auto ordinal = table_.find(kind, id);
  if (!ordinal) {
    return Error{Code::corrupt, 0,
                 fmt::format("{} {} is in no readable pack",
                             kind == ChunkKind::page ? "page" : "chunk", id.hex())};
  }
  if (order_[*ordinal] != 0) return {};
  order_[*ordinal] = ++count_;
  if (table_.is_delta(*ordinal)) open_bases_[table_.pack_number(*ordinal)] = true;
  return {};
}

Result<void> Marker::mark_bases_in(std::size_t pack) {
  const RecordTable::Pack& at = table_.packs()[pack];
  const auto reader = TRY(repository_.chunks().pack(at.id));
  for (std::uint32_t slot = 0; slot < at.records; ++slot) {
    if (cancel_.load()) return Error{Code::cancelled, 0, "marking was cancelled"};
    const Record& record = reader->records()[slot];
    if (!record.base || !is_marked(at.first + slot)) continue;
    if (auto marked = mark_chunk(at.kind, *record.base); !marked) {
      return std::move(marked).error().with("the base of chunk " + record.id.hex());
    }
  }
  return {};
}

Result<void> Marker::mark_bases() {
  for (auto next = open_bases_.begin();
       (next = std::find(open_bases_.begin(), open_bases_.end(), true)) != open_bases_.end();) {
    *next = false;
    TRY(mark_bases_in(static_cast<std::size_t>(next - open_bases_.begin())));
  }
  return {};
}

}  // namespace bygone::store
