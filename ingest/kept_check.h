// SPDX-License-Identifier: Apache-2.0
//
// Whether what an entry of the parent snapshot refers to is still stored: chunks, extent nodes,
// attributes, the nodes of a directory. Asked only when something may be missing, so that a backup
// stores it again; never needed where all is well. One thread.
#pragma once

#include <unordered_map>

#include "store/session.h"
#include "store/tree_reader.h"

namespace bygone::ingest {

class KeptCheck {
 public:
  // Both must outlive the check.
  KeptCheck(store::Session& session, store::TreeReader& trees) : session_(session), trees_(trees) {}

  // True when everything that `entry` refers to counts as stored and its nodes decode; of a
  // directory its own nodes, not what they name. Remembers what it has looked up.
  bool is_stored(const store::Entry& entry);

 private:
  bool has(store::ChunkKind kind, const ChunkId& id);
  Result<bool> node(const store::NodeRef& ref, int depth);
  bool extents(const std::vector<store::Extent>& list);

  store::Session& session_;
  store::TreeReader& trees_;
  std::unordered_map<ChunkId, bool, IdHash> known_;
};

}  // namespace bygone::ingest
