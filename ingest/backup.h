// SPDX-License-Identifier: Apache-2.0
//
// Backs up one source into one snapshot, or a group of sources at one instant: settle (freeze),
// walk, keep what is unchanged, read, chunk, store, commit. Knows Docker only through Engine, which
// pauses writers. One call at a time per Session.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/dump.h"
#include "ingest/hook.h"
#include "ingest/limiter.h"
#include "ingest/source.h"
#include "ingest/spare_processor.h"
#include "store/base/clock.h"
#include "store/session.h"

namespace bygone::ingest {

// How consistent a source's owner wants its snapshots. All but automatic and live insist: what
// cannot be had fails the source.
enum class Wish {
  automatic,  // the best that can be had, be it live; nothing is needed when nothing can write
  native,     // the application's own backup mode
  snapshot,   // a snapshot by the file system
  freeze,     // everything that can write stands still for a moment
  stop,       // everything that can write is stopped, and started again
  live,       // never touch anything that runs
};

// Of one source; several sources of a group may have different ones.
struct BackupOptions {
  std::vector<std::string> tags;
  std::vector<std::string> exclude;  // patterns as in .gitignore, relative to each volume's root
  Wish wish = Wish::automatic;
  // Hard limit of the time in which writers stand still; in a group the shortest counts.
  std::chrono::milliseconds max_freeze{10'000};
  bool rescan = false;  // read every file again, believe no times
  store::Compression compression = store::Compression::standard;
  std::string zone = "UTC";  // for the listed name
  Clock clock = system_now;
  std::string state_folder;  // where the intent journal is kept; see default_state_folder()
  // Folders of the host that are never captured, each with what it is ("the repository").
  std::vector<std::pair<std::string, std::string>> off_limits;
  // Paces the reads outside the freeze; shared by all backups of a process. nullptr: off.
  Limiter* limiter = nullptr;
  // Leaves a processor to others, whatever the limit; one for a process. nullptr: all are used.
  SpareProcessor* spare_processor = nullptr;
  // Commands in the source's container: before the freeze, and after the thaw whenever the first
  // one was to run.
  std::optional<Hook> pre, post;
  DumpWish dump{.kind = DumpWish::Kind::none};
};

struct BackupProgress {
  std::uint64_t files_done = 0;
  std::uint64_t bytes_done = 0;  // of regular files, unchanged ones included
  std::uint64_t files_seen = 0;  // listed so far: the total, once `walk_finished`
  std::uint64_t bytes_seen = 0;
  bool walk_finished = false;
  std::string phase;  // "reading", "frozen", "storing"
};
// Called from a thread of the backup, a few times a second at most.
using ProgressCallback = std::function<void(const BackupProgress&)>;

struct Unreadable {
  std::string path;    // volume name, then the path in it; raw bytes
  std::string reason;  // for people
};

struct BackupReport {
  store::Snapshot snapshot;            // as committed
  std::vector<Unreadable> unreadable;  // exit code 3 when there are any
  std::vector<std::string> skipped;    // not captured on purpose, each with its reason
  std::vector<std::string> warnings;   // "db: frozen longer than 10 s, captured live"
  std::vector<std::string> lasting;    // those of every run, until somebody changes something
  std::string live_because;            // why it is of no one moment, though it was to be
  std::vector<std::string> failed;     // hooks and dumps, each with its reason; exit code 22
  std::uint64_t new_files = 0;         // not in the parent
  std::uint64_t changed_files = 0;     // content read again and different in times or bytes
  std::uint64_t unmodified_files = 0;  // kept without being opened
  std::uint64_t bytes_read = 0;
};

// Effect: a new committed snapshot of `source`, or none at all. `engine` is needed only when the
// source has writers, or volumes that are read through it. Errors: busy when another backup of the
// source runs; cancelled when `cancel` became true (writers are resumed, nothing is committed);
// unavailable when the engine is gone; what failed otherwise. An error of `source` itself is
// returned as it is.
Result<BackupReport> backup(store::Session& session, const Source& source, docker::Engine* engine,
                            const BackupOptions& options, const ProgressCallback& progress,
                            const std::atomic<bool>& cancel);

struct GroupMember {
  Source source;
  BackupOptions options;
};
// The number of the member, and how far it is.
using GroupProgress = std::function<void(std::size_t member, const BackupProgress&)>;

// Effect: one snapshot of each member, all of the same instant: the writers of all are frozen at
// once, each container once, after all hot passes. Each record names the group `name` (not empty),
// a run id of its own and all members. A member that fails has no snapshot and leaves the others
// theirs; the group's instant is incomplete then, and the reports of the others say so. But when
// another backup is at one of them, all fail with busy, and the group may be tried again. All
// members use the state folder and the clock of the first. The outcomes are in the order of
// `members`; errors as those of backup(). Names of the members are unique.
std::vector<Result<BackupReport>> backup_group(store::Session& session,
                                               const std::vector<GroupMember>& members,
                                               const std::string& name, docker::Engine* engine,
                                               const GroupProgress& progress,
                                               const std::atomic<bool>& cancel);

// BYGONE_STATE_DIR, else /var/lib/bygone for root, else ~/.local/state/bygone.
[[nodiscard]] std::string default_state_folder();

}  // namespace bygone::ingest
