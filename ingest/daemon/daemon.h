// SPDX-License-Identifier: Apache-2.0
//
// The daemon: watches the engine, plans, backs up, forgets and prunes, and keeps the ledger. All
// decisions are made in the thread that calls run(); what other threads have to say is handed to it
// as a function. One Daemon a process.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ingest/config.h"
#include "ingest/daemon/history.h"
#include "ingest/daemon/inventory.h"
#include "ingest/daemon/ledger.h"
#include "ingest/daemon/metrics.h"
#include "ingest/daemon/notify.h"
#include "ingest/daemon/planner.h"
#include "ingest/daemon/service.h"
#include "ingest/daemon/upkeep.h"
#include "ingest/daemon/watch.h"
#include "ingest/daemon/workers.h"
#include "ingest/ephemeral.h"
#include "store/repository.h"

namespace bygone::ingest {

struct DaemonOptions {
  Config config;
  // Again, when asked to; as load_config().
  std::function<Result<Config>(std::vector<Problem>& problems)> read_config;
  std::string state_folder;
  std::string index_dir;  // where the repository's index stands elsewhere; empty
  store::Compression compression = store::Compression::standard;
  Clock clock = system_now;
};

class Daemon {
 public:
  // `repository` must outlive it.
  Daemon(store::Repository& repository, DaemonOptions options);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Until stop(): then abandons what runs, thaws, and returns. An engine that is away is waited
  // for. Errors: busy when another daemon runs with this state folder; io when that cannot be
  // written; denied when the keys were rotated since the repository was opened, and something that
  // a backup or the upkeep needs is sealed with newer ones: whoever started it starts it again.
  Result<void> run();
  // From any thread; return at once.
  void stop();
  void reload();

 private:
  // What the thread of watch_ has done in a thread of its own, for it may take long.
  struct Chore {
    std::thread thread;
    std::atomic<bool> runs{false};
    std::chrono::steady_clock::time_point begun{};
    std::set<std::string> said;  // of the chore's thread alone
  };

  void post(std::function<void()> message);
  void wait_for_messages();
  std::shared_ptr<const Config> config() const;
  std::shared_ptr<Limiter> limiter() const;
  std::unique_ptr<Watch> start_watch();
  Result<void> look(docker::Engine& engine);
  void thaw(docker::Engine& engine);
  void begin_chore(Chore& chore, std::function<void(docker::Engine& engine)> work);
  void thaw_late();
  void pay_hooks();
  void run_owed(docker::Engine& engine);

  void engine_came(const std::shared_ptr<docker::Engine>& engine);
  void engine_went(const Error& error);
  void take_sources(std::vector<Planned> sources, bool with_engine);
  void take_outcomes(const PlannedRun& run, const std::vector<SourceOutcome>& outcomes);
  RunOutcome take_outcome(const SourceOutcome& outcome);
  void begin_due();
  EphemeralWork ephemeral_work();
  void serve_metrics();
  void tell_failure(const std::string& container, const std::string& why);
  void end_if_rotated(const Error& error);
  Result<HeldCapture> capture_held(docker::Engine& engine, const docker::Container& container);
  void look_after_repository();
  void add_rules_of_gone(UpkeepWork& work, docker::Engine* engine, const Config& config) const;
  void reread_config();
  SourceState& state_of(const Source& source);
  void say_problems(const std::vector<std::string>& problems);
  void look_for_overdue();
  void tell(Notice::Event event, const SourceState& state, const std::string& message);
  void tell(Notice notice);  // sets host and time; from any thread
  void keep_ledger();

  store::Repository& repository_;
  const DaemonOptions options_;
  const Service service_;
  History history_;
  std::atomic<bool> cancel_{false};
  SpareProcessor spare_processor_;
  BackupSetup setup_;

  mutable std::mutex mutex_;  // guards all up to metrics_page_
  std::condition_variable changed_;
  std::deque<std::function<void()>> inbox_;
  bool stop_ = false;
  std::shared_ptr<const Config> config_;
  std::shared_ptr<Limiter> limiter_;
  std::string metrics_page_;

  // Of the thread in run() alone.
  const std::uint64_t seed_;  // of jitter
  Planner planner_;
  Ledger ledger_;
  std::map<std::string, std::size_t> places_;  // in the ledger, by key
  std::map<std::string, Planned> known_;       // by key
  std::shared_ptr<docker::Engine> engine_;     // nullptr: away
  Notify notify_;
  std::set<std::string> problems_said_;
  // Lasting warnings of the last report, by key.
  std::map<std::string, std::vector<std::string>> lasting_said_;
  std::set<std::string> thaw_said_;                  // of the thread of watch_ alone
  Chore late_;                                       // starts again what stops late
  Chore owed_;                                       // runs owed hooks
  std::map<std::string, Nanoseconds> overdue_said_;  // when last
  bool ledger_changed_ = true;
  bool has_looked_ = false;   // at the sources, once
  std::optional<Error> end_;  // why it ends, when nobody asked it to
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<Ephemeral> ephemeral_;
  std::unique_ptr<MetricsServer> metrics_;
  std::string metrics_place_;  // where it serves
  std::thread upkeep_;
  bool upkeep_runs_ = false;
};

}  // namespace bygone::ingest
