// SPDX-License-Identifier: Apache-2.0
//
// The events of a real engine, read from a stream that stays open. Engine::events() is made of
// this; others use events.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ingest/docker/client.h"
#include "ingest/docker/events.h"
#include "store/base/result.h"

namespace bygone::docker {

// Opens the stream; the engine has answered when this returns. Errors: as Engine::events().
[[nodiscard]] Result<std::unique_ptr<EventStream>> open_events(
    const Client& client, const std::vector<std::string>& types,
    const std::vector<std::string>& actions, std::int64_t since_ns);

}  // namespace bygone::docker
