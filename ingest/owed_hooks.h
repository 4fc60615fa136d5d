// SPDX-License-Identifier: Apache-2.0
//
// Post hooks that backups which died, or lost the engine, have not come to (hook_journal.h): a
// container must not stay in the state that its pre hook has made for it. Whoever holds the lock of
// a journal sees to it, so that several processes, and several threads of one, may try at once.
// Any thread.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/bytes.h"

namespace bygone::ingest {

// What became of one of them.
struct OwedHook {
  enum class Fate {
    ran,
    failed,      // twice, and is not tried again
    not_owed,    // its container is gone, has ended, or was started anew
    owed_still,  // it cannot run now; its journal stays
  } fate = Fate::owed_still;
  std::string container;  // name of the source; empty for a journal that cannot be read
  std::string line;       // for people, without the name
};

// With the name.
[[nodiscard]] inline std::string text_of(const OwedHook& owed) {
  return owed.container.empty() ? owed.line : printable(owed.container) + ": " + owed.line;
}

// Whether there is one that nobody sees to, be it one whose journal cannot be read. Cheap: needs no
// engine.
[[nodiscard]] bool has_owed_hooks(const std::string& state_folder);
// Runs all of them at once, each with its own timeout; one that fails is tried once more. To be
// called after thaw_dead_journals(): nothing runs in a container that is paused. Returns what was
// found; journals of the living are left alone. Takes twice the longest timeout at most. When
// `cancel` becomes true what runs is ended, and owed still.
[[nodiscard]] std::vector<OwedHook> run_owed_hooks(docker::Engine& engine,
                                                   const std::string& state_folder,
                                                   const std::atomic<bool>& cancel);
// The same for one container, by its id, in this thread; waits for one that somebody else runs
// just now.
[[nodiscard]] std::vector<OwedHook> settle_owed_hooks(docker::Engine& engine,
                                                      const std::string& state_folder,
                                                      const std::string& container,
                                                      const std::atomic<bool>& cancel);

}  // namespace bygone::ingest
