// SPDX-License-Identifier: Apache-2.0
//
// What the daemon knows of each source, as a value and as a file in the state folder: written whole
// or not at all, so that `bygone status` reads it beside a running daemon, or without one. Knows
// when a source is overdue. No secret is in it. The functions may be called from any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/base/clock.h"
#include "store/base/files.h"
#include "store/base/result.h"
#include "store/snapshot.h"

namespace bygone::ingest {

struct SourceState {
  store::SourceKind kind = store::SourceKind::folder;
  std::string host_id;
  std::string name;
  std::string schedule;  // as it was written, and the zone it is read in; empty: none
  std::string zone = "UTC";
  std::string group;
  Nanoseconds jitter = 0;      // bound
  Nanoseconds first_seen = 0;  // by a daemon, with a schedule
  Nanoseconds gone_since = 0;  // 0: it is there
  Nanoseconds next_run = 0;    // 0: none planned, or running
  bool running = false;        // backed up right now
  Nanoseconds last_begun = 0;  // of the last attempt; 0: none
  std::string last_error;      // of the last attempt; empty: it was good
  std::uint64_t failures = 0;  // in a row
  // The last good snapshot, whoever made it; all zero: none.
  Nanoseconds good_begun = 0;
  Nanoseconds good_instant = 0;
  std::string snapshot_id;  // hex
  std::string listed_name;
  std::string consistency;
  Nanoseconds window = 0;
  std::uint64_t bytes = 0;
  std::uint64_t added_bytes = 0;
  bool partial = false;  // some files could not be read
  // It was to be of one moment, and is of none; known of what the daemon made.
  bool live = false;
};

struct Ledger {
  std::string repository;    // path
  std::string engine_error;  // why Docker cannot be reached at present; empty: it can
  Nanoseconds written = 0;
  Nanoseconds last_forget = 0;  // 0: never
  Nanoseconds last_prune = 0;
  std::vector<SourceState> sources;  // sorted by key
};

// What tells a source from all others: "container/HOST ID/NAME". Also the planner's key.
[[nodiscard]] std::string source_key(store::SourceKind kind, const std::string& host_id,
                                     const std::string& name);
// As on the command line: "db", "volume:uploads".
[[nodiscard]] std::string spelled(const SourceState& source);

// Takes what a snapshot of it tells for the last good one, unless that is newer already.
void note_good(SourceState& source, const store::Snapshot& snapshot);

// The repository has no snapshot of it: it is as if it were seen for the first time.
void forget_good(SourceState& source, Nanoseconds now);

// Takes times of which the clock has said before that they are, and which it has yet to come to,
// for now: it was wrong then, and who believes it finds nothing overdue until it comes to them
// again.
void leave_future(SourceState& source, Nanoseconds now);

// Since when a source is overdue, be it in the future: its second run by schedule after the last
// good snapshot (or after it was first seen) is past, and it is two intervals old, plus the jitter;
// at least ten minutes. Nothing without a schedule, or when it is gone.
[[nodiscard]] std::optional<Nanoseconds> overdue_at(const SourceState& source);
[[nodiscard]] inline bool is_overdue(const SourceState& source, Nanoseconds now) {
  const auto since = overdue_at(source);
  return since && now > *since;
}

// JSON; texts are made printable().
[[nodiscard]] std::string encode_ledger(const Ledger& ledger);
// Errors: corrupt for what is no ledger; unsupported for one of a later version.
[[nodiscard]] Result<Ledger> decode_ledger(std::string_view text);

// `state_folder`/daemon/ledger.json. Writing makes the folders. Errors of reading: not_found when
// no daemon ever ran with this state folder; those of decode_ledger(); io, denied.
[[nodiscard]] Result<void> write_ledger(const std::string& state_folder, const Ledger& ledger);
[[nodiscard]] Result<Ledger> read_ledger(const std::string& state_folder);

// One daemon a state folder: held as long as the file is open. Errors: busy, naming the other
// one's process id; denied, io.
[[nodiscard]] Result<Fd> lock_daemon(const std::string& state_folder);
// Whether a daemon holds that lock now.
[[nodiscard]] bool is_daemon_running(const std::string& state_folder);

}  // namespace bygone::ingest
