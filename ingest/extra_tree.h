// SPDX-License-Identifier: Apache-2.0
//
// The second tree of a snapshot, shown as `.bygone/`: what the container was, dumps, what could
// not be read. Files are added as they come, in folders by their path; finish() writes the folders.
// One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/chunk_jobs.h"
#include "ingest/content.h"
#include "store/keys.h"
#include "store/node.h"
#include "store/tree_reader.h"
#include "store/tree_writer.h"

namespace bygone::ingest {

class ExtraTree {
 public:
  // All references must outlive it. `volume_tag` binds the chunks of the tree to it.
  ExtraTree(const store::KeyRing& keys, store::TreeWriter& writer, ChunkJobs& jobs,
            std::uint64_t volume_tag)
      : keys_(keys), writer_(writer), jobs_(jobs), volume_tag_(volume_tag) {}

  // A cutter for a file of about `expected_size` bytes, fed by the caller, ended by add().
  [[nodiscard]] ContentCutter cutter(std::uint64_t expected_size) const {
    return {keys_, jobs_, volume_tag_, expected_size};
  }
  // As cutter(), for the next version of the file `path` below `parent`, the root of the extra tree
  // of the snapshot before. A version that cannot be read is as none.
  [[nodiscard]] ContentCutter next_version(const std::string& path, store::TreeReader& trees,
                                           const std::optional<store::Entry>& parent);
  // Adds the file `path` ("dumps/all.sql"; no name twice) of `size` bytes, fed to `content`.
  // Errors: those of the store.
  Result<void> add(const std::string& path, ContentCutter content, std::uint64_t size,
                   Nanoseconds time);
  Result<void> add(const std::string& path, std::string_view content, Nanoseconds time);

  // The root with all that was added, folders 0700 with `time`; nothing when nothing was.
  Result<std::optional<store::Entry>> finish(Nanoseconds time);

 private:
  // The extents wait for finish(): what is written earlier would refer to a page that others close.
  struct File {
    store::Entry entry;
    std::vector<store::Extent> extents;
  };
  struct Folder {
    std::map<std::string, File> files;
    std::map<std::string, Folder> folders;
  };
  Result<store::Entry> write(Folder& folder, Nanoseconds time);

  const store::KeyRing& keys_;
  store::TreeWriter& writer_;
  ChunkJobs& jobs_;
  std::uint64_t volume_tag_;
  std::shared_ptr<store::DeltaTrials> trials_ = std::make_shared<store::DeltaTrials>(16);
  Folder root_;
};

}  // namespace bygone::ingest
