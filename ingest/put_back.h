// SPDX-License-Identifier: Apache-2.0
//
// Putting back one container that was held still: resuming it, or starting it. Any thread.
#pragma once

#include <chrono>
#include <string>

#include "ingest/docker/engine.h"
#include "ingest/freeze_journal.h"
#include "store/base/result.h"

namespace bygone::ingest {

// An engine goes on with a stop whose caller has died: how long that can take to show, of a
// container that has `timeout` for its end.
[[nodiscard]] constexpr std::chrono::milliseconds late_stop(std::chrono::seconds timeout) {
  return timeout + std::chrono::seconds(2);
}

[[nodiscard]] inline bool is_paused(const docker::ContainerState& state) {
  return state.paused || state.status == docker::Status::paused;
}

// Tries a few times. True when it was paused until now, as far as can be told: when the engine
// failed at first, a false may also mean that it obeyed all the same. Errors: those of
// Engine::unpause().
Result<bool> unpause(docker::Engine& engine, const std::string& id);

enum class StartedAgain {
  started,   // here
  left,      // it has run since, is paused, or gone
  runs_yet,  // it has not ended
  held,      // a backup of this process holds it still
};
// Starts what was stopped by us, waiting for up to `patience` for a stop that is under way. One
// that ended by itself between our intent and our stop cannot be told from one that we stopped.
// Errors: those of Engine::state() and Engine::start(), which is tried a few times.
Result<StartedAgain> start_stopped(docker::Engine& engine, const FreezeRecord::Container& container,
                                   std::chrono::milliseconds patience);

// What becomes of a container that was about to be stopped, and still runs: it may yet end.
enum class Late {
  wait,   // it is waited for, as long as its end may take
  leave,  // its journal stays, for whoever waits
};
// The same for one that a process which died has left. Not while a backup of this process holds it:
// that is its own to undo.
Result<StartedAgain> start_found(docker::Engine& engine, const FreezeRecord::Container& found,
                                 Late late);

}  // namespace bygone::ingest
