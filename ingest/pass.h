// SPDX-License-Identifier: Apache-2.0
//
// The passes of a backup over one volume, wherever it is read: read() walks and stores; capture()
// walks under a freeze, keeping what changed since a hot pass, and store_captured() stores it after
// the thaw. look_ahead() does capture()'s work as far as it can be done before the freeze.
// Implementations say which threads they start; the caller is one thread at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/chunk_jobs.h"
#include "ingest/exclude.h"
#include "ingest/fingerprints.h"
#include "ingest/limiter.h"
#include "ingest/pipeline.h"
#include "ingest/sealed_spill.h"
#include "ingest/walk.h"
#include "store/base/clock.h"
#include "store/page_liveness.h"
#include "store/session.h"
#include "store/tree_reader.h"
#include "store/tree_writer.h"

namespace bygone::ingest {

// Of a transfer that ends too early while nobody stands still for it.
inline constexpr int kTransferTries = 3;

// What all passes of a backup share.
struct PassContext {
  store::Session& session;
  store::TreeWriter& writer;
  store::TreeReader& trees;
  ChunkJobs& jobs;
  // (st_dev, inode) of folders that are not entered, with what they are; empty: nobody needs to
  // hear of it.
  const std::map<std::pair<std::uint64_t, std::uint64_t>, std::string>& off_limits;
  const std::atomic<bool>& cancel;
  Clock clock;
  bool rescan = false;
  bool may_lack_chunks = false;  // as in ClaimedSource
  Fingerprints* fingerprints = nullptr;
  SealedSpill* spill = nullptr;
  Limiter* limiter = nullptr;                     // of read()
  const store::PageLiveness* liveness = nullptr;  // read(): what to write anew

  // Progress and outcome, gathered over all passes.
  PipelineCounts counts;
  std::atomic<std::uint64_t> files_seen{0};
  std::atomic<std::uint64_t> bytes_seen{0};
  std::atomic<std::uint64_t> bytes_read{0};
};

// What a pass is told of its volume.
struct PassVolume {
  std::size_t number = 0;  // and
  std::uint64_t tag = 0;   // as in FileReaderOptions
  TreeKind tree = TreeKind::plain;
  Excludes excludes;
  // When its content stood still for good; nothing: it may change still.
  std::optional<Nanoseconds> as_of = std::nullopt;
};

class Pass {
 public:
  virtual ~Pass() = default;

  // Walks and stores. The root entry with its content; the reports are in notes().
  virtual Result<store::Entry> read(const std::optional<store::Entry>& parent) = 0;
  // Makes everything that was written so far durable and visible to capture().
  virtual Result<void> sync() = 0;
  // Keeps what has changed since `hot`, and may change again, so that capture() copies only what
  // changes from here on. The notes are those of read().
  virtual Result<void> look_ahead(const store::Entry& hot) = 0;
  // Walks beside `hot`, what read() returned, and captures what differs. The notes are still those
  // of read() until store_captured().
  virtual Result<void> capture(const store::Entry& hot) = 0;
  // After one of them has failed: whether a transfer ended too early, which another one may not.
  [[nodiscard]] virtual bool has_ended_early() const { return false; }
  virtual Result<store::Entry> store_captured() = 0;

  // Of the last pass.
  [[nodiscard]] virtual const WalkNotes& notes() const = 0;
  // After read(): how long capture() takes at least, as far as that can be known.
  [[nodiscard]] virtual std::chrono::nanoseconds least_capture_time() const {
    return std::chrono::nanoseconds(0);
  }
};

// Sends items that are known already through a pipeline: the root entry with its content. `reader`
// is of the volume. Files that could not be read are added to `unreadable`. Errors: cancelled; of
// any stage.
Result<store::Entry> store_items(PassContext& context, const PassVolume& volume, FileReader& reader,
                                 ReaderPool::Mode mode, std::vector<Item> items,
                                 std::vector<std::pair<std::string, std::string>>& unreadable);

}  // namespace bygone::ingest
