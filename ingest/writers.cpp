// SPDX-License-Identifier: Apache-2.0
#include "ingest/writers.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

// The host paths through which a mount is written: where the engine says it comes from, and for a
// volume that is itself a bind of a folder, that folder too.
std::vector<std::string> paths_of(const docker::Mount& mount, const Survey& survey) {
  std::vector<std::string> paths;
  const auto volume = mount.type == docker::MountType::volume ? survey.volumes.find(mount.name)
                                                              : survey.volumes.end();
  if (volume != survey.volumes.end()) {
    paths.push_back(survey.host.place(volume->second.mountpoint));
    const auto device = volume->second.options.find("device");
    if (device != volume->second.options.end() && device->second.rfind('/', 0) == 0) {
      paths.push_back(survey.host.place(device->second));
    }
  }
  if (!mount.source.empty()) paths.push_back(survey.host.place(mount.source));
  return paths;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

std::string layer_place(const docker::Container& container, const Survey& survey) {
  return container.upper_dir.empty() ? "/@layer/" + container.id
                                     : survey.host.place(container.upper_dir);
}

void WriterIndex::add(const docker::Container& container, const Survey& survey) {
  const docker::ContainerState& state = container.state;
  const bool restarting = state.status == docker::Status::restarting;
  // A container between two runs says Running too, but has no process (measured: Pid 0).
  const bool runs = state.status == docker::Status::running ||
                    state.status == docker::Status::paused || (state.running && state.pid > 0);
  if (!restarting && !runs) return;
  Writer writer{container.id, container.name, state.paused, state.started_at};
  const std::size_t place = entries_.size();
  add_entry({std::move(writer), restarting}, container.mounts, survey);
  by_path_[layer_place(container, survey)].insert(place);
}

void WriterIndex::add(const docker::ContainerSummary& summary, const Survey& survey) {
  const bool restarting = summary.status == docker::Status::restarting;
  const bool paused = summary.status == docker::Status::paused;
  if (!restarting && !paused && summary.status != docker::Status::running) return;
  const std::size_t place = entries_.size();
  add_entry({Writer{summary.id, summary.name, paused, ""}, restarting}, summary.mounts, survey);
  if (!survey.root_dir.empty()) {
    by_path_[survey.root_dir + "/@layer/" + summary.id].insert(place);
  }
}

void WriterIndex::add_entry(Entry entry, const std::vector<docker::Mount>& mounts,
                            const Survey& survey) {
  const std::size_t place = entries_.size();
  entries_.push_back(std::move(entry));
  for (const docker::Mount& mount : mounts) {
    if (!mount.writable) continue;
    if (mount.type != docker::MountType::volume && mount.type != docker::MountType::bind) continue;
    for (std::string& path : paths_of(mount, survey)) by_path_[std::move(path)].insert(place);
  }
}

std::set<std::size_t> WriterIndex::touching(const std::string& path) const {
  std::set<std::size_t> found;
  const auto take = [&](const std::set<std::size_t>& places) {
    found.insert(places.begin(), places.end());
  };
  for (std::string above = path;; above = parent_of(above)) {
    const auto at = by_path_.find(above);
    if (at != by_path_.end()) take(at->second);
    if (above == "/") break;
  }
  const std::string below = path == "/" ? path : path + "/";
  for (auto at = by_path_.lower_bound(below);
       at != by_path_.end() && at->first.rfind(below, 0) == 0; ++at) {
    take(at->second);
  }
  return found;
}

std::vector<Writer> WriterIndex::at(const std::string& path) const {
  std::vector<Writer> writers;
  for (const std::size_t place : touching(path)) writers.push_back(entries_[place].writer);
  return writers;
}

void WriterIndex::find(Source& source, const Survey& survey) const {
  std::set<std::size_t> found;
  for (VolumeSource& volume : source.volumes) {
    const std::set<std::size_t> touching_this = touching(volume.host_path);
    volume.has_writers = !touching_this.empty();
    found.insert(touching_this.begin(), touching_this.end());
  }
  for (const std::size_t place : found) {
    const Entry& entry = entries_[place];
    if (survey.host.is_own_container(entry.writer.id)) {
      source.skipped.push_back("container " + printable(entry.writer.name) +
                               ": bygone itself runs in it, so it is not paused");
      continue;
    }
    (entry.restarting ? source.restarting : source.writers).push_back(entry.writer);
  }
  const auto by_name = [](const Writer& a, const Writer& b) {
    return std::tie(a.name, a.id) < std::tie(b.name, b.id);
  };
  std::sort(source.writers.begin(), source.writers.end(), by_name);
  std::sort(source.restarting.begin(), source.restarting.end(), by_name);
}

}  // namespace bygone::ingest
