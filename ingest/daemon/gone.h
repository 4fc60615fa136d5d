// SPDX-License-Identifier: Apache-2.0
//
// Containers that an engine no longer has, or not at this moment (jobs that run once a night), and
// whose snapshots are to be thinned all the same. Reads only. Any thread.
#pragma once

#include <vector>

#include "ingest/config.h"
#include "ingest/daemon/upkeep.h"
#include "ingest/docker/engine.h"
#include "store/base/result.h"
#include "store/repository.h"

namespace bygone::ingest {

// What is kept of those that are gone: as judge() says for the labels that stand in the newest
// snapshot, which is given for each source. A container that is there, enabled or not, is not gone;
// volumes are not looked at, for their labels are in no snapshot, nor sources of other engines or
// of one that has another host's name. Nothing goes of what would not be backed up now, nor where a
// label cannot be read or understood, which is logged. Errors: the engine's, and then nobody knows
// what is gone.
[[nodiscard]] Result<std::vector<UpkeepWork::Rule>> rules_of_gone(
    store::Repository& repository, const std::vector<store::Snapshot>& newest,
    docker::Engine& engine, const Config& config);

}  // namespace bygone::ingest
