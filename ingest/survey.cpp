// SPDX-License-Identifier: Apache-2.0
#include "ingest/survey.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "ingest/discover.h"
#include "ingest/reader_container.h"
#include "store/base/bytes.h"
#include "store/base/log.h"

namespace bygone::ingest {
namespace {

Result<std::string> host_id_of(const docker::Engine& engine, const docker::EngineInfo& info) {
  if (!info.id.empty()) return info.id;
  // Podman has no id of its own; locally it is one to a machine.
  if (engine.is_local()) return machine_id();
  return Error{Code::unsupported, 0,
               fmt::format("the engine {} names no id, so its containers cannot be told from "
                           "another's; hint: run bygone on the engine's host",
                           printable(engine.address()))};
}

}  // namespace

Result<Survey> take_survey(docker::Engine& engine) {
  docker::EngineInfo info = TRY(engine.info());
  if (info.os_type == "windows") {
    return Error{Code::unsupported, 0,
                 fmt::format("the engine {} runs Windows containers, bygone backs up Linux ones",
                             printable(engine.address()))};
  }
  Survey survey;
  survey.host = TRY(HostView::look(engine, info));
  survey.info = std::move(info);
  survey.host_id = TRY(host_id_of(engine, survey.info));
  survey.socket = engine.is_local() ? canonical(engine.socket_path()) : std::string();
  survey.root_dir = survey.host.place(survey.info.root_dir);
  if (const auto& blind = survey.host.blind()) {
    log::info(blind->message + ": its volumes are read through it");
  }
  // Volumes first: one that is made after this, together with its container, is then not taken
  // for a volume that nobody uses.
  for (docker::Volume& volume : TRY(engine.volumes())) {
    std::string name = volume.name;
    survey.volumes.emplace(std::move(name), std::move(volume));
  }
  survey.containers = TRY(engine.containers());
  // Those of a backup that runs now use no volume, and are nobody's source.
  std::erase_if(survey.containers, [](const docker::ContainerSummary& container) {
    return container.labels.count(kReaderLabel) != 0 && container.status == docker::Status::created;
  });
  for (const docker::ContainerSummary& container : survey.containers) {
    for (const docker::Mount& mount : container.mounts) {
      if (mount.type == docker::MountType::volume) survey.used_volumes.insert(mount.name);
      if (mount.writable && !mount.source.empty()) survey.writable_places.insert(mount.source);
    }
  }
  return survey;
}

std::string label(const docker::Labels& labels, const std::string& key) {
  const auto found = labels.find(key);
  return found == labels.end() ? std::string() : found->second;
}

bool is_disabled(const docker::Labels& labels) {
  std::string value = label(labels, "bygone.enable");
  std::transform(value.begin(), value.end(), value.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return value == "false" || value == "0" || value == "no" || value == "off";
}

}  // namespace bygone::ingest
