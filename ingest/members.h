// SPDX-License-Identifier: Apache-2.0
//
// The sources that are backed up together, and what is done to several of them at once, as a part
// of backup.h. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ingest/backup.h"
#include "ingest/freeze.h"
#include "ingest/hooks.h"
#include "ingest/lookout.h"
#include "ingest/source_backup.h"
#include "ingest/subvolume_snapshots.h"

namespace bygone::ingest {

struct Member {
  const Source* source = nullptr;
  const BackupOptions* options = nullptr;
  ProgressCallback progress;
  std::unique_ptr<SourceBackup> backup;
  std::optional<HookPair> hooks;
  std::optional<Error> failure;  // of any phase: the member is out of all later ones
  std::optional<BackupReport> report;

  void fail(Error error) {
    if (!failure) failure = std::move(error);
  }
  [[nodiscard]] bool has_left_snapshot() const { return !failure && backup->has_left_snapshot(); }
  void take(Result<void> outcome) {
    if (!outcome) fail(std::move(outcome).error());
  }
  // After the last hook has run.
  void take_hooks() {
    hooks->leave_owed();
    for (const std::string& text : hooks->failed()) {
      backup->note_failed(text);
      if (failure) failure->message += "; " + text;  // there will be no report
    }
    for (const std::string& text : hooks->warnings()) backup->warn(text);
  }
};

// Everything that can write to the members' volumes, each once.
[[nodiscard]] std::vector<Writer> writers_of(const std::vector<Member*>& members);
// The hooks of one of them.
[[nodiscard]] HookPair hooks_of(const Member& member, const std::vector<Member>& all,
                                docker::Engine* engine);
// The post hooks of those that are captured, or never will be.
void run_post_hooks(const std::vector<Member*>& native);
// What is to be captured by a snapshot of the file system does without when there can be none.
void leave_snapshots(const std::vector<Member*>& members, const Error& why);
// Writes the journal of the snapshots that the members want.
void prepare(SubvolumeSnapshots& snapshots, const std::vector<Member*>& members);
// Makes them.
void take(SubvolumeSnapshots& snapshots, const std::vector<Member*>& members);
// Ends the backup modes of those that have not failed; `since` as in SourceBackup::end_native().
void end_natives(const std::vector<Member*>& native, Nanoseconds since);
// Walks and captures all volumes of `members` while their writers stand still, and ends the backup
// modes of `native` meanwhile. When the deadline passes, the writers run again, and the capture
// goes on beside them. `lookout` tells what runs, right after the thaw of who has stood still
// throughout.
Stillness capture_frozen(const std::vector<Member*>& native, const std::vector<Member*>& members,
                         Freezer& freezer, SubvolumeSnapshots& snapshots, Lookout& lookout);

}  // namespace bygone::ingest
