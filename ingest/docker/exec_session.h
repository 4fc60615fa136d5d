// SPDX-License-Identifier: Apache-2.0
//
// An Exec of a real engine: one connection for its streams, one request each for its exit code and
// its process. Engine::exec() is made of this; others use exec.h.
#pragma once

#include <memory>

#include "ingest/docker/client.h"
#include "ingest/docker/exec.h"
#include "store/base/result.h"

namespace bygone::docker {

// Makes and starts the command. Errors: as Engine::exec().
[[nodiscard]] Result<std::unique_ptr<Exec>> start_exec(const Client& client,
                                                       const ExecRequest& request);

}  // namespace bygone::docker
