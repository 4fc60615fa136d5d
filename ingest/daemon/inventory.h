// SPDX-License-Identifier: Apache-2.0
//
// What the daemon does with what there is to back up (judge.h): tells the sources apart, leaves out
// those that policy does not want, and looks at some of them again. Any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/config.h"
#include "ingest/discover.h"
#include "ingest/docker/engine.h"
#include "ingest/judge.h"
#include "store/base/result.h"

namespace bygone::ingest {

// source_key() of a source.
[[nodiscard]] std::string key_of(const Source& source);
// What is wrong in their labels, a line each, for people.
[[nodiscard]] std::vector<std::string> problems_of(const std::vector<Planned>& planned);
void keep_wanted(std::vector<Planned>& planned);
// A group has each name once, as on the command line: of a container and a volume that are called
// the same the second is backed up alone. Together none would ever be: each has the other wait.
void part_namesakes(std::vector<Planned>& planned);

// The sources `wanted`, as they are at this moment, each with its policy of now; those that are
// gone, or that policy does not want any more, are left out. `engine` is needed for containers and
// volumes. Errors: the engine's.
[[nodiscard]] Result<std::vector<Planned>> look_again(const std::vector<Planned>& wanted,
                                                      const Config& config, docker::Engine* engine,
                                                      const ParentNames& parent_names);

}  // namespace bygone::ingest
