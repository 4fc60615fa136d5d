// SPDX-License-Identifier: Apache-2.0
//
// How a snapshot record moves between `snapshots/` and `trash/`, and how it goes for good, in the
// order that never loses one that somebody still wants (FORMAT.md section 10). What goes is decided
// elsewhere (forget.h, prune). Any thread; each call holds the lock on names.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/base/clock.h"
#include "store/notes.h"
#include "store/repository.h"

namespace bygone::store {

// Makes durable which records stand where: whoever took one away may have died before he synced
// that. Errors: io.
[[nodiscard]] Result<void> sync_records(Repository& repository);

// What a call did; ids that were passed by are in neither list.
struct Moved {
  std::vector<SnapshotId> done;
  // Left where they were: somebody pinned them meanwhile.
  std::vector<SnapshotId> pinned;
};

// Moves records to the trash, each with a note that says when. Those that are pinned or no longer
// in `snapshots/` are passed by. Errors: no_space, io; some may have been moved, none is lost.
Result<Moved> move_to_trash(Repository& repository, const std::vector<SnapshotId>& ids,
                            Nanoseconds now);

// Brings a record back. Errors: not_found when it is not in the trash; those of the file system.
Result<void> restore_from_trash(Repository& repository, const SnapshotId& id);

// Removes records for good, from `snapshots/` and from `trash/`, each after a note that it is gone.
// Those that are pinned are passed by. `lacking_note` gets those whose note could not be written
// on a disk with no byte left: their place in the history will look like a loss.
// Errors: no_space, io; what was not removed is still there.
Result<Moved> remove_for_good(Repository& repository, const std::vector<Snapshot>& snapshots,
                              Nanoseconds now, std::vector<SnapshotId>* lacking_note = nullptr);

// The same for records in the trash alone, pinned or not: one that came back meanwhile is passed
// by. A record that cannot be read goes too. With `keep` also those are passed by that have not
// been there for so long, or are pinned, by what notes say now: what expired_trash() chose a while
// ago may have come back and been forgotten again.
Result<Moved> remove_from_trash(Repository& repository, const std::set<SnapshotId>& ids,
                                Nanoseconds now, std::vector<SnapshotId>* lacking_note = nullptr,
                                std::optional<Nanoseconds> keep = std::nullopt);

inline constexpr Nanoseconds kKeepTrash = Nanoseconds{7} * 86'400 * kSecond;

// The records that have been in the trash for `keep`. None while the clock is doubted
// (retention.h), by the times of the snapshots and of what lies in the trash, or a note cannot be
// read. With Remember::yes a record of which no note says since when it is there gets one that says
// now. Errors: those of the file system.
enum class Remember { yes, no };
[[nodiscard]] Result<std::set<SnapshotId>> expired_trash(Repository& repository, const Clock& clock,
                                                         Nanoseconds keep, Remember remember);

}  // namespace bygone::store
