// SPDX-License-Identifier: Apache-2.0
//
// What notes say about snapshots: the keys of FORMAT.md section 8.5 and their values. It reads
// and makes notes and stores none: notes.h does. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/notes.h"
#include "store/snapshot.h"

namespace bygone::store {

// The tags of `snapshot` as they are now: those of its birth, and what was added and removed since.
// Sorted.
[[nodiscard]] std::vector<std::string> tags_of(const Notes& notes, const Snapshot& snapshot);
// A note that adds or removes a tag; nothing when that is how it is already.
enum class Tagging { add, remove };
[[nodiscard]] std::optional<NewNote> tag_note(const Notes& notes, const Snapshot& snapshot,
                                              Tagging tagging, const std::string& tag);

[[nodiscard]] bool is_pinned(const Notes& notes, const SnapshotId& id);
enum class Pinning { pin, unpin };
[[nodiscard]] std::optional<NewNote> pin_note(const Notes& notes, const SnapshotId& id,
                                              Pinning pinning);

// When every byte that the snapshot reaches was last read and found whole; nothing when never.
[[nodiscard]] std::optional<Nanoseconds> verified_at(const Notes& notes, const SnapshotId& id);
[[nodiscard]] NewNote verified_note(const SnapshotId& id, Nanoseconds now);

// That a snapshot is much smaller than the one before it is meant.
[[nodiscard]] bool shrink_is_meant(const Notes& notes, const SnapshotId& id);
[[nodiscard]] NewNote shrink_note(const SnapshotId& id);

// When the record was moved to the trash for the last time; nothing when no note tells.
[[nodiscard]] std::optional<Nanoseconds> trashed_at(const Notes& notes, const SnapshotId& id);
[[nodiscard]] NewNote trashed_note(const SnapshotId& id, Nanoseconds now);

// Whether a note about a snapshot with this key says nothing any more once the record has gone.
[[nodiscard]] bool ends_with_record(std::string_view key);

// That the record was removed on purpose, and where in which history it stood. Of what was folded
// gone_records.h tells.
inline constexpr std::string_view kGoneKey = "gone";
struct Gone {
  SourceId source;
  std::uint64_t sequence = 0;
};
[[nodiscard]] std::optional<Gone> gone(const Notes& notes, const SnapshotId& id);
[[nodiscard]] NewNote gone_note(const Snapshot& snapshot);

}  // namespace bygone::store
