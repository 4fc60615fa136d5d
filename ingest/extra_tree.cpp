// SPDX-License-Identifier: Apache-2.0
#include "ingest/extra_tree.h"

#include <utility>

namespace bygone::ingest {
namespace {

using store::Entry;

}  // namespace

ContentCutter ExtraTree::next_version(const std::string& path, store::TreeReader& trees,
                                      const std::optional<Entry>& parent) {
  std::optional<Entry> before = parent;
  std::string rest = path;
  while (before && !rest.empty()) {
    const std::string name = rest.substr(0, rest.find('/'));
    rest.erase(0, name.size() + 1);
    auto found = trees.lookup(*before, name);
    before = found ? std::move(*found) : std::nullopt;
  }
  ContentCutter content = cutter(before ? before->size : kPooledBuffer);
  content.follow(ParentExtents::of(trees, before), trials_);
  return content;
}

Result<void> ExtraTree::add(const std::string& path, ContentCutter content, std::uint64_t size,
                            Nanoseconds time) {
  Folder* folder = &root_;
  std::string name = path;
  for (std::size_t slash = 0; (slash = name.find('/')) != std::string::npos;) {
    folder = &folder->folders[name.substr(0, slash)];
    name.erase(0, slash + 1);
  }
  Entry entry;
  entry.name = name;
  entry.mode = 0600;
  entry.size = size;
  entry.mtime = store::to_timestamp(time);
  entry.ctime = entry.mtime;
  std::vector<store::Extent> extents;
  for (const Piece& piece : content.finish()) {
    extents.push_back(piece.extent);
    if (piece.pending) extents.back().chunk = piece.pending->wait();
  }
  if (auto failure = jobs_.failure()) return *failure;
  folder->files[name] = {std::move(entry), std::move(extents)};
  return {};
}

Result<void> ExtraTree::add(const std::string& path, std::string_view content, Nanoseconds time) {
  ContentCutter whole = cutter(content.size());
  whole.append(as_bytes(content));
  return add(path, std::move(whole), content.size(), time);
}

Result<Entry> ExtraTree::write(Folder& folder, Nanoseconds time) {
  std::map<std::string, Entry> all;
  for (auto& [name, file] : folder.files) {
    TRY(writer_.add_extents(file.entry, std::move(file.extents), nullptr, nullptr));
    all[name] = std::move(file.entry);
  }
  for (auto& [name, below] : folder.folders) {
    Entry entry = TRY(write(below, time));
    entry.name = name;
    all[name] = std::move(entry);
  }
  std::vector<Entry> entries;
  entries.reserve(all.size());
  for (auto& [name, entry] : all) entries.push_back(std::move(entry));
  Entry self;
  self.type = store::FileType::directory;
  self.mode = 0700;
  self.mtime = store::to_timestamp(time);
  self.ctime = self.mtime;
  TRY(writer_.add_directory(self, entries));
  return self;
}

Result<std::optional<Entry>> ExtraTree::finish(Nanoseconds time) {
  if (root_.files.empty() && root_.folders.empty()) return std::optional<Entry>();
  Entry root = TRY(write(root_, time));
  Entry* resolve = &root;
  TRY(writer_.finish({&resolve, 1}));
  return std::optional<Entry>(std::move(root));
}

}  // namespace bygone::ingest
