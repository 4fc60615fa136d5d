// SPDX-License-Identifier: Apache-2.0
#include "ingest/prepare.h"

#include <map>
#include <memory>
#include <tuple>

#include "ingest/snapshot_journal.h"
#include "store/base/bytes.h"

namespace bygone::ingest {

LastNames last_names(store::Repository& repository) {
  using Key = std::tuple<store::SourceKind, std::string, std::string>;
  using Names = std::map<std::string, std::string>;
  const auto newest = std::make_shared<std::map<Key, std::pair<std::uint64_t, Names>>>();
  std::vector<std::string> damaged;  // named by whoever reads for its own sake
  auto snapshots = repository.snapshots(&damaged);
  if (!snapshots.ok()) {
    return {[](auto&&...) { return Names(); }, {snapshots.error().message}};
  }
  for (const store::Snapshot& snapshot : *snapshots) {
    auto& [sequence, names] = (*newest)[{snapshot.kind, snapshot.host_id, snapshot.name}];
    if (snapshot.sequence < sequence) continue;
    sequence = snapshot.sequence;
    names.clear();
    for (const store::Volume& volume : snapshot.volumes) names[volume.destination] = volume.name;
  }
  return {[newest](store::SourceKind kind, const std::string& host, const std::string& name) {
            const auto found = newest->find({kind, host, name});
            return found == newest->end() ? Names() : found->second.second;
          },
          {}};
}

std::vector<std::pair<std::string, std::string>> off_limits(const store::Repository& repository,
                                                            const std::string& index_dir) {
  std::vector<std::pair<std::string, std::string>> folders = {
      {repository.path(), "the repository"}};
  if (!index_dir.empty()) folders.emplace_back(index_dir, "the repository's index");
  return folders;
}

std::vector<std::string> delete_leftovers(const std::string& state_folder) {
  if (!has_dead_snapshots(state_folder)) return {};
  const auto deleted = delete_dead_snapshots(state_folder);
  if (!deleted.ok()) return {deleted.error().message};
  std::vector<std::string> lines;
  for (const std::string& path : *deleted) {
    lines.push_back(
        printable(path) +
        " was left by a backup that died, or brought back by a power cut: it is deleted");
  }
  return lines;
}

std::vector<std::string> thaw_leftovers(docker::Engine& engine, const std::string& state_folder,
                                        Late late) {
  if (!has_dead_journals(state_folder)) return delete_leftovers(state_folder);
  const auto thawed = thaw_dead_journals(engine, state_folder, late);
  std::vector<std::string> lines = delete_leftovers(state_folder);
  if (!thawed.ok()) {
    lines.push_back(thawed.error().message +
                    "; containers may still be frozen; hint: bygone thaw, docker unpause");
    return lines;
  }
  for (const Thawed& one : *thawed) {
    if (one.was_paused) {
      lines.push_back(printable(one.container) +
                      " was left frozen by a backup that died: it is resumed");
    } else if (one.was_stopped) {
      lines.push_back(printable(one.container) +
                      " was left stopped by a backup that died: it is started");
    }
  }
  return lines;
}

}  // namespace bygone::ingest
