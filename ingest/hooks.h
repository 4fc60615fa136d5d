// SPDX-License-Identifier: Apache-2.0
//
// Commands of the user that run in a container before and after it is captured (labels bygone.pre
// and bygone.post), through the engine's exec: never on this host, never through a shell of ours.
// One HookPair a source and snapshot; one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
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

}  // namespace bygone::ingest
