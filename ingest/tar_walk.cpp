// SPDX-License-Identifier: Apache-2.0
#include "ingest/tar_walk.h"

#include <utility>

#include <xxhash.h>

#include "store/base/log.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::FileType;

// A tar has no inode numbers. By its path a file keeps its number from one snapshot to the next.
std::uint64_t number_of(const std::string& path) {
  const std::uint64_t hash = XXH3_64bits(path.data(), path.size());
  return hash == 0 ? 1 : hash;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// Whether a folder is as before, whatever is in it.
bool same_folder(const Entry& now, const Entry& before) {
  Entry with = now;
  with.content = before.content;
  with.node = before.node;
  with.entries = before.entries;
  with.subtree_files = before.subtree_files;
  with.subtree_bytes = before.subtree_bytes;
  return with == before;
}

Error out_of_order(const std::string& path) {
  return {Code::invalid, 0,
          "the archive cannot be believed: '" + printable(path) + "' is not where it belongs"};
}

}  // namespace

struct TarWalk::Frame : WalkFrame {
  std::string path;
  std::string last;  // name
};

TarWalk::TarWalk(TreeStream& stream, store::TreeReader& trees, const Excludes& excludes,
                 TarWalkOptions options, WalkNotes& notes)
    : stream_(stream),
      excludes_(excludes),
      options_(std::move(options)),
      output_(trees, options_.collapse, options_.is_stored),
      notes_(notes) {}

TarWalk::~TarWalk() = default;

bool TarWalk::is_stored(const Entry* before) const {
  return before == nullptr || output_.is_stored(*before);
}

Result<void> TarWalk::enter(std::string path, Entry entry, const Entry* before, int leaf) {
  auto frame = std::make_unique<Frame>();
  frame->path = std::move(path);
  frame->entry = std::move(entry);
  if (before != nullptr) frame->parent = *before;
  frame->leaf = leaf;
  output_.enter(*frame, frame->path);
  ++notes_.folders;
  frames_.push_back(std::move(frame));
  return {};
}

void TarWalk::leave() {
  Frame& frame = *frames_.back();
  const bool same = frame.parent && same_folder(frame.entry, *frame.parent);
  const bool kept = output_.leave(frame, same && frames_.size() > 1);
  frames_.pop_back();
  if (frames_.empty()) return;
  ++frames_.back()->taken;
  if (kept) ++frames_.back()->kept;
}

Result<void> TarWalk::leave_to(const std::string& folder) {
  while (!frames_.empty() && frames_.back()->path != folder) leave();
  if (frames_.empty()) return out_of_order(folder);
  return {};
}

void TarWalk::keep(const Entry& before, int leaf) {
  Item item;
  item.entry = before;
  item.leaf = leaf;
  ++frames_.back()->kept;
  ++frames_.back()->taken;
  output_.put(std::move(item));
}

void TarWalk::take_other(TarEntry&& from, const Entry* before, int leaf) {
  if (before != nullptr && from.entry == *before && is_stored(before)) return keep(*before, leaf);
  if (before == nullptr) ++notes_.new_files;
  ++frames_.back()->taken;
  Item item;
  item.entry = std::move(from.entry);
  output_.put(std::move(item));
}

Result<void> TarWalk::take_file(TarEntry&& from, const Entry* before, int leaf) {
  const auto work = std::make_shared<FileWork>();
  work->name = from.entry.name;
  work->path = from.path;
  work->large = from.entry.size >= store::kSmallFile;
  work->queued = true;  // its content comes from here, no reader has to look for it
  // Of a small file that equals the parent's the old extents would be kept: not if they are lost.
  if (before != nullptr && (work->large || is_stored(before))) work->parent = *before;
  const bool had_links =
      before != nullptr && before->type == FileType::regular && before->links > 1;
  if (had_links) {
    from.entry.links = before->links;
    linked_[from.path] = {work, {from.path}, true};
  }
  Item item;
  item.kind = Item::Kind::file;
  item.leaf = leaf;
  if (before != nullptr) item.parent = *before;
  item.entry = from.entry;
  item.work = work;
  work->entry = std::move(from.entry);
  TRY(options_.take(*work, stream_));
  if (before == nullptr) ++notes_.new_files;
  if (options_.collapse && work->outcome == FileWork::Outcome::kept && before != nullptr &&
      work->entry == *before && !frames_.empty()) {
    keep(*before, leaf);
    return {};
  }
  // What was only compared goes to the readers to be put together.
  if (work->outcome == FileWork::Outcome::waiting) {
    work->queued = false;
  } else {
    work->read_done = true;
  }
  if (!frames_.empty()) ++frames_.back()->taken;
  output_.put(std::move(item));
  return {};
}

Result<void> TarWalk::take_link(TarEntry&& from, const Entry* before, int leaf) {
  const std::string& first = *from.same_as;
  Linked& linked = linked_[first];
  linked.names.insert(first);
  linked.names.insert(from.path);
  if (before == nullptr) ++notes_.new_files;
  if (!linked.work) {
    linked.all_emitted = false;
    return {};
  }
  FileWork& work = *linked.work;
  Entry entry = work.entry;
  entry.name = from.entry.name;
  if (options_.collapse && work.outcome == FileWork::Outcome::kept && before != nullptr &&
      entry == *before) {
    keep(*before, leaf);
    return {};
  }
  Item item;
  item.kind = Item::Kind::file;
  item.leaf = leaf;
  if (before != nullptr) item.parent = *before;
  item.entry = std::move(entry);
  item.work = linked.work;
  ++frames_.back()->taken;
  output_.put(std::move(item));
  return {};
}

Result<void> TarWalk::begin(TarEntry&& root, const std::optional<Entry>& parent) {
  if (root.same_as) return out_of_order(root.path);
  root.entry.inode = number_of(root.path);
  const Entry* before = parent ? &*parent : nullptr;
  if (root.entry.is_directory()) return enter("", std::move(root.entry), before, -1);
  if (root.entry.type != FileType::regular) {
    return Error{Code::unsupported, 0, "it is neither a folder nor a file"};
  }
  return take_file(std::move(root), before, 0);
}

Result<void> TarWalk::step(TarEntry&& from) {
  if (!excluded_.empty() && from.path.starts_with(excluded_)) return {};
  if (from.path.empty()) return out_of_order("the root");
  TRY(leave_to(folder_of(from.path)));
  Frame& frame = *frames_.back();
  const std::string& name = from.entry.name;
  if (name <= frame.last) return out_of_order(from.path);
  frame.last = name;
  const bool is_directory = !from.same_as && from.entry.is_directory();
  if (excludes_.matches(from.path, is_directory)) {
    if (is_directory) excluded_ = from.path + "/";
    return {};
  }
  const auto [before, leaf] = frame.before.find(name);
  if (from.same_as) return take_link(std::move(from), before, leaf);
  from.entry.inode = number_of(from.path);
  if (is_directory) return enter(std::move(from.path), std::move(from.entry), before, leaf);
  if (from.entry.type == FileType::regular) return take_file(std::move(from), before, leaf);
  take_other(std::move(from), before, leaf);
  return {};
}

Result<void> TarWalk::run(const std::optional<Entry>& parent,
                          const std::function<bool(Item&&)>& emit) {
  output_.begin(emit);
  auto first = TRY(stream_.next());
  if (!first) return out_of_order("the end");
  TRY(begin(std::move(*first), parent));
  while (!output_.is_stopped()) {
    auto entry = TRY(stream_.next());
    if (!entry) break;
    TRY(step(std::move(*entry)));
  }
  while (!frames_.empty() && !output_.is_stopped()) leave();
  return output_.finish();
}

LinkChanges TarWalk::link_changes() const {
  LinkChanges changes;
  for (const auto& [first, linked] : linked_) {
    const bool right = linked.all_emitted && linked.work->entry.links == linked.names.size();
    if (!right) changes[first] = linked.names;
  }
  return changes;
}

}  // namespace bygone::ingest
