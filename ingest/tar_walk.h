// SPDX-License-Identifier: Apache-2.0
//
// Walks a stream as walk.h walks a folder: the same items in the same order, beside the parent
// snapshot's tree. The content of files is handed out as it passes by. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ingest/exclude.h"
#include "ingest/tree_stream.h"
#include "ingest/walk.h"

namespace bygone::ingest {

// Files with several names whose entries, as emitted, do not say how many, or which have names that
// were not emitted: how many only the end of an archive tells. By the path of the first name.
using LinkChanges = std::map<std::string, std::set<std::string>>;  // to the paths of all names

struct TarWalkOptions {
  // As in WalkOptions; `take` answers at once whether a file is as before.
  bool collapse = false;
  std::function<bool(const store::Entry&)> is_stored;
  // Reads the content of a regular file. `work` has metadata, name, path and the parent to follow;
  // outcome, and what belongs to it, are to be set.
  std::function<Result<void>(FileWork& work, TreeStream& stream)> take;
};

class TarWalk {
 public:
  // All references must outlive the walk.
  TarWalk(TreeStream& stream, store::TreeReader& trees, const Excludes& excludes,
          TarWalkOptions options, WalkNotes& notes);
  ~TarWalk();

  // Walks all of the stream. `emit` as in Walk::run(). Errors: those of the reader; invalid for
  // an order that is none; cancelled when `emit` stopped it.
  Result<void> run(const std::optional<store::Entry>& parent,
                   const std::function<bool(Item&&)>& emit);
  // After run().
  [[nodiscard]] LinkChanges link_changes() const;

 private:
  struct Frame;
  struct Linked {
    std::shared_ptr<FileWork> work;  // null when its first name was emitted as the only one
    std::set<std::string> names;
    bool all_emitted = true;
  };
  Result<void> begin(TarEntry&& root, const std::optional<store::Entry>& parent);
  Result<void> step(TarEntry&& entry);
  Result<void> enter(std::string path, store::Entry entry, const store::Entry* before, int leaf);
  void leave();
  Result<void> leave_to(const std::string& folder);
  Result<void> take_file(TarEntry&& entry, const store::Entry* before, int leaf);
  Result<void> take_link(TarEntry&& entry, const store::Entry* before, int leaf);
  void take_other(TarEntry&& entry, const store::Entry* before, int leaf);
  void keep(const store::Entry& before, int leaf);
  [[nodiscard]] bool is_stored(const store::Entry* before) const;

  TreeStream& stream_;
  const Excludes& excludes_;
  TarWalkOptions options_;
  WalkOutput output_;
  WalkNotes& notes_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::string excluded_;  // the folder that was left out last, with a slash; empty for none
  std::unordered_map<std::string, Linked> linked_;  // by the path of the first name
};

}  // namespace bygone::ingest
