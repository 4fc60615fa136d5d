// SPDX-License-Identifier: Apache-2.0
//
// Watches a folder for names that come and go: inotify, and a call every ten seconds for writers
// on other machines, whom inotify does not see. One thread of its own.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::fs {

class Watcher {
 public:
  // Calls `changed` from its own thread: once at first, after each change of a name in `folder`,
  // and every ten seconds. Where inotify is not to be had it says so in the log and goes without.
  // Errors: those of eventfd(2).
  static Result<std::unique_ptr<Watcher>> start(const std::string& folder,
                                                std::function<void()> changed);
  // Waits for a call that is under way.
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

 private:
  Watcher() = default;
  void run();

  std::function<void()> changed_;
  Fd stop_, inotify_;
  std::thread thread_;
};

}  // namespace bygone::fs
