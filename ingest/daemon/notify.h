// SPDX-License-Identifier: Apache-2.0
//
// Tells those whom the configuration names how backups ended: by a ping (as healthchecks.io wants
// it: the URL for success, URL/fail otherwise), a webhook with JSON, or a command of this host. In
// a thread of its own with deadlines, so that nobody who does not answer delays a backup; what
// cannot be told is logged. The methods may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ingest/config.h"
#include "ingest/daemon/url.h"
#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Notice {
  enum class Event {
    success,
    partial,  // there is a snapshot, but it lacks files that could not be read, or is of no one
              // moment though it was to be
    failure,
    overdue,
  };
  Event event = Event::success;
  std::string source;    // as on the command line; empty: the repository
  std::string host;      // name of this one
  std::string message;   // for people: what was saved, or why not
  std::string cause;     // of that what is the same at every run; empty: all of it
  std::string snapshot;  // hex id; empty: none
  Nanoseconds time = 0;
};

// The body of a webhook: one object, with texts made printable().
[[nodiscard]] std::string to_json(const Notice& notice);

// Runs `command` (argv, looked up in PATH) on this host with BYGONE_EVENT, BYGONE_SOURCE,
// BYGONE_MESSAGE and BYGONE_SNAPSHOT in its environment and nothing on its standard input, and
// kills it, and what it started, after the deadline or when `cancel` becomes true. Errors:
// not_found, denied; io when it ends badly; unavailable when it is killed.
[[nodiscard]] Result<void> run_command(const std::vector<std::string>& command,
                                       const Notice& notice, std::chrono::milliseconds deadline,
                                       const std::atomic<bool>& cancel);

class Notify {
 public:
  using Visitor = std::function<Result<void>(const Visit&)>;
  explicit Notify(Visitor visitor = visit);
  // Gives what is waiting two seconds, and ends within seven.
  ~Notify();
  Notify(const Notify&) = delete;
  Notify& operator=(const Notify&) = delete;

  // Returns at once. Of more than a thousand that wait the oldest are dropped, and that is logged.
  // What is not whole or fails in the same way at each run is told to webhooks and commands once a
  // day, and so is an overdue source; a ping is for each run. What one of them could not be told is
  // news for that one when it comes again.
  void tell(const std::vector<Notifier>& notifiers, const Notice& notice);

 private:
  [[nodiscard]] bool is_news(const Notifier& notifier, const Notice& notice) const;
  void remember(const Notifier& notifier, const Notice& notice);
  void forget(const Notifier& notifier, const Notice& notice);
  void tell_in_turn();
  [[nodiscard]] bool tell_one(const Notifier& notifier, const Notice& notice) const;

  const Visitor visitor_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<std::pair<Notifier, Notice>> queue_;
  // When what was told of sources that are not well: by name, then receiver, event and cause.
  std::map<std::string, std::map<std::string, Nanoseconds>> told_;
  bool telling_ = false;
  bool stop_ = false;
  std::atomic<bool> hurry_{false};
  std::thread thread_;
};

}  // namespace bygone::ingest
