// SPDX-License-Identifier: Apache-2.0
//
// Walks one volume in pre-order, names sorted by bytes, beside the parent snapshot's tree, and says
// of each entry what is to be done: keep the parent's, take the metadata, or read the file. Reads
// no file content. One thread (the scanner's threads list ahead).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ingest/scanner.h"
#include "ingest/walk_output.h"

namespace bygone::ingest {

struct WalkOptions {
  bool rescan = false;
  // Folders that were unchanged to the last leaf become one Item::entry, which is only possible
  // when all items are kept until the walk ends.
  bool collapse = false;
  TreeKind tree = TreeKind::plain;
  Clock clock;
  // Whether all that an entry of the parent refers to is stored; empty: nothing can be missing. A
  // file of which something is not is read again, and nothing of its old content is believed.
  std::function<bool(const store::Entry&)> is_stored;
  // Called with each file that is to be read, as soon as it is found.
  std::function<void(const std::shared_ptr<FileWork>&)> on_file;
};

// What the walk could not do, and what it left out on purpose.
struct WalkNotes {
  std::vector<std::pair<std::string, std::string>> unreadable;  // path, reason
  std::vector<std::string> skipped;                             // "path: reason"
  // Paths at which another file system begins, left out; one that keeps no data is skipped.
  std::vector<std::string> mounted;
  // Of a layer: paths of the image that were deleted; with a slash behind it a folder whose content
  // in the image does not show any more.
  std::vector<std::string> deleted;
  std::uint64_t new_files = 0;
  std::uint64_t unmodified_files = 0;
  std::uint64_t folders = 0;
  std::uint64_t read_again = 0;  // files that had not changed, but were damaged in the parent
};

class Walk {
 public:
  // All references must outlive the walk. `off_limits` names what a folder that must not be
  // entered is, nothing for others.
  Walk(Scanner& scanner, store::TreeReader& trees, WalkOptions options,
       std::function<std::optional<std::string>(const Listed&)> off_limits, WalkNotes& notes);
  ~Walk();

  // Walks the tree below `root`; `parent` is the volume's root entry in the parent snapshot.
  // `emit` takes each item and returns false to stop; with collapse, items are gathered and
  // emitted at the end. Errors: cancelled when `emit` stopped it; what keeps the root itself from
  // being read.
  Result<void> run(const std::shared_ptr<ScannedFolder>& root,
                   const std::optional<store::Entry>& parent,
                   const std::function<bool(Item&&)>& emit);

 private:
  struct Frame;
  Result<void> enter(const std::shared_ptr<ScannedFolder>& folder,
                     const std::optional<store::Entry>& parent, int leaf);
  void leave();
  Result<void> step();
  enum class Stored { no, yes };  // what the parent's entry refers to
  void take_file(Frame& frame, store::Entry entry, const store::Entry* before, int leaf,
                 Stored stored);
  [[nodiscard]] bool is_lost(const Frame& frame, const store::Entry* before);
  void take_other(Frame& frame, ScannedEntry& scanned, const store::Entry* before, int leaf);
  bool is_unchanged(const store::Entry& now, const store::Entry& before) const;
  void cannot_read(const std::string& path, const Error& error);
  void note_mount(const std::string& path, std::uint64_t device);

  Scanner& scanner_;
  WalkOptions options_;
  WalkOutput output_;
  std::function<std::optional<std::string>(const Listed&)> off_limits_;
  WalkNotes& notes_;
  std::vector<std::unique_ptr<Frame>> frames_;
  // A name of a file with several: what is to be read, and how it was listed.
  struct Linked {
    std::shared_ptr<FileWork> work;
    store::Timestamp ctime;
    std::uint64_t size = 0;
  };
  std::unordered_map<std::uint64_t, Linked> linked_;  // by inode
};

}  // namespace bygone::ingest
