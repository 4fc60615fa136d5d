// SPDX-License-Identifier: Apache-2.0
#include "store/note_verified.h"

#include <algorithm>
#include <span>

#include "store/locks.h"
#include "store/snapshot_notes.h"

namespace bygone::store {
namespace {

Result<void> note_batch(Repository& repository, NoteReader& reader,
                        std::span<const SnapshotId> batch, Nanoseconds now) {
  reader.read_ahead();
  const Fd lock = TRY(lock_names(repository.files(), repository.path(), Lock::exclusive));
  Notes notes = TRY(reader.read());
  std::vector<NewNote> list;
  for (const SnapshotId& id : batch) {
    // On one that went meanwhile nobody would take the note away again.
    if (TRY(repository.has_record(id))) list.push_back(verified_note(id, now));
  }
  TRY(write_notes(repository, notes, list, now));
  TRY(remove_superseded(repository, notes));
  return {};
}

}  // namespace

Result<void> note_verified(Repository& repository, const std::vector<SnapshotId>& snapshots,
                           Nanoseconds now) {
  // Each note is synced, and the lock is held for moments.
  constexpr std::size_t kNotedAtOnce = 64;
  NoteReader reader(repository);
  for (std::span<const SnapshotId> left(snapshots); !left.empty();) {
    const auto batch = left.first(std::min(kNotedAtOnce, left.size()));
    TRY(note_batch(repository, reader, batch, now));
    left = left.subspan(batch.size());
  }
  return {};
}

}  // namespace bygone::store
