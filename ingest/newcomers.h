// SPDX-License-Identifier: Apache-2.0
//
// Containers that have come to run since a source was discovered: made anew, started, or not there
// before. A hot pass can take an hour, and whoever writes by then has to stand still with the
// others. Const after look().
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/host_view.h"
#include "ingest/source.h"
#include "ingest/writers.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Newcomers {
  std::vector<Writer> writers;    // each once
  std::set<std::size_t> volumes;  // numbers of those that they can write to
};

class RunningNow {
 public:
  using Volumes = std::map<std::string, docker::Volume>;  // by name
  // Asks the engine. `host` as in Source. `volumes` is what earlier looks have learnt, and learns
  // what is mounted and not among it: an engine with a plugin that is down takes 15 s to list its
  // volumes. Errors: the engine's.
  static Result<RunningNow> look(docker::Engine& engine, const HostView* host, Volumes& volumes);

  // Adds one that has ended since it was started, and whose mounts are known.
  void add_ended(const docker::ContainerSummary& container, const HostView* host,
                 const Volumes& volumes);
  // Adds one that is gone: it had these volumes, and folders of the host that nobody knows.
  void add_gone(const Writer& writer, std::set<std::string> volumes);

  // Those that are on the list.
  [[nodiscard]] bool lists(const std::string& id) const { return running_.count(id) != 0; }
  [[nodiscard]] bool is_gone(const std::string& id) const { return gone_.count(id) != 0; }
  // Those that can write to the source's volumes, or are its own container and have its layer, and
  // whose ids are not in `known`. The container that this process runs in is none.
  [[nodiscard]] Newcomers beyond(const Source& source, const std::set<std::string>& known) const;

 private:
  struct Gone {
    Writer writer;
    std::set<std::string> volumes;
  };
  std::map<std::string, Writer> running_;  // by id
  std::map<std::string, Gone> gone_;       // by id
  WriterIndex index_;
};

}  // namespace bygone::ingest
