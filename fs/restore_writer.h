// SPDX-License-Identifier: Apache-2.0
//
// Puts one non-folder of the snapshot into the target: decides, creates, fills, dresses, renames.
// Large files are filled by several threads, a segment each. Internal to fs/restore*. One Writer a
// thread; BigFile is shared.
#pragma once

#include <atomic>
#include <memory>

#include "fs/restore_content.h"
#include "fs/restore_job.h"
#include "fs/restore_node.h"

namespace bygone::fs {

// Files from this size are split into segments.
inline constexpr std::uint64_t kSegment = 16u << 20;

// A file that several threads fill.
struct BigFile {
  Item item;
  FdPtr folder;  // outlives the placement
  Decision decision = Decision::create;
  Fd fd;
  Placement placement;
  std::atomic<std::uint64_t> segments_left{0};
  std::atomic<bool> failed{false};
  std::atomic<std::uint64_t> bytes_done{0};
};

// What became of an item: whether its name now shows the snapshot's file (as opposed to being
// kept or failed), so that hard links can be made to it.
enum class Outcome { restored, other };

class Writer {
 public:
  explicit Writer(Job& job);

  // Restores `item` whole. Reports, and marks it done in its folder.
  Outcome restore(const Item& item);
  // Makes `item` another name of the file `first` in `first_folder`; false when this place cannot
  // link (the caller restores it as a file of its own).
  bool link(const Item& item, const FolderPtr& first_folder, const std::string& first);
  // Creates the file of `item` for filling; nothing when it was dealt with already.
  std::shared_ptr<BigFile> begin(const Item& item);
  // Fills [begin, end) of `file`; whoever fills the last one finishes the file.
  void fill(BigFile& file, std::uint64_t begin, std::uint64_t end);

 private:
  Result<Decision> settle(const Item& item, int folder) const;
  Result<void> make_room(const Item& item, int folder);
  Result<void> keep_content(const Item& item, int folder);
  Result<void> write_new(const Item& item, int folder, Decision decision);
  Result<Outcome> try_restore(const Item& item);
  Result<bool> try_link(const Item& item, const FolderPtr& first_folder, const std::string& first);
  Result<std::shared_ptr<BigFile>> try_begin(const Item& item);
  Result<void> dress(const Item& item, const Node& node);
  Result<void> end(BigFile& file);
  void finish(const Item& item, const Result<void>& result, std::uint64_t bytes_counted);

  Job& job_;
  Content content_;
  LastFolder folders_;
};

// Sets the metadata of `folder` when its last content is done, and of the folders above that it
// completes.
void finish_folder(Job& job, FolderPtr folder);

}  // namespace bygone::fs
