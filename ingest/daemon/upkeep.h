// SPDX-License-Identifier: Apache-2.0
//
// What the daemon does for the repository beside backups: forgets by each source's rules, then
// prunes. Says what it does in the log. One at a time, any thread.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "store/base/clock.h"
#include "store/repository.h"
#include "store/retention.h"

namespace bygone::ingest {

struct UpkeepWork {
  struct Rule {
    SourceId source;
    store::RetentionRules keep;
  };
  std::vector<Rule> rules;  // of sources without a rule nothing is forgotten
  bool prune = false;
  Clock clock = system_now;
};

// Nothing is deleted while the repository shows less than this host has seen of it. Errors: corrupt
// then, and for damage; busy when somebody else forgets or prunes; cancelled; io, no_space.
[[nodiscard]] Result<void> look_after(store::Repository& repository,
                                      const std::string& state_folder, const UpkeepWork& work,
                                      const std::atomic<bool>& cancel);

}  // namespace bygone::ingest
