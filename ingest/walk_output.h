// SPDX-License-Identifier: Apache-2.0
//
// What walks of folders and of archives have in common: the items that they emit, and the folders
// that they are in, each beside the parent snapshot's. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/file_reader.h"
#include "store/tree_reader.h"

namespace bygone::ingest {

// One step of a walk, in order.
struct Item {
  enum class Kind {
    enter,  // a folder begins: `entry` is its metadata
    leave,  // it ends
    entry,  // `entry` is final: kept from the parent (`leaf` >= 0), or needs no content
    file,   // `entry` gives the name, `work` the rest
  };
  Kind kind = Kind::entry;
  store::Entry entry;
  std::shared_ptr<FileWork> work;
  // Number of the parent's leaf in which an equal entry stands; -1 for what is new or changed.
  // For Kind::file: where it stands should the read show that nothing changed.
  int leaf = -1;
  std::optional<store::Entry> parent;  // the previous version of what is not kept as it was
  std::vector<store::LeafRef> leaves;  // enter: the leaves of the parent's folder
};

// The entries of the parent's folder, sorted by name.
class EntriesBefore {
 public:
  struct Match {
    const store::Entry* entry = nullptr;  // null: there is none of that name
    int leaf = -1;                        // in which it stands
  };

  // Errors: those of the tree's pages.
  static Result<EntriesBefore> read(store::TreeReader& trees, const store::Entry& folder);
  // Names must be asked for in their order.
  Match find(const std::string& name);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  // For the item of the folder, once.
  std::vector<store::LeafRef> take_leaves() { return std::move(leaves_); }

 private:
  std::vector<store::LeafRef> leaves_;
  std::vector<store::Entry> entries_;
  std::vector<int> leaf_of_;
  std::size_t next_ = 0;
};

// A folder that a walk is in.
struct WalkFrame {
  store::Entry entry;                  // of the folder
  std::optional<store::Entry> parent;  // the same in the parent snapshot
  int leaf = -1;                       // of `parent`, in its own folder
  EntriesBefore before;
  std::size_t first_item = 0;  // collapse: of this folder among those gathered
  std::size_t kept = 0;        // entries equal to the parent's
  std::size_t taken = 0;       // entries emitted
};

// Takes the items of a walk and passes them on: each at once, or with `collapse` all at the end,
// when a folder that is unchanged to the last leaf has become one item.
class WalkOutput {
 public:
  // `trees` must outlive it. `is_stored` as in WalkOptions.
  WalkOutput(store::TreeReader& trees, bool collapse,
             std::function<bool(const store::Entry&)> is_stored);

  void begin(const std::function<bool(Item&&)>& emit) { emit_ = &emit; }
  void put(Item&& item);
  // Begins the folder at `path` whose entry, parent and leaf are set. Where the parent's listing
  // cannot be read the folder goes on as a new one, with a warning.
  void enter(WalkFrame& frame, const std::string& path);
  // Ends it. `may_collapse`: its own entry is as before, and it is not the root. True: all of it
  // was as before and it is one item now.
  bool leave(WalkFrame& frame, bool may_collapse);
  // Emits what was gathered. Errors: cancelled when `emit` stopped it.
  Result<void> finish();

  [[nodiscard]] bool is_stopped() const { return is_stopped_; }
  // Whether all that an entry of the parent refers to is stored.
  [[nodiscard]] bool is_stored(const store::Entry& before) const;

 private:
  Result<EntriesBefore> read_before(const WalkFrame& frame, const std::string& path);

  store::TreeReader& trees_;
  bool collapse_;
  std::function<bool(const store::Entry&)> is_stored_;
  std::vector<Item> gathered_;
  const std::function<bool(Item&&)>* emit_ = nullptr;
  bool is_stopped_ = false;
};

}  // namespace bygone::ingest
