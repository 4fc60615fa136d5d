// SPDX-License-Identifier: Apache-2.0
#include "ingest/newcomers.h"

#include <algorithm>
#include <utility>

#include "ingest/survey.h"

namespace bygone::ingest {

namespace {

bool is_known(const docker::ContainerSummary& container, const RunningNow::Volumes& volumes) {
  return std::all_of(container.mounts.begin(), container.mounts.end(),
                     [&](const docker::Mount& mount) {
                       return mount.type != docker::MountType::volume || !mount.writable ||
                              volumes.count(mount.name) != 0;
                     });
}

Survey survey_of(const HostView* host, const RunningNow::Volumes& volumes) {
  Survey survey;
  if (host != nullptr) survey.host = *host;
  survey.volumes = volumes;
  return survey;
}

}  // namespace

Result<RunningNow> RunningNow::look(docker::Engine& engine, const HostView* host,
                                    Volumes& volumes) {
  // Containers first: then the volumes of all of them are there.
  const auto containers = TRY(engine.running_containers());
  if (!std::all_of(containers.begin(), containers.end(),
                   [&](const auto& container) { return is_known(container, volumes); })) {
    for (docker::Volume& volume : TRY(engine.volumes())) {
      std::string name = volume.name;
      volumes.insert_or_assign(std::move(name), std::move(volume));
    }
    // Of a plugin that is down: to ask again would cost as much.
    for (const docker::ContainerSummary& container : containers) {
      for (const docker::Mount& mount : container.mounts) {
        if (mount.type == docker::MountType::volume) volumes[mount.name];
      }
    }
  }
  const Survey survey = survey_of(host, volumes);
  RunningNow now;
  for (const docker::ContainerSummary& container : containers) {
    if (survey.host.is_own_container(container.id)) continue;
    now.index_.add(container, survey);
    now.running_.emplace(container.id, Writer{container.id, container.name, false, ""});
  }
  return now;
}

void RunningNow::add_ended(const docker::ContainerSummary& container, const HostView* host,
                           const Volumes& volumes) {
  const Survey survey = survey_of(host, volumes);
  if (!survey.host.is_own_container(container.id)) index_.add(container, survey);
}

void RunningNow::add_gone(const Writer& writer, std::set<std::string> volumes) {
  gone_.insert_or_assign(writer.id, Gone{writer, std::move(volumes)});
}

Newcomers RunningNow::beyond(const Source& source, const std::set<std::string>& known) const {
  Newcomers found;
  std::set<std::string> seen = known;
  for (std::size_t i = 0; i < source.volumes.size(); ++i) {
    const VolumeSource& volume = source.volumes[i];
    std::vector<Writer> writers = index_.at(volume.host_path);
    // A list does not tell where a layer is, and only its own container writes to it.
    const auto own = running_.find(source.container_id);
    if (volume.kind == store::VolumeKind::layer && own != running_.end()) {
      writers.push_back(own->second);
    }
    for (const auto& [id, gone] : gone_) {
      const bool had_it =
          volume.kind == store::VolumeKind::bind ||
          (volume.kind != store::VolumeKind::layer && gone.volumes.count(volume.origin) != 0);
      if (had_it) writers.push_back(gone.writer);
    }
    for (Writer& writer : writers) {
      if (known.count(writer.id) != 0) continue;
      found.volumes.insert(i);
      if (seen.insert(writer.id).second) found.writers.push_back(std::move(writer));
    }
  }
  return found;
}

}  // namespace bygone::ingest
