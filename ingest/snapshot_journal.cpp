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
constexpr std::string_view kVersion = "1";

std::optional<SnapshotRecord::Snapshot> snapshot_of(std::string_view line) {
  std::vector<std::string> fields;
  for (int i = 0; i < 3; ++i) {
    const auto field = take_field(line, ' ');
    auto plain = field ? unescape_field(*field) : std::nullopt;
    if (!plain || plain->empty()) return std::nullopt;
    fields.push_back(std::move(*plain));
  }
  auto origin = unescape_field(line);
  // The name is one component: nothing outside of the folder is ever deleted.
  const bool one =
      fields[2].find('/') == std::string::npos && fields[2] != "." && fields[2] != "..";
  if (!origin || origin->empty() || !one) return std::nullopt;
  return SnapshotRecord::Snapshot{std::move(fields[0]), std::move(fields[1]), std::move(fields[2]),
                                  std::move(*origin)};
}

std::optional<SnapshotRecord> body_of(std::string_view text) {
  SnapshotRecord record;
  const auto time = take_line(text, "time");
  const auto nanoseconds = time ? number_field<Nanoseconds>(*time) : std::nullopt;
  if (!nanoseconds) return std::nullopt;
  record.time = *nanoseconds;
  while (const auto line = take_line(text, "snapshot")) {
    auto snapshot = snapshot_of(*line);
    if (!snapshot) return std::nullopt;
    record.snapshots.push_back(std::move(*snapshot));
  }
  if (!is_end(text, record.snapshots.size())) return std::nullopt;
  return record;
}

std::string path_of(const SnapshotRecord::Snapshot& snapshot) {
  return snapshot.folder + "/" + snapshot.name;
}

// Deletes what the journal names; `deleted` gains the paths of those that were there.
Result<void> delete_by(const std::string& path, std::vector<std::string>& deleted) {
  IntentJournal journal = TRY(IntentJournal::adopt(path));
  if (!journal.is_open()) return {};
  std::optional<Error> failure;
  for (const auto& snapshot : TRY(decode_snapshot_record(TRY(journal.read()))).snapshots) {
    auto done = delete_snapshot(snapshot);
    if (done && *done) deleted.push_back(path_of(snapshot));
    if (!done && !failure) failure = std::move(done).error();
  }
  if (failure) return *failure;
  return journal.remove();
}

}  // namespace

std::string encode(const SnapshotRecord& record) {
  std::string text = fmt::format("bygone {} journal {}\ntime {}\n", kKind, kVersion, record.time);
  for (const auto& s : record.snapshots) {
    text += fmt::format("snapshot {} {} {} {}\n", escape_field(s.file_system),
                        escape_field(s.folder), escape_field(s.name), escape_field(s.origin));
  }
  return text + fmt::format("end {}\n", record.snapshots.size());
}

Result<SnapshotRecord> decode_snapshot_record(std::string_view text) {
  TRY(take_version(text, kKind, {kVersion}));
  auto record = body_of(text);
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

Result<bool> delete_snapshot(const SnapshotRecord::Snapshot& snapshot) {
  const std::string path = printable(path_of(snapshot));
  auto parent = open_root(parent_folder(snapshot.folder));
  const auto here = parent ? btrfs::file_system_of(*parent) : Result<std::string>(parent.error());
  if (!here || *here != snapshot.file_system) {
    return Error{
        Code::unavailable, 0,
        "deleting the snapshot " + path + ": its file system is not there; hint: mount it"};
  }
  auto folder = open_snapshot_folder(snapshot.folder);
  if (!folder && folder.error().code == Code::not_found) return false;
  if (!folder) return std::move(folder).error();
  auto found = open_folder(*folder, snapshot.name);
  if (!found && found.error().code == Code::not_found) {
    TRY(btrfs::commit(*folder));  // whoever deleted it may have died before this
    return false;
  }
  if (!found) return std::move(found).error().with("deleting the snapshot " + path);
  const Listed listed = TRY(look_at(*found));
  const btrfs::Subvolume subvolume = TRY(btrfs::subvolume_of(*found));
  if (listed.entry.inode != btrfs::kRootInode || !subvolume.is_read_only ||
      subvolume.parent_uuid != snapshot.origin) {
    return Error{Code::denied, 0, path + " is not the snapshot that was made there: it stays"};
  }
  found->reset();
  auto destroyed = btrfs::destroy(*folder, subvolume.id);
  if (!destroyed) return std::move(destroyed).error().with(path);
  // A journal that is gone while the snapshot comes back after a power cut would leave it for good.
  TRY(btrfs::commit(*folder));
  return true;
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
