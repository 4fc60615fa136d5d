// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/daemon.h"

#include <atomic>
#include <csignal>
#include <thread>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "cli/cancel.h"
#include "cli/options.h"
#include "cli/text.h"
#include "cli/thaw.h"
#include "ingest/config.h"
#include "ingest/container_claims.h"
#include "store/base/log.h"

namespace bygone::cli {
namespace {

// What a service manager allows before it kills: TimeoutStopSec of scripts/bygone.service is more.
constexpr std::chrono::seconds kPatience{9};
// While this process has a container stand still, or stops one: nobody else would start it again.
// What others hold, or have left, is not waited for. Less than TimeoutStopSec.
constexpr std::chrono::seconds kPatienceWithHeld{100};

// Takes SIGTERM, SIGINT and SIGHUP for a daemon, in a thread of its own. Made before all other
// threads, which do not see these signals then.
class DaemonSignals {
 public:
  DaemonSignals() {
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, &old_);
  }
  ~DaemonSignals() {
    end();
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }
  DaemonSignals(const DaemonSignals&) = delete;
  DaemonSignals& operator=(const DaemonSignals&) = delete;

  void watch(ingest::Daemon& daemon) {
    thread_ = std::thread([this, &daemon] { take_in_turn(daemon); });
  }
  // Before the daemon is destroyed.
  void end() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void take_in_turn(ingest::Daemon& daemon) {
    const timespec glance{0, 200'000'000};
    std::chrono::steady_clock::time_point asked;
    bool stopping = false;
    while (!ended_) {
      const int signal = sigtimedwait(&signals_, nullptr, &glance);
      if (signal == SIGHUP) daemon.reload();
      if ((signal == SIGTERM || signal == SIGINT) && !stopping) {
        stopping = true;
        asked = std::chrono::steady_clock::now();
        daemon.stop();
      }
      const auto waited = std::chrono::steady_clock::now() - asked;
      if (stopping && waited > kPatience &&
          (waited > kPatienceWithHeld || !ingest::container_claims().any())) {
        log::error(
            "a backup does not end; what it may have left frozen is resumed, and the post hooks "
            "that it owes are run, by bygone thaw");
        _exit(static_cast<int>(Exit::failed));
      }
    }
  }

  sigset_t signals_{}, old_{};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

// Sets `runs` when it has begun to: it sees to what stops late, and to owed hooks, itself then.
Exit run_daemon(Context& context, bool& runs) {
  const auto read = context.configuration();
  if (!read.ok()) {
    return read.error().code == Code::invalid ? context.usage(read.error().message)
                                              : context.fail(read.error());
  }
  for (const ingest::Problem& problem : (*read)->problems) {
    log::warning(problem.where + ": " + problem.what);
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  DaemonSignals signals;
  ingest::Daemon daemon(*repository, {.config = (*read)->config,
                                      .read_config =
                                          [path = context.config_path()](auto& problems) {
                                            return ingest::load_config(path, problems);
                                          },
                                      .state_folder = ingest::default_state_folder(),
                                      .index_dir = Context::index_dir()});
  signals.watch(daemon);
  runs = true;
  const auto ended = daemon.run();
  signals.end();
  return ended.ok() ? Exit::done : context.fail(ended.error());
}

Exit daemon(Context& context) {
  if (!context.out.quiet())
    log::set_level(context.out.verbose() > 1 ? log::Level::debug : log::Level::info);
  thaw_first(context, ingest::Late::leave);
  bool runs = false;
  const Exit exit = run_daemon(context, runs);
  if (!runs) {
    thaw_first(context);
    const CancelOnSignal cancel;
    run_owed_hooks_first(context, cancel.flag());
  }
  return exit;
}

}  // namespace

Action add_daemon(CLI::App& app) {
  app.footer(
      "Runs in the foreground, for systemd or another service manager (scripts/bygone.service).\n"
      "SIGHUP reads the configuration again, SIGTERM ends it within ten seconds, or once\n"
      "containers that it is just stopping run again. What it does, and when it will, tells\n"
      "bygone status.\n\n"
      "Examples:\n"
      "  bygone daemon\n"
      "  bygone daemon --config ./bygone.yaml -v");
  return daemon;
}

}  // namespace bygone::cli
