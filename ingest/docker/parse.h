// SPDX-License-Identifier: Apache-2.0
//
// The engine's JSON answers made into the values of engine.h, field by field. No I/O. Total: every
// byte sequence gives a value or Code::invalid. Callable from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::docker {

[[nodiscard]] Result<EngineInfo> parse_info(std::string_view body);
[[nodiscard]] Result<std::vector<ContainerSummary>> parse_containers(std::string_view body);
[[nodiscard]] Result<Container> parse_container(std::string body);
[[nodiscard]] Result<std::vector<Volume>> parse_volumes(std::string_view body);
[[nodiscard]] Result<Volume> parse_volume(std::string_view body);
// The engine's text of an error: the `message` of a JSON answer, or the answer itself when it is
// not JSON ("client version ... is too old" is plain text), cut to 1,000 bytes.
[[nodiscard]] std::string parse_message(std::string_view body);

}  // namespace bygone::docker
