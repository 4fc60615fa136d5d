// SPDX-License-Identifier: Apache-2.0
//
// A command of the user that runs in a container before or after it is captured (labels bygone.pre
// and bygone.post), through the engine's exec: never on this host, never through a shell of ours.
// Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Hook {
  enum class OnError {
    fail,   // of a pre hook: no snapshot is made; of a post hook: it is made, and reported
    go_on,  // a warning
  };
  std::vector<std::string> command;           // argv
  std::string user;                           // name or uid[:gid]; empty: the container's own
  std::chrono::milliseconds timeout{30'000};  // then the command is ended, and has failed
  OnError on_error = OnError::fail;
};

// Runs it; messages call it the `name` hook ("pre", "post"). Errors: hook when it failed and says
// so, with the last of its output; cancelled (it is ended then); unavailable when the engine is
// gone.
Result<void> run_hook(docker::Engine& engine, const std::string& container, const Hook& hook,
                      const char* name, const std::atomic<bool>& cancel);

}  // namespace bygone::ingest
