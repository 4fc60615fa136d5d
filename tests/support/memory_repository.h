// SPDX-License-Identifier: Apache-2.0
//
// Snapshots with real trees in memory, for everything that reads them: fields are set as a test
// wants them, and chunks can be damaged. One thread builds; reading is safe from many.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fs/catalog.h"
#include "store/keys.h"
#include "tests/support/memory_chunks.h"

namespace bygone::test {

// An entry with what is below it or in it.
struct Item {
  store::Entry entry;
  std::vector<Item> children;          // folders
  std::vector<store::Extent> extents;  // files with content that is not inline
};

class MemoryRepository final : public fs::SnapshotSource {
 public:
  MemoryRepository();

  // A chunk with these bytes, as an extent of all of it.
  store::Extent chunk(std::string_view bytes);
  static store::Extent hole(std::uint64_t length);
  static store::Extent zeros(std::uint64_t length);

  // Mode 0644 and 0755, owner 0, and a fresh inode number each.
  Item folder(std::string name, std::vector<Item> children = {});
  Item file(std::string name, std::string_view inline_text);
  Item file(std::string name, std::vector<store::Extent> extents);
  Item link(std::string name, std::string target);

  // Writes the tree into pages; the entry of its root, nameless.
  store::Entry write(Item root);

  // A snapshot of `source` with one volume for each of `volumes` (name and root); for a folder or
  // a bare volume one, nameless. Zone UTC, listed to the minute.
  store::Snapshot snapshot(store::SourceKind kind, const std::string& source, Nanoseconds instant,
                           const std::vector<std::pair<std::string, store::Entry>>& volumes);
  // Gives it an id and commits it.
  fs::SnapshotPtr commit(store::Snapshot snapshot);
  void remove(const SnapshotId& id);

  Result<std::vector<SnapshotId>> ids() override;
  Result<store::Snapshot> get(const SnapshotId& id) override;

  store::KeyRing& keys() { return *keys_; }
  MemoryChunks& chunks() { return chunks_; }
  store::TreeReader& trees() { return *trees_; }

 private:
  void finish(store::TreeWriter& writer, Item& item);

  std::unique_ptr<store::KeyRing> keys_;
  MemoryChunks chunks_;
  std::unique_ptr<store::TreeReader> trees_;
  std::uint64_t next_inode_ = 100;
  std::mutex mutex_;
  std::map<SnapshotId, store::Snapshot> snapshots_;  // guarded by mutex_
  std::map<std::string, SourceId> sources_;
};

}  // namespace bygone::test
