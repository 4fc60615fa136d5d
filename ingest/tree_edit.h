// SPDX-License-Identifier: Apache-2.0
//
// A tree that was read already, with changes: what is to be left out, put in, or read again. The
// result is told as the items of a walk, so that it is stored like one; folders that no change
// touches are kept as they are, without a look. One thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/walk.h"
#include "store/tree_reader.h"

namespace bygone::ingest {

// All paths are relative to the volume's root, without slashes at their ends; the root is "".
struct TreeEdit {
  std::set<std::string> left_out;            // entries; nothing happens when there are none
  std::set<std::string> emptied;             // folders that lose all their entries
  std::map<std::string, std::string> added;  // files by path, in place of what is there
  // A folder that is read from the source now, as far as it is wanted.
  struct Reread {
    std::string folder;
    std::set<std::string> needed;  // files that must be there from before until after the read
    std::string also_suffix;       // and others whose names end so
  };
  std::optional<Reread> reread;

  [[nodiscard]] bool touches(const std::string& path) const;  // it, or something below it
};

class TreeEditor {
 public:
  // All references must outlive it; `root` is the open folder that `hot` was read from.
  TreeEditor(store::TreeReader& trees, const Fd& root, const TreeEdit& edit, Nanoseconds now)
      : trees_(trees), root_(root), edit_(edit), now_(now) {}

  // The items of `hot` with the changes, as many as the folders that they touch have entries. Files
  // are added with the owner of their folder, mode 0600, and 0640 where its group may read. Errors:
  // not_found when a needed file is not there; those of the store and the source.
  Result<std::vector<Item>> items(const store::Entry& hot);
  // After the items were read: proves that what was needed was there all the time. Errors: io.
  [[nodiscard]] Result<void> check() const;

 private:
  Result<void> folder(const store::Entry& hot, const std::string& path, int leaf);
  Result<void> fresh_folder(const store::Entry& hot, const std::string& path);
  Result<void> fresh_entry(const Folder& fd, const std::string& path, const Listed& listed);

  store::TreeReader& trees_;
  const Fd& root_;
  const TreeEdit& edit_;
  Nanoseconds now_;
  std::vector<Item> items_;
  bool reread_found_ = false;
  std::vector<std::shared_ptr<FileWork>> reread_;
};

}  // namespace bygone::ingest
