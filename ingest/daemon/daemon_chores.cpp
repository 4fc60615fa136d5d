// SPDX-License-Identifier: Apache-2.0
//
// What the daemon does beside backups by schedule: containers that vanish, forgetting and pruning,
// metrics, notices.
#include <unistd.h>

#include "ingest/daemon/daemon.h"
#include "ingest/daemon/gone.h"
#include "ingest/daemon/report.h"
#include "ingest/holder.h"
#include "ingest/owed_hooks.h"
#include "ingest/prepare.h"
#include "store/base/log.h"

namespace bygone::ingest {
namespace {

// Between two tries at what cannot be done yet.
constexpr std::chrono::seconds kChorePause{10};

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

EphemeralWork Daemon::ephemeral_work() {
  return {.connect = [this] { return docker::connect(engine_options(*config())); },
          .wanted =
              [this](const docker::Container& container) {
                Source source;
                source.kind = store::SourceKind::container;
                source.name = held_name(container);
                source.labels = container.labels;
                return judge(*config(), source).policy.enabled;
              },
          .capture = [this](docker::Engine& engine, const docker::Container& container,
                            const std::atomic<bool>&) { return capture_held(engine, container); },
          .failed = [this](const std::string& container,
                           const std::string& why) { tell_failure(container, why); },
          .warn = [](const std::string& line) { log::warning(line); },
          .state_folder = options_.state_folder,
          .retry_after = std::chrono::seconds(30)};
}

// In a thread of ephemeral_.
void Daemon::tell_failure(const std::string& container, const std::string& why) {
  log::error("container " + printable(container) + ": " + why);
  Notice notice;
  notice.event = Notice::Event::failure;
  notice.source = container;
  notice.message = why;
  tell(std::move(notice));
}

// In the thread of ephemeral_.
Result<HeldCapture> Daemon::capture_held(docker::Engine& engine,
                                         const docker::Container& container) {
  const auto config = this->config();
  Planned held;
  held.source =
      TRY(held_source(engine, container, history_.parent_names(),
                      [&](const Source& source) { return volumes_left_out(*config, source); }));
  held.policy = judge(*config, held.source).policy;
  // It is gone: nothing can be frozen, asked or run any more, and nothing needs to be.
  held.policy.wish = Wish::automatic;
  held.policy.pre.reset();
  held.policy.post.reset();
  held.policy.dump.kind = DumpWish::Kind::none;
  SessionKeeper keeper(setup_);
  const SourceOutcome outcome =
      back_up_one(setup_, held, &engine, limiter().get(), config->zone, keeper);
  if (!outcome.report.ok()) {
    post([this, error = outcome.report.error()] { end_if_rotated(error); });
    return outcome.report.error();
  }
  log_report(held.source.name + ", which has ended,", *outcome.report,
             outcome.ended - outcome.begun);
  tell(notice_of(held.source.name, *outcome.report));
  const bool loses = is_lost_by_release(container, held.source, outcome.report->unreadable);
  post([this, source = std::move(held.source), begun = outcome.begun, report = *outcome.report] {
    if (places_.count(key_of(source)) == 0) return;  // it was gone before anybody had seen it
    note_report(state_of(source), begun, report);
    ledger_changed_ = true;
  });
  return loses ? HeldCapture::partly : HeldCapture::whole;
}

// In the thread of watch_, unless it runs, or has run just now.
void Daemon::begin_chore(Chore& chore, std::function<void(docker::Engine& engine)> work) {
  const auto now = std::chrono::steady_clock::now();
  if (chore.runs || now - chore.begun < kChorePause) return;
  if (chore.thread.joinable()) chore.thread.join();
  chore.begun = now;
  chore.runs = true;
  chore.thread = std::thread([this, &chore, work = std::move(work)] {
    const auto engine = docker::connect(engine_options(*config()));
    if (engine.ok()) work(**engine);  // else there is a next time, and watch_ says why
    chore.runs = false;
  });
}

// What is stopping yet may take as long as its stop timeout says: others are backed up meanwhile.
void Daemon::thaw_late() {
  if (!has_dead_journals(options_.state_folder)) return;
  begin_chore(late_, [this](docker::Engine& engine) {
    const auto lines = thaw_leftovers(engine, options_.state_folder, Late::wait);
    for (const std::string& line : lines) {
      if (late_.said.count(line) == 0) log::warning(line);
    }
    late_.said = {lines.begin(), lines.end()};
  });
}

// A hook that hangs holds up nobody but backups of its container.
void Daemon::pay_hooks() {
  if (!has_owed_hooks(options_.state_folder)) return;
  begin_chore(owed_, [this](docker::Engine& engine) { run_owed(engine); });
}

// In the thread of owed_: what cannot be helped is said once.
void Daemon::run_owed(docker::Engine& engine) {
  std::set<std::string> said;
  for (const OwedHook& owed : run_owed_hooks(engine, options_.state_folder, cancel_)) {
    if (owed.fate == OwedHook::Fate::failed) {
      tell_failure(owed.container, owed.line);
      continue;
    }
    const std::string text = text_of(owed);
    if (owed_.said.count(text) == 0) log::warning(text);
    said.insert(text);
  }
  owed_.said = std::move(said);
}

// Where the configuration says so now.
void Daemon::serve_metrics() {
  const std::string place = config()->metrics;
  if (place == metrics_place_) return;
  metrics_.reset();
  metrics_place_ = place;
  if (place.empty()) return;
  auto server = MetricsServer::start(place, [this] {
    const std::lock_guard lock(mutex_);
    return metrics_page_;
  });
  if (server.ok()) {
    metrics_ = std::move(*server);
    log::info("metrics are served at " + place);
  } else {
    log::error(server.error().message);
    metrics_place_.clear();  // it may be free when somebody asks again
  }
}

// In the thread of upkeep_, where the configuration wants it. Without an engine nobody knows what
// is gone.
void Daemon::add_rules_of_gone(UpkeepWork& work, docker::Engine* engine,
                               const Config& config) const {
  if (engine == nullptr || !config.thin_gone) return;
  auto rules = rules_of_gone(repository_, history_.newest_of_all(), *engine, config);
  if (!rules.ok()) {
    log::warning("what is gone is not thinned this time: " + rules.error().message);
    return;
  }
  std::set<SourceId> here;
  for (const UpkeepWork::Rule& rule : work.rules) here.insert(rule.source);
  for (UpkeepWork::Rule& rule : *rules) {
    if (here.count(rule.source) == 0) work.rules.push_back(std::move(rule));
  }
}

// Once a day, and with each prune.
void Daemon::look_after_repository() {
  if (upkeep_runs_) return;
  const Nanoseconds now = options_.clock();
  const auto config = this->config();
  // Begins with what is to be the first day.
  for (Nanoseconds* last : {&ledger_.last_forget, &ledger_.last_prune}) {
    if (*last == 0 || *last > now) *last = now;
  }
  UpkeepWork work{.rules = {}, .prune = false, .clock = options_.clock};
  if (config->prune_schedule) {
    const Nanoseconds later = jitter_of(seed_, "prune", config->prune_jitter);
    work.prune = config->prune_schedule->shifted(later).next_after(ledger_.last_prune) <= now;
  }
  if (!work.prune && now - ledger_.last_forget < kDay) return;
  for (const auto& [key, known] : known_) {
    const auto newest = history_.newest(key);
    if (newest) work.rules.push_back({newest->source, known.policy.keep});
  }
  ledger_.last_forget = now;
  if (work.prune) ledger_.last_prune = now;
  ledger_changed_ = true;
  if (upkeep_.joinable()) upkeep_.join();
  upkeep_runs_ = true;
  upkeep_ = std::thread([this, config, engine = engine_, work = std::move(work)]() mutable {
    add_rules_of_gone(work, engine.get(), *config);
    const auto done = look_after(repository_, options_.state_folder, work, cancel_);
    std::string failure;
    if (!done.ok() && done.error().code != Code::cancelled) {
      const std::string text = "forgetting and pruning: " + done.error().message;
      if (done.error().code == Code::busy) {
        log::info(text + "; it waits for its next time");
      } else {
        log::error(text);
        failure = text;
      }
    }
    post([this, done, failure = std::move(failure)] {
      upkeep_runs_ = false;
      if (!done.ok()) end_if_rotated(done.error());
      if (failure.empty()) return;
      Notice notice;
      notice.event = Notice::Event::failure;
      notice.message = failure;
      tell(std::move(notice));
    });
  });
}

void Daemon::tell(Notice::Event event, const SourceState& state, const std::string& message) {
  Notice notice;
  notice.event = event;
  notice.source = spelled(state);
  notice.message = message;
  if (event == Notice::Event::overdue) notice.cause = "as before";  // how long it is does not count
  tell(std::move(notice));
}

void Daemon::tell(Notice notice) {
  const auto config = this->config();
  if (config->notify.empty()) return;
  notice.host = host_name();
  notice.time = options_.clock();
  notify_.tell(config->notify, notice);
}

}  // namespace bygone::ingest
