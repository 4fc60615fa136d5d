// SPDX-License-Identifier: Apache-2.0
//
// The end of a command that an engine no longer lets us end: it has no such call, and when the
// client of an exec goes away it lets the command run on. Signals processes of this host, each only
// after it was proven to belong to the container. Linux only; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace bygone::docker {

struct ExecProcess {
  std::int64_t pid = 0;      // as the engine tells it
  std::string container_id;  // 64 hex; its cgroup names it
  std::string marker;        // NAME=VALUE, in the environment of the command alone
  // Whether the engine says that it runs, and is to be believed; else the marker must be there,
  // so that a pid that is somebody else's by now is left alone.
  bool is_running = false;
};

// SIGTERM to the command and its descendants, SIGKILL to those that are left after `patience`.
// False when the pid is not that of the command on this host (the engine is elsewhere, or we are in
// another pid namespace), or may not be signalled.
[[nodiscard]] bool end_process(const ExecProcess& process, std::chrono::milliseconds patience);

// The same from within the container, for `sh -c`: ends what has $1 in its environment.
extern const char* const kEndByMarker;

}  // namespace bygone::docker
