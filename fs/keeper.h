// SPDX-License-Identifier: Apache-2.0
//
// Looks after a mount beside the threads that serve it: says when it answers, raises its
// read-ahead, ends it on SIGTERM, SIGINT and SIGHUP, and gives up on handlers that hang. One
// thread of its own; one keeper per process, for signals are the process's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::fs {

class Keeper {
 public:
  struct Plan {
    std::string path;                // the mountpoint, absolute
    std::string device;              // of the mount, as in MountLine
    std::function<void()> on_ready;  // may be empty
    std::function<void()> stop;      // asks the serving loop to end; called again and again
  };
  // Takes the signals over and starts. The calling thread is the one that will serve: after
  // `stop` it is woken by a signal. Errors: those of eventfd(2).
  static Result<std::unique_ptr<Keeper>> start(Plan plan);
  // From here on the watchdog runs: what is left to be ended must end soon.
  void wind_down();
  // Gives the signals back and ends.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

 private:
  struct State;
  explicit Keeper(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Detaches what is mounted at `path` if it is still the mount on `device`.
void detach_own(const std::string& path, const std::string& device);

}  // namespace bygone::fs
