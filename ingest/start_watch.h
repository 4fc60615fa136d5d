// SPDX-License-Identifier: Apache-2.0
//
// Who begins to run while others stand still. He may have ended before anybody looks: no list shows
// him, the engine's events do. One thread at a time.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

class StartWatch {
 public:
  // Watches from now on. Errors: the engine's.
  static Result<StartWatch> begin(docker::Engine& engine);

  // Reads what the engine has told until now. `held` are ids of containers that were paused or
  // stopped meanwhile and run again: what it tells of that says that all from before was told. To
  // be called once; an error leaves what was told before it. Errors: unavailable when that does not
  // come within a second, or the stream is cut; invalid for an event that cannot be read.
  Result<void> read(const std::set<std::string>& held);

  // Those that have begun, without those that ended before any of `held` stood still: id and name.
  [[nodiscard]] const std::map<std::string, std::string>& started() const { return started_; }
  // Names of the volumes that were mounted writable for a container.
  [[nodiscard]] std::set<std::string> volumes_of(const std::string& id) const;

 private:
  explicit StartWatch(std::unique_ptr<docker::EventStream> events) : events_(std::move(events)) {}
  [[nodiscard]] bool take(const docker::Event& event, const std::set<std::string>& held);

  std::unique_ptr<docker::EventStream> events_;
  bool stand_still_ = false;  // one of those that are held, at least
  std::map<std::string, std::string> started_;
  std::map<std::string, std::set<std::string>> volumes_;  // by the id of a container
};

}  // namespace bygone::ingest
