// SPDX-License-Identifier: Apache-2.0
#include "store/trash.h"

#include <algorithm>
#include <span>

#include "store/base/log.h"
#include "store/locks.h"
#include "store/reserve.h"
#include "store/retention.h"
#include "store/snapshot_notes.h"

namespace bygone::store {
namespace {

enum class From { anywhere, trash };

// Records that go under one hold of the lock: it is held for moments.
constexpr std::size_t kBatch = 256;

std::string live_folder(const Repository& repository) { return repository.path() + "/snapshots"; }
std::string trash_folder(const Repository& repository) { return repository.path() + "/trash"; }

Result<bool> exists(Files& files, const std::string& path) {
  auto info = files.info(path);
  if (info) return true;
  if (info.error().code == Code::not_found) return false;
  return std::move(info).error();
}

// True when it was there.
Result<bool> remove_file(Files& files, const std::string& path) {
  auto removed = files.remove(path);
  if (removed) return true;
  if (removed.error().code == Code::not_found) return false;
  return std::move(removed).error();
}

// The new name is durable before the old one is gone for good: in between the record has both.
Result<void> move_records(Files& files, const std::string& from, const std::string& to,
                          const std::vector<SnapshotId>& ids) {
  if (ids.empty()) return {};
  for (const SnapshotId& id : ids) {
    TRY(files.rename(from + "/" + id.hex(), to + "/" + id.hex()));
  }
  TRY(files.sync_directory(to));
  // Where the power went between the two syncs, both names are of one file: of these rename(2)
  // takes none away.
  for (const SnapshotId& id : ids) TRY(remove_file(files, from + "/" + id.hex()));
  return files.sync_directory(from);
}

Result<void> trash_batch(Repository& repository, NoteReader& reader,
                         std::span<const SnapshotId> ids, Nanoseconds now, Moved& moved) {
  const Fd lock = TRY(lock_names(repository.files(), repository.path(), Lock::exclusive));
  Notes notes = TRY(reader.read());
  std::vector<SnapshotId> going, moved_before, pinned;
  std::vector<NewNote> said;
  for (const SnapshotId& id : ids) {
    const std::string name = "/" + id.hex();
    if (TRY(exists(repository.files(), live_folder(repository) + name))) {
      (is_pinned(notes, id) ? pinned : going).push_back(id);
      if (!is_pinned(notes, id)) said.push_back(trashed_note(id, now));
    } else if (TRY(exists(repository.files(), trash_folder(repository) + name))) {
      moved_before.push_back(id);  // by a first attempt on a full disk
    }
  }
  TRY(write_notes(repository, notes, said, now));
  TRY(move_records(repository.files(), live_folder(repository), trash_folder(repository), going));
  for (const auto* list : {&moved_before, &going}) {
    moved.done.insert(moved.done.end(), list->begin(), list->end());
  }
  moved.pinned.insert(moved.pinned.end(), pinned.begin(), pinned.end());
  return {};
}

Result<void> unlink_records(Repository& repository, From from, const std::vector<SnapshotId>& ids) {
  if (ids.empty()) return {};
  for (const std::string& folder : {live_folder(repository), trash_folder(repository)}) {
    bool any = false;
    if (from == From::trash && folder != trash_folder(repository)) continue;
    for (const SnapshotId& id : ids) {
      const bool removed = TRY(remove_file(repository.files(), folder + "/" + id.hex()));
      any = any || removed;
    }
    if (any) TRY(repository.files().sync_directory(folder));
  }
  return {};
}

// Not even the reserve gave room for the notes. What stands in the way of freeing space would be
// worse than a gap that looks like a loss: the records go first, and their blocks hold the notes.
Result<void> remove_without_room(Repository& repository, Notes& notes, From from,
                                 const std::vector<SnapshotId>& going,
                                 const std::vector<NewNote>& said, Nanoseconds now,
                                 std::vector<SnapshotId>* lacking_note) {
  TRY(unlink_records(repository, from, going));
  auto written = write_notes(repository, notes, said, now);
  if (!written && lacking_note != nullptr) {
    lacking_note->insert(lacking_note->end(), going.begin(), going.end());
  }
  return {};
}

// Whether a record has been in the trash for `keep`, and nobody wants it for ever.
bool is_over(const Notes& notes, const SnapshotId& id, Nanoseconds now, Nanoseconds keep) {
  const auto since = trashed_at(notes, id);
  return since && *since <= now && now - *since >= keep && !is_pinned(notes, id);
}

// `keep`: for records of the trash that are to go because they have been there for so long.
Result<void> remove_batch(Repository& repository, NoteReader& reader,
                          std::span<const Snapshot> snapshots, From from,
                          std::optional<Nanoseconds> keep, Nanoseconds now, Moved& moved,
                          std::vector<SnapshotId>* lacking_note) {
  Files& files = repository.files();
  const Fd lock = TRY(lock_names(files, repository.path(), Lock::exclusive));
  Notes notes = TRY(reader.read());
  std::vector<SnapshotId> going;
  std::vector<NewNote> said;
  for (const Snapshot& snapshot : snapshots) {
    if (from == From::anywhere && is_pinned(notes, snapshot.id)) {
      moved.pinned.push_back(snapshot.id);
      continue;
    }
    if (from == From::trash &&
        TRY(exists(files, live_folder(repository) + "/" + snapshot.id.hex()))) {
      continue;
    }
    // Somebody may have brought it back and forgotten it again since it was chosen.
    if (keep && !(notes.unreadable().empty() && is_over(notes, snapshot.id, now, *keep))) continue;
    going.push_back(snapshot.id);
    said.push_back(gone_note(snapshot));
  }
  auto written = with_reserve(files, repository.path(),
                              [&] { return write_notes(repository, notes, said, now); });
  if (written) {
    TRY(unlink_records(repository, from, going));
  } else if (written.error().code == Code::no_space) {
    TRY(remove_without_room(repository, notes, from, going, said, now, lacking_note));
  } else {
    return written;
  }
  moved.done.insert(moved.done.end(), going.begin(), going.end());
  return {};
}

}  // namespace

Result<void> sync_records(Repository& repository) {
  for (const std::string& folder : {live_folder(repository), trash_folder(repository)}) {
    TRY(repository.files().sync_directory(folder));
  }
  return {};
}

Result<Moved> move_to_trash(Repository& repository, const std::vector<SnapshotId>& ids,
                            Nanoseconds now) {
  Moved moved;
  const std::span<const SnapshotId> all(ids);
  NoteReader reader(repository);
  reader.read_ahead();
  for (std::size_t at = 0; at < all.size(); at += kBatch) {
    const auto batch = all.subspan(at, std::min(kBatch, all.size() - at));
    // A batch that fails before it moves anything may begin again.
    TRY(with_reserve(repository.files(), repository.path(),
                     [&] { return trash_batch(repository, reader, batch, now, moved); }));
  }
  return moved;
}

Result<void> restore_from_trash(Repository& repository, const SnapshotId& id) {
  Files& files = repository.files();
  return with_reserve(files, repository.path(), [&]() -> Result<void> {
    const Fd lock = TRY(lock_names(files, repository.path(), Lock::exclusive));
    if (!TRY(exists(files, trash_folder(repository) + "/" + id.hex()))) {
      return Error{Code::not_found, 0, "snapshot " + id.hex() + " is not in the trash"};
    }
    return move_records(files, trash_folder(repository), live_folder(repository), {id});
  });
}

namespace {

Result<Moved> remove_all(Repository& repository, const std::vector<Snapshot>& snapshots, From from,
                         std::optional<Nanoseconds> keep, Nanoseconds now,
                         std::vector<SnapshotId>* lacking_note) {
  Moved moved;
  const std::span<const Snapshot> all(snapshots);
  NoteReader reader(repository);
  reader.read_ahead();
  for (std::size_t at = 0; at < all.size(); at += kBatch) {
    const auto batch = all.subspan(at, std::min(kBatch, all.size() - at));
    TRY(remove_batch(repository, reader, batch, from, keep, now, moved, lacking_note));
  }
  return moved;
}

}  // namespace

Result<Moved> remove_for_good(Repository& repository, const std::vector<Snapshot>& snapshots,
                              Nanoseconds now, std::vector<SnapshotId>* lacking_note) {
  return remove_all(repository, snapshots, From::anywhere, std::nullopt, now, lacking_note);
}

Result<Moved> remove_from_trash(Repository& repository, const std::set<SnapshotId>& ids,
                                Nanoseconds now, std::vector<SnapshotId>* lacking_note,
                                std::optional<Nanoseconds> keep) {
  std::vector<Snapshot> list;
  for (const SnapshotId& id : ids) {
    auto snapshot = repository.trashed_snapshot(id);
    if (!snapshot && snapshot.error().code == Code::not_found) continue;
    if (!snapshot && needs_newer_key(snapshot.error())) return std::move(snapshot).error();
    // Of a damaged record the note knows the id alone; that is what its successor names.
    list.push_back(snapshot ? std::move(snapshot).value() : Snapshot());
    list.back().id = id;
  }
  return remove_all(repository, list, From::trash, keep, now, lacking_note);
}

Result<std::set<SnapshotId>> expired_trash(Repository& repository, const Clock& clock,
                                           Nanoseconds keep, Remember remember) {
  std::set<SnapshotId> expired;
  NoteReader reader(repository);
  reader.read_ahead();
  const Lock kind = remember == Remember::yes ? Lock::exclusive : Lock::shared;
  const Fd lock = TRY(lock_names(repository.files(), repository.path(), kind));
  const auto ids = TRY(repository.trashed_ids());
  if (ids.empty()) return expired;
  Notes notes = TRY(reader.read());
  if (notes.locked()) return *notes.locked();
  if (!notes.unreadable().empty()) return expired;
  std::vector<Nanoseconds> instants;
  std::vector<std::string> damaged;
  for (const Snapshot& each : TRY(repository.snapshots(&damaged))) instants.push_back(each.instant);
  // After all was read, or a snapshot that was committed meanwhile would be of tomorrow.
  const Nanoseconds now = clock();
  std::vector<NewNote> unknown;
  for (const SnapshotId& id : ids) {
    const auto since = trashed_at(notes, id);
    if (!since) unknown.push_back(trashed_note(id, now));
    // When every snapshot was forgotten, these alone tell that the clock leapt.
    if (since) instants.push_back(*since);
    if (is_over(notes, id, now, keep)) expired.insert(id);
  }
  if (remember == Remember::yes) TRY(write_notes(repository, notes, unknown, now));
  const std::string doubt = doubt_about_clock(instants, now);
  if (doubt.empty()) return expired;
  if (!expired.empty()) log::warning("the trash keeps what it has: " + doubt);
  return std::set<SnapshotId>();
}

}  // namespace bygone::store
