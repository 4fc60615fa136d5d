// SPDX-License-Identifier: Apache-2.0
#include "tests/support/memory_repository.h"

#include <algorithm>

#include "store/crypto.h"
#include "store/zone.h"

namespace bygone::test {

using store::Entry;
using store::Extent;
using store::FileType;

namespace {

// Tests build what they want; a writer that fails is a broken test.
template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "memory repository: %s\n", result.error().message.c_str());
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace

MemoryRepository::MemoryRepository() {
  must(store::init_crypto());
  keys_ = store::KeyRing::generate(store::random_id<RepositoryId>());
  trees_ = std::make_unique<store::TreeReader>(chunks_, 1 << 20);
}

Extent MemoryRepository::chunk(std::string_view bytes) {
  const ChunkId id = keys_->chunk_id(store::ChunkKind::data, as_bytes(bytes));
  chunks_.chunks[id] = std::make_shared<const Bytes>(bytes.begin(), bytes.end());
  return {Extent::Kind::data, bytes.size(), 0, id};
}

Extent MemoryRepository::hole(std::uint64_t length) { return {Extent::Kind::hole, length, 0, {}}; }
Extent MemoryRepository::zeros(std::uint64_t length) { return {Extent::Kind::zero, length, 0, {}}; }

Item MemoryRepository::folder(std::string name, std::vector<Item> children) {
  Item out;
  out.entry.name = std::move(name);
  out.entry.type = FileType::directory;
  out.entry.mode = 0755;
  out.entry.inode = next_inode_++;
  out.children = std::move(children);
  return out;
}

Item MemoryRepository::file(std::string name, std::string_view inline_text) {
  Item out;
  out.entry.name = std::move(name);
  out.entry.mode = 0644;
  out.entry.inode = next_inode_++;
  out.entry.size = inline_text.size();
  if (!inline_text.empty()) {
    out.entry.content = Entry::Content::inline_bytes;
    out.entry.inline_bytes.assign(inline_text.begin(), inline_text.end());
  }
  return out;
}

Item MemoryRepository::file(std::string name, std::vector<Extent> extents) {
  Item out = file(std::move(name), "");
  for (const Extent& extent : extents) out.entry.size += extent.length;
  out.extents = std::move(extents);
  return out;
}

Item MemoryRepository::link(std::string name, std::string target) {
  Item out = file(std::move(name), "");
  out.entry.type = FileType::symlink;
  out.entry.mode = 0777;
  out.entry.size = target.size();
  out.entry.target = std::move(target);
  return out;
}

void MemoryRepository::finish(store::TreeWriter& writer, Item& item) {
  must(writer.add_xattrs(item.entry));
  if (!item.extents.empty()) must(writer.add_extents(item.entry, item.extents, nullptr, nullptr));
  if (!item.entry.is_directory()) return;
  std::sort(item.children.begin(), item.children.end(),
            [](const Item& a, const Item& b) { return a.entry.name < b.entry.name; });
  std::vector<Entry> entries;
  for (Item& child : item.children) {
    finish(writer, child);
    entries.push_back(child.entry);
  }
  must(writer.add_directory(item.entry, entries));
}

Entry MemoryRepository::write(Item root) {
  store::TreeWriter writer(*keys_, chunks_);
  root.entry.name.clear();
  finish(writer, root);
  Entry* const entry = &root.entry;
  must(writer.finish({&entry, 1}));
  return root.entry;
}

store::Snapshot MemoryRepository::snapshot(
    store::SourceKind kind, const std::string& source, Nanoseconds instant,
    const std::vector<std::pair<std::string, Entry>>& volumes) {
  store::Snapshot out;
  const std::string key = std::string(store::to_text(kind)) + source;
  if (!sources_.contains(key)) sources_[key] = store::random_id<SourceId>();
  out.source = sources_[key];
  out.kind = kind;
  out.name = out.display_name = source;
  out.host = "nas";
  out.zone = "UTC";
  out.instant = instant;
  out.listed_name = store::make_listed_name("UTC", instant, {});
  for (const auto& [name, root] : volumes) {
    store::Volume volume;
    volume.name = name;
    volume.destination = name.empty() ? "" : "/" + name;
    volume.root = root;
    out.volumes.push_back(std::move(volume));
  }
  return out;
}

fs::SnapshotPtr MemoryRepository::commit(store::Snapshot snapshot) {
  snapshot.id = keys_->snapshot_id(store::encode_snapshot(snapshot));
  const std::lock_guard lock(mutex_);
  snapshots_[snapshot.id] = snapshot;
  return std::make_shared<const store::Snapshot>(std::move(snapshot));
}

void MemoryRepository::remove(const SnapshotId& id) {
  const std::lock_guard lock(mutex_);
  snapshots_.erase(id);
}

Result<std::vector<SnapshotId>> MemoryRepository::ids() {
  const std::lock_guard lock(mutex_);
  std::vector<SnapshotId> out;
  for (const auto& [id, snapshot] : snapshots_) out.push_back(id);
  return out;
}

Result<store::Snapshot> MemoryRepository::get(const SnapshotId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = snapshots_.find(id);
  if (found == snapshots_.end()) return Error{Code::not_found, ENOENT, "no snapshot " + id.hex()};
  return found->second;
}

}  // namespace bygone::test
