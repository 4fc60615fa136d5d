// SPDX-License-Identifier: Apache-2.0
//
// The Engine that speaks to a real one, call by call; connect() makes it after it has agreed on a
// version. Any thread, as every Engine.
#pragma once

#include <memory>

#include "ingest/docker/client.h"
#include "ingest/docker/engine.h"

namespace bygone::docker {

enum class MadeBy { docker, podman };

[[nodiscard]] std::unique_ptr<Engine> make_http_engine(Client client, MadeBy made_by);

}  // namespace bygone::docker
