// SPDX-License-Identifier: Apache-2.0
//
// Marks what snapshots reach: pages and chunks by walking their trees, each node once however many
// snapshots share it, then the bases of every delta among them. A record is marked only after a
// footer has shown its id (record_table.h). Four bytes a record, and a bit for each node of the
// pages reached. Deletes nothing; one thread.
#pragma once

#include <atomic>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/page.h"
#include "store/record_table.h"

namespace bygone::store {

class Marker {
 public:
  // All must outlive the marker.
  Marker(Repository& repository, const RecordTable& table, const std::atomic<bool>& cancel)
      : repository_(repository), table_(table), cancel_(cancel), order_(table.size(), 0) {}

  // Marks what `snapshot` reaches, without the bases of deltas.
  // Errors: corrupt when something that it reaches cannot be read or stands in no pack, naming the
  // snapshot and the path; cancelled; io. Nothing may be deleted then.
  Result<void> mark(const Snapshot& snapshot);
  // Marks the bases of all deltas marked so far, down to plain records. Errors: as mark().
  Result<void> mark_bases();

  // Records are numbered from 1 in the order in which they were reached, volumes in the order of
  // paths; 0: not reached.
  [[nodiscard]] std::uint32_t order(Ordinal ordinal) const { return order_[ordinal]; }
  [[nodiscard]] bool is_marked(Ordinal ordinal) const { return order_[ordinal] != 0; }
  // The highest number given: what is above it was reached later.
  [[nodiscard]] std::uint32_t count() const { return count_; }

 private:
  struct Child {
    std::string name;  // of the folder; empty for a child of an index node
    NodeRef ref;
    int depth = 0;  // in the index of this folder
  };
  // A node whose children are being walked.
  struct Frame {
    std::size_t path_size = 0;
    std::vector<Child> children;
    std::size_t next = 0;
  };
  Result<void> walk(const std::string& path, const Entry& root);
  Result<void> walk_directory(const Entry& root);
  Result<void> enter(const Child& child, std::vector<Frame>& frames);
  Result<void> entry(const Entry& entry);
  Result<void> extent_node(const NodeRef& ref, int depth);
  Result<void> extents(const std::vector<Extent>& run);
  Result<void> mark_chunk(ChunkKind kind, const ChunkId& id);
  Result<void> mark_bases_in(std::size_t pack);
  // The page, marked; nothing when the node was walked before.
  Result<std::shared_ptr<const Page>> open(const NodeRef& ref);

  Repository& repository_;
  const RecordTable& table_;
  const std::atomic<bool>& cancel_;
  std::string path_;  // of the entry that is being looked at
  std::vector<std::uint32_t> order_;
  std::uint32_t count_ = 0;
  std::vector<bool> open_bases_ = std::vector<bool>(table_.packs().size());  // by pack
  std::unordered_map<ChunkId, std::vector<bool>, IdHash> seen_;              // nodes of a page
};

}  // namespace bygone::store
