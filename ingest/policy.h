// SPDX-License-Identifier: Apache-2.0
//
// What applies to one source: when it is backed up, how, and what is kept. Made from built-in
// values, the configuration file, its tiers, and labels (config.h, settings.h); a value that is
// wrong is named and leaves the one before it in force. Values only.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ingest/backup.h"
#include "ingest/dump.h"
#include "ingest/hook.h"
#include "ingest/schedule.h"
#include "store/retention.h"

namespace bygone::ingest {

// A value as it was written, and where: "built in", "/etc/bygone/config.yaml:12 (tier critical)",
// "container db, label bygone.schedule".
struct Given {
  std::string value;
  std::string origin;
};

// Something wrong in a file or label: where it stands and what it is, for people. It concerns that
// value alone.
struct Problem {
  std::string where;
  std::string what;
};

struct Policy {
  bool enabled = true;
  std::string tier;                  // empty: none
  std::optional<Schedule> schedule;  // nothing: on request only
  Nanoseconds jitter = 0;            // bound, for jitter_of()
  store::RetentionRules keep;
  std::string group;                         // sources of one group share an instant; empty: none
  std::vector<std::string> include_volumes;  // names or destinations, `*` allowed; empty: all
  std::vector<std::string> exclude_volumes;
  std::vector<std::string> exclude;  // patterns as in .gitignore
  Wish wish = Wish::automatic;
  std::chrono::milliseconds max_freeze{10'000};
  bool layer = false;  // the container's writable layer, too
  std::optional<Hook> pre, post;
  DumpWish dump{.kind = DumpWish::Kind::none};
  std::map<std::string, Given> given;  // every setting by its key ("keep-daily"), for people
};

}  // namespace bygone::ingest
