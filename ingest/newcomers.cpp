// SPDX-License-Identifier: Apache-2.0
#include "ingest/newcomers.h"

#include <utility>

#include "ingest/survey.h"

namespace bygone::ingest {

Result<RunningNow> RunningNow::look(docker::Engine& engine, const HostView* host) {
  Survey survey;
  if (host != nullptr) survey.host = *host;
  // Containers first: then the volumes of all of them are there.
  const auto containers = TRY(engine.running_containers());
  for (docker::Volume& volume : TRY(engine.volumes())) {
    std::string name = volume.name;
    survey.volumes.emplace(std::move(name), std::move(volume));
  }
  RunningNow now;
  for (const docker::ContainerSummary& container : containers) {
    if (survey.host.is_own_container(container.id)) continue;
    now.index_.add(container, survey);
    now.running_.emplace(container.id, Writer{container.id, container.name, false, ""});
  }
  return now;
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
    for (Writer& writer : writers) {
      if (known.count(writer.id) != 0) continue;
      found.volumes.insert(i);
      if (seen.insert(writer.id).second) found.writers.push_back(std::move(writer));
    }
  }
  return found;
}

}  // namespace bygone::ingest
