// SPDX-License-Identifier: Apache-2.0
//
// When holders are made and removed: listens to the engine in a thread of its own, has the data of
// each container that wants it held as soon as the container is made, captured once it is gone, and
// let go. After a lost stream, and at its start, it looks at everything: holders of an earlier
// daemon are found and dealt with. What cannot be held or captured is told once, and tried again
// every half minute; what is held stays so meanwhile. The methods may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "ingest/capture_record.h"
#include "ingest/docker/engine.h"
#include "ingest/holder.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct EphemeralWork {
  std::function<Result<std::unique_ptr<docker::Engine>>()> connect;
  // Whether policy wants a container backed up at all; called for those that would be held.
  std::function<bool(const docker::Container& container)> wanted;
  // Backs a container up that is gone, as a rule by held_source() and backup(); one at a time, in
  // a thread of its own. An error has it called again later, but for not_found when the engine has
  // none of its volumes any more.
  // What is captured partly stays held, and is left to people. Nothing is captured twice.
  std::function<Result<HeldCapture>(docker::Engine& engine, const docker::Container& container,
                                    const std::atomic<bool>& cancel)>
      capture;
  // Data that is in no snapshot, and may be lost: for the log, and for whoever is to know. Of a
  // container once until it is well again, and once more when nothing is left to try.
  std::function<void(const std::string& container, const std::string& why)> failed;
  std::function<void(const std::string& line)> warn;  // for the log
  std::string state_folder;                           // where the CaptureRecord stands
  std::chrono::milliseconds retry_after{30'000};      // of what failed
};

class Ephemeral {
 public:
  explicit Ephemeral(EphemeralWork work);
  // Cancels a capture, and waits for it. What is held stays held, for the next one.
  ~Ephemeral();
  Ephemeral(const Ephemeral&) = delete;
  Ephemeral& operator=(const Ephemeral&) = delete;

  // Nothing that is gone waits for its capture, as far as was heard since the first look.
  [[nodiscard]] bool is_settled() const;

 private:
  void listen();
  Result<void> listen_once();
  void take(const docker::Event& event);
  void look_at_everything(docker::Engine& engine);
  void hold_in_turn();
  void hold(docker::Engine& engine, const std::string& id);
  void not_held(const std::string& id);
  void well(const std::string& id);
  void fail(const std::string& id, const std::string& container, const std::string& why);
  void capture_in_turn();
  void capture_ended(docker::Engine& engine);
  void capture(docker::Engine& engine, const Held& held);
  void release(docker::Engine& engine, const Held& held);
  void told_if_not_kept(const Result<void>& written);
  void tidy_up(docker::Engine& engine);
  void want_look();
  std::shared_ptr<docker::Engine> engine() const;

  const EphemeralWork work_;
  CaptureRecord record_;         // of the capturing thread alone, as the next two
  bool told_not_kept_ = false;   // that the record cannot be written
  bool looked_at_held_ = false;  // once
  std::atomic<bool> stop_{false};
  std::shared_mutex image_;   // held while the holders' image is used, alone while it is removed
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::shared_ptr<docker::Engine> engine_;
  std::deque<std::string> to_hold_;  // ids of containers
  std::set<std::string> not_held_;   // that are to be tried again
  std::set<std::string> failed_;     // that were told of
  std::size_t holding_ = 0;
  bool look_ = false;  // at what is held and gone
  bool capturing_ = false;
  bool looked_ = false;  // once at least
  std::vector<std::thread> threads_;
};

}  // namespace bygone::ingest
