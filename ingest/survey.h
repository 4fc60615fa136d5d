// SPDX-License-Identifier: Apache-2.0
//
// One look at an engine: all its containers, volumes and this host's view of its files, taken
// once, so that everything that discovery decides comes from the same moment. Const after it was
// taken.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/host_view.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Survey {
  docker::EngineInfo info;
  std::string host_id;   // of the engine's sources
  std::string socket;    // canonical path of the engine's socket; empty for TCP
  std::string root_dir;  // canonical data root of the engine
  std::map<std::string, docker::Volume> volumes;  // by name
  std::vector<docker::ContainerSummary> containers;
  std::set<std::string> used_volumes;     // names that any container mounts, stopped ones included
  std::set<std::string> writable_places;  // host paths that any container mounts writable
  HostView host;
};

// Errors: the engine's; unsupported for Windows containers and an engine without an identity.
[[nodiscard]] Result<Survey> take_survey(docker::Engine& engine);

// Whether the label bygone.enable says no: "false", "0", "no" or "off", in any case.
[[nodiscard]] bool is_disabled(const docker::Labels& labels);
// The label's value; empty when it is not there.
[[nodiscard]] std::string label(const docker::Labels& labels, const std::string& key);

}  // namespace bygone::ingest
