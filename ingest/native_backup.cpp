// SPDX-License-Identifier: Apache-2.0
#include "ingest/native_backup.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include <fmt/core.h>

#include "ingest/source_tree.h"
#include "store/base/log.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;
using store::FileType;

constexpr std::size_t kControlFile = 8192;

Error cannot(const std::string& why) { return {Code::unsupported, 0, "PostgreSQL: " + why}; }

// Servers that run in a container, by their command lines. The processes of one server call
// themselves "postgres: something".
std::size_t count_servers(const std::vector<std::string>& commands) {
  return static_cast<std::size_t>(
      std::count_if(commands.begin(), commands.end(), [](const std::string& command) {
        const std::string program = command.substr(0, command.find(' '));
        const std::string name = split_last(program).second;
        return name == "postgres" || name == "postmaster";
      }));
}

// A process that has just been forked has its parent's command line for a moment: what is seen once
// only is none.
Result<std::size_t> count_servers(docker::Engine& engine, const std::string& container) {
  constexpr int kLooks = 5;
  std::size_t count = count_servers(TRY(engine.top(container)));
  for (int look = 1; look < kLooks && count > 1; ++look) {
    std::this_thread::sleep_for(milliseconds(50));
    count = std::min(count, count_servers(TRY(engine.top(container))));
  }
  return count;
}

// The content of a small file; what `path` names is opened like everything of a source.
Result<Bytes> read_small_file(const Fd& root, const std::string& path, std::size_t most) {
  const auto [folder, name] = split_last(path);
  const Fd fd = TRY(open_file(TRY(open_folder(root, folder)), name));
  Bytes content(most);
  const std::size_t n = TRY(system_files().read_at(fd, content, 0));
  content.resize(n);
  return content;
}

// Twice the same: a read that meets a write may see half of it.
Result<Bytes> read_control(const Fd& root, const std::string& path) {
  constexpr int kTries = 20;
  Bytes before = TRY(read_small_file(root, path, kControlFile));
  for (int i = 0; i < kTries; ++i) {
    std::this_thread::sleep_for(milliseconds(5));
    Bytes now = TRY(read_small_file(root, path, kControlFile));
    if (now == before && now.size() == kControlFile) return now;
    before = std::move(now);
  }
  return Error{Code::io, 0, "PostgreSQL: global/pg_control does not hold still"};
}

std::optional<store::Entry> look_for(const Fd& root, const std::string& path) {
  const auto [folder, name] = split_last(path);
  auto fd = open_folder(root, folder);
  if (!fd) return std::nullopt;
  auto listing = list_folder(*fd);
  if (!listing) return std::nullopt;
  for (Listed& listed : listing->entries) {
    if (listed.entry.name == name) return std::move(listed.entry);
  }
  return std::nullopt;
}

// Where a symbolic link at `path` in the container leads, "." and ".." apart.
std::string follow(const std::string& path, const std::string& target) {
  return target.starts_with('/') ? target : split_last(path).first + "/" + target;
}

}  // namespace

std::optional<VolumePath> locate(const Source& source, const std::string& path) {
  std::optional<VolumePath> found;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < source.volumes.size(); ++i) {
    const std::string& at = source.volumes[i].destination;
    const bool inside = path == at || at == "/" ||
                        (path.size() > at.size() && path.starts_with(at) && path[at.size()] == '/');
    if (at.empty() || !inside || (found && at.size() <= longest)) continue;
    longest = at.size();
    std::string below = path.substr(at == "/" ? 0 : at.size());
    below.erase(0, below.find_first_not_of('/'));
    found = VolumePath{i, below};
  }
  return found;
}

bool NativeBackup::is_for(docker::Engine& engine, const Source& source) {
  return std::any_of(source.writers.begin(), source.writers.end(), [&](const Writer& writer) {
    const auto count = count_servers(engine, writer.id);
    return count && *count > 0;
  });
}

Result<std::unique_ptr<NativeBackup>> NativeBackup::begin(docker::Engine& engine,
                                                          const Source& source,
                                                          std::vector<const Fd*> roots,
                                                          const std::atomic<bool>& cancel) {
  std::unique_ptr<NativeBackup> none;
  std::size_t servers = 0;
  const Writer* server = nullptr;
  for (const Writer& writer : source.writers) {
    if (writer.paused) continue;
    const auto count = count_servers(engine, writer.id);
    if (!count) {  // it has just ended, or the engine cannot tell: other classes need no list
      log::info(count.error().message);
      continue;
    }
    servers += *count;
    if (*count > 0) server = &writer;
  }
  if (server == nullptr) return none;
  const auto shown = [](const Writer& writer) { return printable(writer.name); };
  if (servers > 1) return cannot("several servers run on these volumes");
  for (const auto* writers : {&source.writers, &source.restarting}) {
    for (const Writer& writer : *writers) {
      if (&writer == server) continue;
      return cannot("container " + shown(writer) + " can write to its volumes, too");
    }
  }
  std::unique_ptr<NativeBackup> backup(new NativeBackup(source, std::move(roots), server->id));
  backup->mode_ = TRY(PostgresMode::connect(engine, server->id, cancel));
  if (backup->mode_->cluster().in_recovery) return cannot("it is a standby, or recovers");
  TRY(backup->find_data());
  TRY(backup->find_wal());
  TRY(backup->mode_->start());
  return backup;
}

// Its answer must be about what is in the volumes: the same cluster there, by its number.
Result<void> NativeBackup::find_data() {
  const PostgresCluster& cluster = mode_->cluster();
  const auto data = locate(source_, cluster.data_directory);
  if (!data) {
    return cannot("its data directory " + printable(cluster.data_directory) + " is in no volume");
  }
  data_ = *data;
  const auto version = read_small_file(root(data_), join_path(data_.path, "PG_VERSION"), 64);
  const auto control = read_small_file(root(data_), join_path(data_.path, "global/pg_control"), 8);
  std::uint64_t system_id = 0;
  if (control && control->size() == sizeof system_id) {
    std::memcpy(&system_id, control->data(), sizeof system_id);
  }
  if (!version || system_id != cluster.system_id) {
    return cannot("its data directory " + printable(cluster.data_directory) +
                  " is not the one in the volume");
  }
  for (const std::string& path : cluster.tablespaces) {
    const auto place = locate(source_, path);
    if (!place) return cannot("its tablespace " + printable(path) + " is in no volume");
    tablespaces_.push_back(*place);
  }
  return {};
}

Result<void> NativeBackup::find_wal() {
  const char* const name = mode_->cluster().version >= 100000 ? "pg_wal" : "pg_xlog";
  std::string path = mode_->cluster().data_directory + "/" + name;
  auto place = locate(source_, path);
  if (place && !place->path.empty()) {
    const auto entry = look_for(root(*place), place->path);
    if (entry && entry->type == FileType::symlink) {
      path = follow(path, entry->target);
      place = locate(source_, path);
    }
  }
  if (!place) return cannot("its WAL in " + printable(path) + " is in no volume");
  wal_ = *place;
  auto folder = open_folder(root(wal_), wal_.path.empty() ? "." : wal_.path);
  if (!folder) return cannot("its WAL in " + printable(path) + ": " + folder.error().message);
  const Listed listed = TRY(look_at(*folder));
  wal_id_ = {listed.device, listed.entry.inode};
  return {};
}

bool NativeBackup::owns(std::size_t volume) const {
  return volume == data_.volume || volume == wal_.volume ||
         std::any_of(tablespaces_.begin(), tablespaces_.end(),
                     [&](const VolumePath& place) { return place.volume == volume; });
}

Result<void> NativeBackup::end() {
  const Bytes control = TRY(read_control(root(data_), join_path(data_.path, "global/pg_control")));
  const PostgresBackup done = TRY(mode_->stop());
  const std::string first = TRY(first_wal_segment(done.label));
  const auto segment = look_for(root(wal_), join_path(wal_.path, first));
  if (!segment) return cannot("its WAL " + first + " was removed before the backup's end");
  const auto segments = TRY(wal_segments(done.label, done.stop_lsn, segment->size));

  // What pg_basebackup leaves out, as far as a server does not remove it by itself when it starts
  // from a backup (https://www.postgresql.org/docs/current/protocol-replication.html, BASE_BACKUP).
  TreeEdit& data = edits_[data_.volume];
  for (const char* name :
       {"postmaster.pid", "postmaster.opts", "tablespace_map", "backup_manifest"}) {
    data.left_out.insert(join_path(data_.path, name));
  }
  for (const char* name : {"pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots",
                           "pg_stat_tmp", "pg_subtrans"}) {
    data.emptied.insert(join_path(data_.path, name));
  }
  data.added[join_path(data_.path, "backup_label")] = done.label;
  if (!done.tablespace_map.empty()) {
    data.added[join_path(data_.path, "tablespace_map")] = done.tablespace_map;
  }
  data.added[join_path(data_.path, "global/pg_control")] = as_text(control);
  TreeEdit& wal = edits_[wal_.volume];
  wal.reread = TreeEdit::Reread{wal_.path, {segments.begin(), segments.end()}, ".history"};
  // A server that is started from the backup, and has an archive, must not archive them again.
  for (const std::string& name : segments) {
    wal.added[join_path(wal_.path, "archive_status/" + name + ".done")] = "";
  }
  return {};
}

}  // namespace bygone::ingest
