// SPDX-License-Identifier: Apache-2.0
//
// What the daemon says about a backup, for its log and its ledger. Pure but for the log; any
// thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/backup.h"
#include "ingest/daemon/ledger.h"
#include "ingest/daemon/notify.h"

namespace bygone::ingest {

// A line for the snapshot, and one for each warning, name that could not be read, and failure. Of
// the lasting warnings not those in `said`.
void log_report(const std::string& source, const BackupReport& report, Nanoseconds took,
                const std::vector<std::string>& said = {});
// Takes up the outcome of a backup that made a snapshot.
void note_report(SourceState& state, Nanoseconds begun, const BackupReport& report);
// Why a snapshot that was made counts as failed all the same: a hook or a dump. Empty: it does not.
[[nodiscard]] std::string failure_text(const BackupReport& report);
// What others are told of a snapshot that was made: a failure when it counts as failed, partial
// when it lacks something. Without host and time.
[[nodiscard]] Notice notice_of(const std::string& source, const BackupReport& report);
// "the last good snapshot is of 2024-03-16T05:57", with the last error.
[[nodiscard]] std::string overdue_text(const SourceState& state);

}  // namespace bygone::ingest
