// SPDX-License-Identifier: Apache-2.0
//
// The engine's JSON answers made into the values of engine.h, field by field. No I/O. Total: every
// byte sequence gives a value or Code::invalid. Callable from any thread.
#pragma once

#include <cstdint>
#include <optional>
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
[[nodiscard]] Result<Image> parse_image(std::string_view body);
[[nodiscard]] Result<std::vector<Change>> parse_changes(std::string_view body);
// The last column of each process of a `top` answer.
[[nodiscard]] Result<std::vector<std::string>> parse_top(std::string_view body);
// The field `Id` of an answer that made something.
[[nodiscard]] Result<std::string> parse_id(std::string_view body);
// One line of an event stream. Errors: invalid for what is no event.
[[nodiscard]] Result<Event> parse_event(std::string_view line);

struct ExecState {
  bool running = false;
  std::optional<int> exit_code;  // none while it runs
  std::int64_t pid = 0;          // on the engine's host; 0: not started, or not told
  std::string container_id;
};
[[nodiscard]] Result<ExecState> parse_exec(std::string_view body);

// The first error in an answer of progress reports, one JSON object a line.
[[nodiscard]] Result<void> parse_progress(std::string_view body);
// The engine's text of an error: the `message` of a JSON answer, or the answer itself when it is
// not JSON ("client version ... is too old" is plain text), cut to 1,000 bytes.
[[nodiscard]] std::string parse_message(std::string_view body);

}  // namespace bygone::docker
