// SPDX-License-Identifier: Apache-2.0
//
// Where things are mounted in a container's file system: what lies there is none of its writable
// layer. The engine tells destinations as they were asked for; one that passes through a symbolic
// link (/var/run/x) is mounted somewhere else (/run/x). One thread.
#pragma once

#include <atomic>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

class LayerMounts {
 public:
  // Follows the links in `destinations`, absolute paths, by asking for each part of them; what an
  // engine mounts in every container is added. `changes` are those of the container: what it names
  // is no link's name for something else. Cost: a request for each part of a path (95 ms each
  // with Docker 20.10). Errors: the engine's.
  static Result<LayerMounts> find(docker::Engine& engine, const std::string& container,
                                  const std::vector<std::string>& destinations,
                                  const std::vector<docker::Change>& changes,
                                  const std::atomic<bool>& cancel);

  // Whether something is mounted at `path` or above it; without a slash in front.
  [[nodiscard]] bool cover(std::string_view path) const;

 private:
  std::set<std::string, std::less<>> places_;  // without a slash in front
};

}  // namespace bygone::ingest
