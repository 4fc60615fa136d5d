// SPDX-License-Identifier: Apache-2.0
//
// One pass over one volume: scanner, walk and pipeline put together. read() walks and stores;
// capture() walks under a freeze, keeping what changed since a hot pass, and store_captured()
// stores it after the thaw; amend() changes what a hot pass stored, instead. One thread at a time.
#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/backup.h"
#include "ingest/pipeline.h"
#include "ingest/tree_edit.h"

namespace bygone::ingest {

// What all passes of a backup share.
struct PassContext {
  store::Session& session;
  store::TreeWriter& writer;
  store::TreeReader& trees;
  ChunkJobs& jobs;
  const Excludes& excludes;
  // (st_dev, inode) of folders that are not entered, with what they are; empty: nobody needs to
  // hear of it.
  const std::map<std::pair<std::uint64_t, std::uint64_t>, std::string>& off_limits;
  const std::atomic<bool>& cancel;
  Clock clock;
  bool rescan = false;
  Fingerprints* fingerprints = nullptr;
  SealedSpill* spill = nullptr;
  Limiter* limiter = nullptr;                     // read() alone
  const store::PageLiveness* liveness = nullptr;  // read(): what to write anew

  // Progress and outcome, gathered over all passes.
  PipelineCounts counts;
  std::atomic<std::uint64_t> files_seen{0};
  std::atomic<std::uint64_t> bytes_seen{0};
  std::atomic<std::uint64_t> bytes_read{0};
};

class VolumePass {
 public:
  // `number` and `tag` as in FileReaderOptions. Errors: when the volume's root cannot be opened,
  // or lies where nothing may be read.
  static Result<std::unique_ptr<VolumePass>> open(PassContext& context, const std::string& path,
                                                  std::size_t number, std::uint64_t tag);

  // Metadata of the volume's root, as of open().
  [[nodiscard]] const store::Entry& root() const { return root_.entry; }

  // Walks and stores. The root entry with its content; the reports are in notes().
  Result<store::Entry> read(const std::optional<store::Entry>& parent);
  // Makes everything that was written so far durable and visible to capture().
  Result<void> sync();
  // Walks beside `hot`, what read() returned, and captures what differs.
  Result<void> capture(const store::Entry& hot);
  Result<store::Entry> store_captured();

  // Whether nothing has changed since the hot pass, as far as times tell.
  Result<bool> is_unchanged(const store::Entry& hot);
  // Stores `hot` with changes (tree_edit.h). Errors: io and not_found when what the edit needs was
  // not there; cancelled; those of the store.
  Result<store::Entry> amend(const store::Entry& hot, const TreeEdit& edit);

  // The open root, of which what stands below it can be opened.
  [[nodiscard]] const Fd& fd() const { return fd_; }
  // Of the last pass.
  [[nodiscard]] const WalkNotes& notes() const { return notes_; }

 private:
  VolumePass(PassContext& context, std::string path, Fd fd, Listed root, std::size_t number,
             std::uint64_t tag)
      : context_(context),
        path_(std::move(path)),
        fd_(std::move(fd)),
        root_(std::move(root)),
        number_(number),
        tag_(tag) {}
  Result<void> walk(const std::optional<store::Entry>& parent, WalkOptions options,
                    const std::function<bool(Item&&)>& emit);
  Result<Item> single_file(const std::optional<store::Entry>& parent);
  FileReaderOptions reader_options() const;

  PassContext& context_;
  std::string path_;
  Fd fd_;
  Listed root_;
  std::size_t number_;
  std::uint64_t tag_;
  WalkNotes notes_;
  std::vector<Item> captured_;
};

}  // namespace bygone::ingest
