// SPDX-License-Identifier: Apache-2.0
//
// What happens at an engine, as it tells it (GET /events). An event is a reason to look again, not
// the truth: engines differ in their order, replay only the last 256 of them, and lose those at a
// restart. One thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "store/base/result.h"

namespace bygone::docker {

struct Event {
  std::string type;    // "container", "volume", ...; empty: an event that could not be read (over
                       // 1 MiB, or no event), so that everything may have changed
  std::string action;  // "start", "die", ...; some have data glued on: "exec_create: sh -c x"
  std::string id;      // of a container, or the name of a volume
  std::map<std::string, std::string> attributes;  // a container's name, image and all its labels
  std::int64_t time = 0;                          // ns since the epoch, on the engine's clock
};

class EventStream {
 public:
  virtual ~EventStream() = default;
  // The next event; nothing when none came within `wait`. Errors: unavailable when the stream is
  // lost, invalid when it is no such stream; only a new one helps then, and a look at everything.
  [[nodiscard]] virtual Result<std::optional<Event>> next(std::chrono::milliseconds wait) = 0;
};

}  // namespace bygone::docker
