// SPDX-License-Identifier: Apache-2.0
#include "ingest/snapshot_journal.h"

#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/btrfs.h"
#include "ingest/source_tree.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kKind = "snapshot";
constexpr std::string_view kVersion = "2";
constexpr std::string_view kFirst = "1";  // does not tell what is deleted

std::optional<SnapshotRecord::Snapshot> snapshot_of(std::string_view line, bool is_first) {
  SnapshotRecord::Snapshot snapshot;
  for (std::string* to : {&snapshot.file_system, &snapshot.folder, &snapshot.name}) {
    const auto field = take_field(line, ' ');
    auto plain = field ? unescape_field(*field) : std::nullopt;
    if (!plain || plain->empty()) return std::nullopt;
    *to = std::move(*plain);
  }
  if (!is_first) {
    const auto field = take_field(line, ' ');
    const auto number = field ? number_field<std::uint64_t>(*field) : std::nullopt;
    if (!number) return std::nullopt;
    snapshot.deleted_in = *number;
  }
  auto origin = unescape_field(line);
  // The name is one component: nothing outside of the folder is ever deleted.
  const std::string& name = snapshot.name;
  const bool one = name.find('/') == std::string::npos && name != "." && name != "..";
  if (!origin || origin->empty() || !one) return std::nullopt;
  snapshot.origin = std::move(*origin);
  return snapshot;
}

std::optional<SnapshotRecord> body_of(std::string_view text, bool is_first) {
  SnapshotRecord record;
  const auto time = take_line(text, "time");
  const auto nanoseconds = time ? number_field<Nanoseconds>(*time) : std::nullopt;
  if (!nanoseconds) return std::nullopt;
  record.time = *nanoseconds;
  while (const auto line = take_line(text, "snapshot")) {
    auto snapshot = snapshot_of(*line, is_first);
    if (!snapshot) return std::nullopt;
    record.snapshots.push_back(std::move(*snapshot));
  }
  if (!is_end(text, record.snapshots.size())) return std::nullopt;
  return record;
}

std::string path_of(const SnapshotRecord::Snapshot& snapshot) {
  return snapshot.folder + "/" + snapshot.name;
}

// Where a snapshot is looked for, and what stands there.
struct Found {
  Fd folder;             // unopened when there is none
  std::uint64_t id = 0;  // of the subvolume; 0: it is not there
};

Result<Found> find_snapshot(const SnapshotRecord::Snapshot& snapshot) {
  const std::string path = printable(path_of(snapshot));
  auto parent = open_root(parent_folder(snapshot.folder));
  const auto here = parent ? btrfs::file_system_of(*parent) : Result<std::string>(parent.error());
  if (!here || *here != snapshot.file_system) {
    return Error{
        Code::unavailable, 0,
        "deleting the snapshot " + path + ": its file system is not there; hint: mount it"};
  }
  auto folder = open_snapshot_folder(snapshot.folder);
  if (!folder && folder.error().code == Code::not_found) return Found();
  if (!folder) return std::move(folder).error();
  auto found = open_folder(*folder, snapshot.name);
  if (!found && found.error().code == Code::not_found) return Found{std::move(*folder)};
  if (!found) return std::move(found).error().with("deleting the snapshot " + path);
  const Listed listed = TRY(look_at(*found));
  const btrfs::Subvolume subvolume = TRY(btrfs::subvolume_of(*found));
  if (listed.entry.inode != btrfs::kRootInode || !subvolume.is_read_only ||
      subvolume.parent_uuid != snapshot.origin) {
    return Error{Code::denied, 0, path + " is not the snapshot that was made there: it stays"};
  }
  return Found{std::move(*folder), subvolume.id};
}

Result<void> destroy(const Found& found, const SnapshotRecord::Snapshot& snapshot) {
  auto destroyed = btrfs::destroy(found.folder, found.id);
  if (!destroyed) return std::move(destroyed).error().with(printable(path_of(snapshot)));
  return {};
}

enum class Fate { was_there, gone, not_durable };

// Sees to a snapshot that nobody needs.
Result<Fate> settle(const SnapshotRecord::Snapshot& snapshot) {
  auto found = find_snapshot(snapshot);
  // Deleted, and unmounted since: whether it is durable shows when it is mounted again.
  if (!found && found.error().code == Code::unavailable && snapshot.deleted_in != 0) {
    return Fate::not_durable;
  }
  if (!found) return std::move(found).error();
  if (found->id == 0) {
    if (!found->folder.is_open()) return Fate::gone;
    if (snapshot.deleted_in != 0) {
      const bool durable = TRY(btrfs::is_committed(found->folder, snapshot.deleted_in));
      return durable ? Fate::gone : Fate::not_durable;
    }
    TRY(btrfs::commit(found->folder));  // whoever deleted it may have died before this
    return Fate::gone;
  }
  TRY(destroy(*found, snapshot));
  // A journal that is gone while the snapshot comes back after a power cut would leave it for good.
  TRY(btrfs::commit(found->folder));
  return Fate::was_there;
}

// Deletes what the journal names; `deleted` gains the paths of those that were there.
Result<void> delete_by(const std::string& path, std::vector<std::string>& deleted) {
  IntentJournal journal = TRY(IntentJournal::adopt(path));
  if (!journal.is_open()) return {};
  std::optional<Error> failure;
  bool durable = true;
  for (const auto& snapshot : TRY(decode_snapshot_record(TRY(journal.read()))).snapshots) {
    const auto fate = settle(snapshot);
    if (!fate && !failure) failure = fate.error();
    if (fate && *fate == Fate::was_there) deleted.push_back(path_of(snapshot));
    if (fate && *fate == Fate::not_durable) durable = false;
  }
  if (failure) return *failure;
  return durable ? journal.remove() : Result<void>();
}

}  // namespace

std::string encode(const SnapshotRecord& record) {
  std::string text = fmt::format("bygone {} journal {}\ntime {}\n", kKind, kVersion, record.time);
  for (const auto& s : record.snapshots) {
    text += fmt::format("snapshot {} {} {} {} {}\n", escape_field(s.file_system),
                        escape_field(s.folder), escape_field(s.name), s.deleted_in,
                        escape_field(s.origin));
  }
  return text + fmt::format("end {}\n", record.snapshots.size());
}

Result<SnapshotRecord> decode_snapshot_record(std::string_view text) {
  const auto version = TRY(take_version(text, kKind, {kVersion, kFirst}));
  auto record = body_of(text, version == kFirst);
  if (!record) return Error{Code::corrupt, 0, "the journal is damaged"};
  return std::move(*record);
}

std::string snapshot_journals(const std::string& state_folder) {
  return state_folder + "/snapshots";
}

Result<Fd> open_snapshot_folder(const std::string& path) {
  Fd fd = TRY(system_files().open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return os_error(errno, "looking at " + printable(path));
  if (st.st_uid != ::geteuid() || (st.st_mode & 077) != 0) {
    return Error{Code::denied, 0, printable(path) + " is not this user's alone"};
  }
  return fd;
}

Result<void> delete_snapshot(SnapshotRecord::Snapshot& snapshot) {
  const Found found = TRY(find_snapshot(snapshot));
  if (!found.folder.is_open()) return {};
  if (found.id != 0) TRY(destroy(found, snapshot));
  const auto transaction = btrfs::newest_transaction(found.folder);
  if (!transaction) return btrfs::commit(found.folder);
  snapshot.deleted_in = *transaction;
  return {};
}

bool has_dead_snapshots(const std::string& state_folder) {
  return has_dead_journal(snapshot_journals(state_folder));
}

Result<std::vector<std::string>> delete_dead_snapshots(const std::string& state_folder) {
  const std::string folder = snapshot_journals(state_folder);
  TRY(remove_unfinished_journals(folder));
  std::vector<std::string> deleted;
  std::optional<Error> failure;
  for (const std::string& path : TRY(intent_journals(folder))) {
    auto done = delete_by(path, deleted);
    if (done || failure) continue;
    failure = std::move(done).error().with("by snapshot journal " + printable(path));
  }
  if (!failure) return deleted;
  std::string names;
  for (const std::string& path : deleted) names += (names.empty() ? "" : ", ") + printable(path);
  return names.empty() ? *failure : std::move(*failure).with("deleted " + names + ", but");
}

}  // namespace bygone::ingest
