// SPDX-License-Identifier: Apache-2.0
//
// Where the engine is: DOCKER_HOST and its companions made into an Endpoint. Opens nothing.
#pragma once

#include "ingest/docker/engine.h"
#include "ingest/docker/http.h"
#include "store/base/result.h"

namespace bygone::docker {

// Errors: invalid for a host of another form, a socket path over 107 bytes, TLS without a
// folder of certificates; unsupported for transports that Docker knows and bygone does not.
[[nodiscard]] Result<Endpoint> parse_endpoint(const ConnectOptions& options);

}  // namespace bygone::docker
