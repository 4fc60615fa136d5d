// SPDX-License-Identifier: Apache-2.0
//
// One run of backups over all that a person asked for: finds folders and containers, says what is
// wrong with labels, saves each source or group, and says how it went. One thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/options.h"
#include "ingest/backup.h"
#include "ingest/config.h"
#include "store/base/clock.h"

namespace bygone::cli {

struct BackupRequest {
  std::vector<std::string> sources;
  bool all = false;
  std::vector<std::pair<std::string, std::string>> folders;  // name and path
  std::string host;                                          // id to count as; empty: this one's
  // What wins over the policy of each source; nothing: not said.
  std::optional<ingest::Wish> wish;
  std::optional<std::chrono::milliseconds> max_freeze;
  std::optional<ingest::DumpWish::Kind> dump;
  ingest::ReadLimit limit_read;
  Nanoseconds retry_lock = 0;     // how long another backup of a source is waited for
  ingest::BackupOptions options;  // what is the same for all sources
};

// Returns the gravest exit code of all sources.
Exit run_backups(Context& context, store::Repository& repository, const ingest::Config& config,
                 const BackupRequest& request);

}  // namespace bygone::cli
