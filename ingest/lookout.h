// SPDX-License-Identifier: Apache-2.0
//
// What runs at an engine, looked at again and again while a backup goes on. One thread at a time.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/host_view.h"
#include "ingest/newcomers.h"
#include "ingest/start_watch.h"

namespace bygone::ingest {

class Lookout {
 public:
  // Both must outlive it; without an engine nothing is told. `host` as in Source.
  Lookout(docker::Engine* engine, const HostView* host) : engine_(engine), host_(host) {}

  // What runs now; nothing when the engine does not tell, which is logged.
  [[nodiscard]] std::optional<RunningNow> look();
  // Has the next look_after() know also who has begun since now and ended again. To be followed by
  // a look(), and soon by look_after() or unwatch(): an engine waits for whoever does not listen.
  void watch();
  void unwatch() { watch_.reset(); }
  // The same as look(), right after `held` (ids) were resumed, which bygone itself had stand still.
  [[nodiscard]] std::optional<RunningNow> look_after(const std::set<std::string>& held);

 private:
  [[nodiscard]] bool take_up(const StartWatch& watch, RunningNow& now);

  docker::Engine* engine_;
  const HostView* host_;
  RunningNow::Volumes volumes_;
  std::optional<StartWatch> watch_;
  std::vector<RunningNow> before_;  // looks since the watch began
};

}  // namespace bygone::ingest
