// SPDX-License-Identifier: Apache-2.0
//
// Makes the dumps of one source, each streamed from its command into the extra tree as
// `dumps/NAME`, without a file in between, cut and deltaed beside the dump before it. A dump that
// failed or was cut off is not there; `dumps/NAME.failed` has the reason instead. One thread.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "ingest/chunk_jobs.h"
#include "ingest/docker/engine.h"
#include "ingest/dump.h"
#include "ingest/extra_tree.h"
#include "ingest/limiter.h"
#include "ingest/source.h"
#include "store/base/clock.h"
#include "store/repository.h"
#include "store/tree_reader.h"

namespace bygone::ingest {

struct DumpContext {
  docker::Engine* engine = nullptr;  // may be null for a source that is no container
  const Source& source;
  const DumpWish& wish;
  ExtraTree& extra;
  ChunkJobs& jobs;
  store::TreeReader& trees;
  std::optional<store::Entry> parent;  // extra root of the last snapshot with dumps
  Clock clock;
  Limiter* limiter = nullptr;  // of what the commands send
  const std::atomic<bool>& cancel;
};

// Each line for people.
struct DumpReport {
  std::vector<std::string> failed;
  std::vector<std::string> warnings;
  std::vector<std::string> lasting;  // as in BackupReport
  std::vector<std::string> skipped;
};

// The extra root of the newest snapshot of `source` that has dumps, which may be wanted more rarely
// than snapshots are; `parent` is the newest of all. Errors: those of Repository::snapshots().
Result<std::optional<store::Entry>> newest_dumps(store::Repository& repository,
                                                 store::TreeReader& trees, const SourceId& source,
                                                 const std::optional<store::Snapshot>& parent);

// Errors: cancelled; those of the store. What goes wrong with a dump is in the report.
Result<DumpReport> make_dumps(const DumpContext& context);

}  // namespace bygone::ingest
