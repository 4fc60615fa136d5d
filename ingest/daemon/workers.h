// SPDX-License-Identifier: Apache-2.0
//
// Threads that back up what the planner gives out, each with a session of its own that it keeps
// while one run follows on another. What a run came to is handed to a callback. The methods are for
// one thread; they do not wait for backups.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ingest/backup.h"
#include "ingest/daemon/history.h"
#include "ingest/daemon/inventory.h"
#include "ingest/daemon/planner.h"
#include "store/session.h"

namespace bygone::ingest {

// What all backups of the daemon share; outlives them.
struct BackupSetup {
  store::Repository& repository;
  History& history;
  const std::atomic<bool>& cancel;
  std::string state_folder;
  std::vector<std::pair<std::string, std::string>> off_limits;
  store::Compression compression = store::Compression::standard;
  Clock clock = system_now;
  SpareProcessor* spare_processor = nullptr;
};

// A session that is kept from one run to the next, for a while. One thread.
class SessionKeeper {
 public:
  explicit SessionKeeper(const BackupSetup& setup) : setup_(setup) {}
  // Errors: those of Session::begin().
  Result<store::Session*> get();
  void let_go() { session_.reset(); }

 private:
  const BackupSetup& setup_;
  std::unique_ptr<store::Session> session_;
  std::chrono::steady_clock::time_point begun_;
};

struct SourceOutcome {
  std::string key;
  store::SourceKind kind = store::SourceKind::folder;
  std::string host_id, name;
  Nanoseconds begun = 0, ended = 0;
  Result<BackupReport> report;
  bool is_gone = false;  // or not wanted any more: there is nothing to back up
};

struct Work {
  PlannedRun run;
  std::vector<Planned> sources;  // as they were seen last
  std::shared_ptr<docker::Engine> engine;
  std::shared_ptr<const Config> config;
  std::shared_ptr<Limiter> limiter;
};

// Backs up one source, or a group, as it is now. An outcome for each source of `work`.
[[nodiscard]] std::vector<SourceOutcome> back_up(const BackupSetup& setup, const Work& work,
                                                 SessionKeeper& keeper);
// Backs up `known` as it is given, by its policy.
[[nodiscard]] SourceOutcome back_up_one(const BackupSetup& setup, const Planned& known,
                                        docker::Engine* engine, Limiter* limiter,
                                        const std::string& zone, SessionKeeper& keeper);

class Workers {
 public:
  using Finished = std::function<void(const PlannedRun&, std::vector<SourceOutcome>)>;
  // `finished` is called from the workers' threads.
  Workers(const BackupSetup& setup, Finished finished);
  // Waits for what runs: set the setup's `cancel` before.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void begin(Work work);

 private:
  void work_in_turn();

  const BackupSetup& setup_;
  const Finished finished_;
  std::mutex mutex_;  // guards all below but threads_
  std::condition_variable changed_;
  std::deque<Work> queue_;
  std::size_t busy_ = 0;  // threads that back something up
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bygone::ingest
