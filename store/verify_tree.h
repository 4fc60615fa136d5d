// SPDX-License-Identifier: Apache-2.0
//
// The part of verify that walks trees: each node once, however many snapshots share it. Looks
// every chunk up in the footers' RecordSet. Folders are kept on a list of our own, not on the call
// stack: a container may nest them as deep as it likes. One thread.
#pragma once

#include <atomic>
#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/page.h"
#include "store/record_set.h"
#include "store/tree_reader.h"

namespace bygone::store {

class TreeVerifier {
 public:
  using Report = std::function<void(const std::string& line)>;
  // All must outlive the verifier.
  TreeVerifier(TreeReader& trees, const RecordSet& records, const std::atomic<bool>& cancel,
               Report report)
      : trees_(trees), records_(records), cancel_(cancel), report_(std::move(report)) {}

  // Walks `root` and all below it. Lines begin with `snapshot` (what it is called) and the path,
  // which begins with `path`. Errors: cancelled.
  Result<void> walk(const std::string& snapshot, const std::string& path, const Entry& root);

  // Chunks that are needed, and in no record that can be read.
  [[nodiscard]] const std::set<ChunkId>& lost_chunks() const { return lost_chunks_; }
  // Pages that are needed and cannot be read.
  [[nodiscard]] std::set<ChunkId> lost_pages() const {
    std::set<ChunkId> pages;
    for (const auto& [page, why] : lost_pages_) pages.insert(page);
    return pages;
  }

 private:
  enum class State : std::uint8_t { unseen, sound, damaged };
  // A node of a directory that is still to be opened: its root, or a child of an index node.
  struct Pending {
    std::string name;  // of the folder; empty for a child of an index node
    NodeRef ref;
    std::uint64_t entries = 0;
    int depth = 0;  // in the index of this folder
  };
  // A node whose children are being walked.
  struct Frame {
    NodeRef ref;
    std::size_t path_size = 0;
    std::vector<Pending> children;
    std::size_t next = 0;
    bool sound = true;
  };

  // The page that holds `ref`; nothing, and a line, when it cannot be read.
  std::shared_ptr<const Page> open(const NodeRef& ref);
  State& state(const NodeRef& ref, const Page& page);
  [[nodiscard]] State known(const NodeRef& ref) const;
  // Opens the node: pushes a frame when it is new. False: it is damaged.
  bool enter(const Pending& pending, std::vector<Frame>& frames);
  Result<void> expand(const Page& page, const Pending& pending, Frame& frame);
  Result<void> walk_directory(const Entry& root);
  // What hangs on an entry itself. False: it is damaged.
  bool entry(const Entry& entry);
  bool xattrs(const NodeRef& ref);
  bool extent_node(const NodeRef& ref, int depth, std::uint64_t offset, std::uint64_t length);
  bool extents(const std::vector<Extent>& run, std::uint64_t offset);
  bool damage(const std::string& what);

  TreeReader& trees_;
  const RecordSet& records_;
  const std::atomic<bool>& cancel_;
  Report report_;
  std::string snapshot_;
  std::string path_;  // of the entry that is being looked at
  std::unordered_map<ChunkId, std::vector<State>, IdHash> seen_;
  std::unordered_map<ChunkId, std::string, IdHash> lost_pages_;  // each is searched for once
  std::set<ChunkId> lost_chunks_;
};

}  // namespace bygone::store
