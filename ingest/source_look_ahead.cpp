// SPDX-License-Identifier: Apache-2.0
//
// The part of SourceBackup that makes a freeze short.
#include "ingest/source_backup.h"

namespace bygone::ingest {
namespace {

// What is written during a hot pass that short is copied under the freeze.
constexpr std::chrono::milliseconds kShortPass{200};
constexpr unsigned kLooks = 3;
constexpr std::uint64_t kLittle = 8u << 20;  // bytes that are copied in no time

}  // namespace

Result<void> SourceBackup::look_ahead() {
  // Where little was written since the last backup little is now, and a walk is not for nothing.
  const std::uint64_t read = context_.bytes_read;
  if (is_by_snapshot() || hot_pass_ < kShortPass || read < kLittle) return {};
  TRY(sync());
  std::uint64_t last = UINT64_MAX;
  for (unsigned look = 0; look < kLooks && last > kLittle && !fingerprints_.is_full(); ++look) {
    // The freeze must find as much room as it would have without.
    const auto room = spill_.room();
    if (!room || *room / 2 < read) break;
    const std::uint64_t before = spill_.size();
    for (std::size_t i = 0; i < passes_.size(); ++i) TRY(passes_[i]->look_ahead(roots_[i]));
    if (spill_.has_failed()) {
      warn("what was written meanwhile could not be kept: the freeze takes longer");
      break;
    }
    const std::uint64_t copied = spill_.size() - before;
    if (copied > last / 4 * 3) break;  // it is written to as fast as we read
    last = copied;
  }
  return {};
}

}  // namespace bygone::ingest
