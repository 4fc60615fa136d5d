// SPDX-License-Identifier: Apache-2.0
//
// Stays connected to the engine and says when there is something to look at: at each new
// connection, after events of containers and volumes (a burst of them counts once), every few
// minutes anyway, and when asked. Decides nothing about what is seen. A thread of its own, in which
// all callbacks run; the methods may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct WatchWork {
  std::function<Result<std::unique_ptr<docker::Engine>>()> connect;
  // The engine answers (again). Before the first look at it.
  std::function<void(const std::shared_ptr<docker::Engine>& engine)> connected;
  // Something may have changed. An error `unavailable` begins a new connection; after another one
  // it is called again a little later.
  std::function<Result<void>(docker::Engine& engine)> look;
  // About once a second while connected.
  std::function<void(docker::Engine& engine)> tick;
  // The engine cannot be reached: called at each failed try, a second apart at least.
  std::function<void(const Error& error)> lost;
};

class Watch {
 public:
  explicit Watch(WatchWork work);
  // Waits for the callback that runs.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void look_again() { asked_ = true; }

 private:
  void run();
  Result<void> listen();
  void pause(std::chrono::milliseconds time) const;

  const WatchWork work_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> asked_{false};
  std::thread thread_;
};

}  // namespace bygone::ingest
