// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/daemon.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ingest/daemon/report.h"
#include "ingest/prepare.h"
#include "store/base/log.h"
#include "store/memory.h"
#include "store/slots.h"

namespace bygone::ingest {
namespace {

// The clock is looked at this often: it may leap.
constexpr std::chrono::milliseconds kLongestSleep{2'000};
// What is gone is remembered this long, for the case that it comes back,
constexpr Nanoseconds kRememberGone = 7 * kDay;
// and at most so many, for a host may run a thousand containers an hour.
constexpr std::size_t kMostGone = 1000;
// Who could not be told that a source is overdue is told with the next try; others hear of it once
// a day (notify.h).
constexpr Nanoseconds kTellOverdue = 600 * kSecond;

std::uint64_t jitter_seed(const RepositoryId& id) {
  std::uint64_t seed = 0;
  std::memcpy(&seed, id.bytes.data(), sizeof seed);
  return seed;
}

}  // namespace

Daemon::Daemon(store::Repository& repository, DaemonOptions options)
    : repository_(repository),
      options_(std::move(options)),
      history_(repository),
      spare_processor_(Surroundings::real().processors),
      setup_{.repository = repository,
             .history = history_,
             .cancel = cancel_,
             .state_folder = options_.state_folder,
             .off_limits = off_limits(repository, options_.index_dir),
             .compression = options_.compression,
             .clock = options_.clock,
             .spare_processor = &spare_processor_},
      config_(std::make_shared<const Config>(options_.config)),
      limiter_(std::make_shared<Limiter>(config_->limit_read)),
      seed_(jitter_seed(repository.id())),
      planner_(seed_) {}

Daemon::~Daemon() { cancel_ = true; }

void Daemon::post(std::function<void()> message) {
  const std::lock_guard lock(mutex_);
  inbox_.push_back(std::move(message));
  changed_.notify_all();
}

void Daemon::stop() {
  cancel_ = true;
  const std::lock_guard lock(mutex_);
  stop_ = true;
  changed_.notify_all();
}

// With the keys of before a rotation nothing goes well again. A service manager starts the program
// anew, which has the secret; this one no longer does.
void Daemon::end_if_rotated(const Error& error) {
  if (end_ || !store::keys_were_rotated(repository_, error)) return;
  log::error("the keys of the repository were rotated: this daemon ends, to be started again");
  end_ = error;
  stop();
}

void Daemon::reload() {
  post([this] { reread_config(); });
}

std::shared_ptr<const Config> Daemon::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

// Sleeps until something happened, or is to happen.
void Daemon::wait_for_messages() {
  auto sleep = kLongestSleep;
  if (const auto wake = planner_.wake(); wake && planner_.running() < config()->at_once) {
    const Nanoseconds left = std::max<Nanoseconds>(*wake - options_.clock(), 0);
    sleep = std::min(sleep, std::chrono::milliseconds(left / 1'000'000 + 1));
  }
  if (const auto watchdog = service_.watchdog(); watchdog.count() > 0) {
    sleep = std::min(sleep, watchdog);
  }
  std::deque<std::function<void()>> messages;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, sleep, [&] { return stop_ || !inbox_.empty(); });
    messages.swap(inbox_);
  }
  for (const auto& message : messages) message();
}

std::shared_ptr<Limiter> Daemon::limiter() const {
  const std::lock_guard lock(mutex_);
  return limiter_;
}

std::unique_ptr<Watch> Daemon::start_watch() {
  return std::make_unique<Watch>(WatchWork{
      .connect = [this] { return docker::connect(engine_options(*config())); },
      .connected =
          [this](const auto& engine) {
            thaw(*engine);
            thaw_late();
            pay_hooks();
            post([this, engine] { engine_came(engine); });
          },
      .look = [this](docker::Engine& engine) { return look(engine); },
      .tick =
          [this](docker::Engine& engine) {
            // Of a backup that lost the engine while it had frozen something.
            thaw(engine);
            thaw_late();
            pay_hooks();
          },
      .lost = [this](const Error& error) { post([this, error] { engine_went(error); }); }});
}

// In the thread of watch_, each second: what cannot be helped is said once.
// Waits for nobody.
void Daemon::thaw(docker::Engine& engine) {
  const auto lines = thaw_leftovers(engine, options_.state_folder, Late::leave);
  for (const std::string& line : lines) {
    if (thaw_said_.count(line) == 0) log::warning(line);
  }
  thaw_said_ = {lines.begin(), lines.end()};
}

Result<void> Daemon::look(docker::Engine& engine) {
  const auto config = this->config();
  const auto listed = history_.refresh();
  if (!listed.ok()) log::warning("listing the repository's snapshots: " + listed.error().message);
  auto seen = plan(engine, {.all = true, .names = {}}, history_.parent_names(), *config);
  if (!seen.ok()) {
    log::warning("looking at Docker: " + seen.error().message);
    return std::move(seen).error();
  }
  for (Planned& folder : plan_folders(*config)) seen->push_back(std::move(folder));
  post([this, seen = std::move(*seen)] { take_sources(seen, true); });
  return {};
}

void Daemon::engine_came(const std::shared_ptr<docker::Engine>& engine) {
  engine_ = engine;
  log::info("connected to " + engine->address());
  ledger_.engine_error.clear();
  ledger_changed_ = true;
}

void Daemon::engine_went(const Error& error) {
  if (ledger_.engine_error == error.message) return;
  log::error("Docker cannot be reached: " + error.message);
  ledger_.engine_error = error.message;
  ledger_changed_ = true;
  engine_.reset();
  take_sources(plan_folders(*config()), false);
}

SourceState& Daemon::state_of(const Source& source) {
  const std::string key = key_of(source);
  const auto [place, is_new] = places_.try_emplace(key, ledger_.sources.size());
  if (is_new) {
    SourceState state;
    state.kind = source.kind;
    state.host_id = source.host_id.empty() ? machine_id() : source.host_id;
    state.name = source.name;
    ledger_.sources.push_back(std::move(state));
  }
  leave_future(ledger_.sources[place->second], options_.clock());
  return ledger_.sources[place->second];
}

// `with_engine`: what is missing is gone; else the engine is away, and its sources may be there.
void Daemon::take_sources(std::vector<Planned> sources, bool with_engine) {
  const Nanoseconds now = options_.clock();
  say_problems(problems_of(sources));
  keep_wanted(sources);
  part_namesakes(sources);
  known_.clear();
  std::vector<PlannedSource> planned;
  for (Planned& known : sources) {
    const std::string key = key_of(known.source);
    SourceState& state = state_of(known.source);
    const auto newest = history_.newest(key);
    if (!newest && state.good_instant != 0 && history_.is_complete()) {
      log::warning(spelled(state) + ": the repository has no snapshot of it any more");
      forget_good(state, now);
    }
    if (state.first_seen == 0) {
      state.first_seen = now;
      log::info(spelled(state) + " is taken up" +
                (known.policy.schedule ? ": " + known.policy.schedule->text()
                                       : std::string(", without a schedule")));
    }
    state.gone_since = 0;
    state.group = known.policy.group;
    state.jitter = known.policy.jitter;
    state.schedule = known.policy.schedule ? known.policy.schedule->text() : "";
    state.zone = known.policy.schedule ? known.policy.schedule->zone() : "UTC";
    if (newest) note_good(state, *newest);
    const Nanoseconds begun =
        state.last_error.empty() ? std::max(state.last_begun, state.good_begun) : state.good_begun;
    planned.push_back({.key = key,
                       .group = known.policy.group,
                       .schedule = known.policy.schedule,
                       .jitter = known.policy.jitter,
                       .last_begun = begun,
                       .first_seen = state.first_seen});
    known_.insert_or_assign(key, std::move(known));
  }
  for (SourceState& state : ledger_.sources) {
    const std::string key = source_key(state.kind, state.host_id, state.name);
    const bool here = known_.count(key) != 0;
    if (here || state.gone_since != 0) continue;
    if (!with_engine && state.kind != store::SourceKind::folder) continue;
    state.gone_since = now;
    lasting_said_.erase(key);
    log::info(spelled(state) + " is gone, or not wanted any more");
  }
  planner_.set_sources(planned, now);
  has_looked_ = true;
  ledger_changed_ = true;
}

// Each once, as long as it is there.
void Daemon::say_problems(const std::vector<std::string>& problems) {
  for (const std::string& problem : problems) {
    if (problems_said_.count(problem) == 0) log::warning(problem);
  }
  problems_said_ = {problems.begin(), problems.end()};
}

void Daemon::begin_due() {
  const auto config = this->config();
  planner_.set_at_once(config->at_once);
  for (PlannedRun& run : planner_.take(options_.clock())) {
    Work work{.run = run, .sources = {}, .engine = engine_, .config = config, .limiter = limiter()};
    for (const std::string& key : run.keys) {
      const auto known = known_.find(key);
      if (known != known_.end()) work.sources.push_back(known->second);
    }
    ledger_changed_ = true;
    workers_->begin(std::move(work));
  }
}

void Daemon::take_outcomes(const PlannedRun& run, const std::vector<SourceOutcome>& outcomes) {
  std::set<RunOutcome> all;
  for (const SourceOutcome& outcome : outcomes) all.insert(take_outcome(outcome));
  const bool any_done = all.empty() || all.count(RunOutcome::done) != 0;
  const RunOutcome whole = all.count(RunOutcome::failed) == 0
                               ? (any_done ? RunOutcome::done : RunOutcome::put_off)
                               : (any_done ? RunOutcome::partly : RunOutcome::failed);
  planner_.finished(run, whole, options_.clock());
  ledger_changed_ = true;
}

RunOutcome Daemon::take_outcome(const SourceOutcome& outcome) {
  Source named;
  named.kind = outcome.kind;
  named.host_id = outcome.host_id;
  named.name = outcome.name;
  SourceState& state = state_of(named);
  if (outcome.report.ok()) {
    const BackupReport& report = *outcome.report;
    note_report(state, outcome.begun, report);
    std::vector<std::string>& said = lasting_said_[key_of(named)];
    log_report(spelled(state), report, outcome.ended - outcome.begun, said);
    said = report.lasting;
    tell(notice_of(spelled(state), report));
    return RunOutcome::done;
  }
  const Error& error = outcome.report.error();
  if (error.code == Code::cancelled && cancel_) return RunOutcome::put_off;
  if (outcome.is_gone) {
    if (watch_) watch_->look_again();
    return RunOutcome::put_off;
  }
  if (error.code == Code::busy) {
    log::info(spelled(state) + ": " + error.message + "; it is tried again soon");
    return RunOutcome::put_off;
  }
  log::error(spelled(state) + ": not backed up: " + error.message);
  state.last_begun = outcome.begun;
  state.last_error = error.message;
  ++state.failures;
  tell(Notice::Event::failure, state, error.message);
  end_if_rotated(error);
  return RunOutcome::failed;
}

void Daemon::reread_config() {
  std::vector<Problem> problems;
  auto config = options_.read_config(problems);
  if (!config.ok()) {
    log::error("the configuration is not read again, the old one stays: " + config.error().message);
    return;
  }
  for (const Problem& problem : problems) log::warning(problem.where + ": " + problem.what);
  const bool new_limit = config->limit_read != this->config()->limit_read;
  {
    const std::lock_guard lock(mutex_);
    config_ = std::make_shared<const Config>(std::move(*config));
    if (new_limit) limiter_ = std::make_shared<Limiter>(config_->limit_read);
  }
  problems_said_.clear();
  lasting_said_.clear();
  serve_metrics();
  log::info("the configuration is read again");
  if (watch_) watch_->look_again();
}

void Daemon::look_for_overdue() {
  const Nanoseconds now = options_.clock();
  std::map<std::string, Nanoseconds> overdue;
  for (SourceState& state : ledger_.sources) {
    leave_future(state, now);
    if (!is_overdue(state, now)) continue;
    const std::string key = source_key(state.kind, state.host_id, state.name);
    const auto said = overdue_said_.find(key);
    const bool is_news = said == overdue_said_.end();
    if (is_news) log::error(spelled(state) + " is overdue: " + overdue_text(state));
    const bool tell_now = is_news || now < said->second || now - said->second >= kTellOverdue;
    if (tell_now) tell(Notice::Event::overdue, state, overdue_text(state));
    overdue[key] = tell_now ? now : said->second;
  }
  overdue_said_ = std::move(overdue);
}

void Daemon::keep_ledger() {
  const Nanoseconds now = options_.clock();
  const auto gone = std::count_if(ledger_.sources.begin(), ledger_.sources.end(),
                                  [](const SourceState& state) { return state.gone_since != 0; });
  const bool too_many = static_cast<std::size_t>(gone) > kMostGone;
  std::erase_if(ledger_.sources, [&](const SourceState& state) {
    return state.gone_since != 0 &&
           (too_many || state.good_instant == 0 || now - state.gone_since > kRememberGone);
  });
  std::sort(ledger_.sources.begin(), ledger_.sources.end(), [](const auto& a, const auto& b) {
    return source_key(a.kind, a.host_id, a.name) < source_key(b.kind, b.host_id, b.name);
  });
  places_.clear();
  for (std::size_t i = 0; i < ledger_.sources.size(); ++i) {
    SourceState& state = ledger_.sources[i];
    const std::string key = source_key(state.kind, state.host_id, state.name);
    places_[key] = i;
    state.next_run = planner_.next(key).value_or(0);
    state.running = planner_.is_running(key);
  }
  ledger_.written = now;
  const auto written = write_ledger(options_.state_folder, ledger_);
  if (!written.ok()) log::error("what is known is not kept: " + written.error().message);
  ledger_changed_ = false;
}

Result<void> Daemon::run() {
  const Fd lock = TRY(lock_daemon(options_.state_folder));
  auto ledger = read_ledger(options_.state_folder);
  if (ledger.ok()) {
    ledger_ = std::move(*ledger);
  } else if (ledger.error().code != Code::not_found) {
    log::warning(ledger.error().message + "; it is begun anew");
  }
  ledger_.repository = repository_.path();
  ledger_.engine_error.clear();  // of an earlier run; this one has not asked yet
  keep_ledger();
  const auto alarms = store::check_memory(repository_, options_.state_folder);
  if (!alarms.ok()) {
    log::warning("comparing the repository with what this host remembers of it: " +
                 alarms.error().message);
  } else {
    for (const std::string& alarm : *alarms) log::error(alarm);
  }
  workers_ = std::make_unique<Workers>(setup_, [this](const PlannedRun& run, auto outcomes) {
    // Shared, for a message may be copied.
    const auto kept = std::make_shared<std::vector<SourceOutcome>>(std::move(outcomes));
    post([this, run, kept] { take_outcomes(run, *kept); });
  });
  watch_ = start_watch();
  ephemeral_ = std::make_unique<Ephemeral>(ephemeral_work());
  serve_metrics();
  service_.tell("READY=1");
  for (;;) {
    wait_for_messages();
    {
      const std::lock_guard guard(mutex_);
      if (stop_) break;
    }
    service_.tell("WATCHDOG=1");
    begin_due();
    look_after_repository();
    // Not before the snapshots that others made meanwhile are known.
    if (has_looked_) look_for_overdue();
    if (metrics_ != nullptr) {
      std::string page = to_metrics(ledger_, options_.clock());
      const std::lock_guard guard(mutex_);
      metrics_page_ = std::move(page);
    }
    if (ledger_changed_) keep_ledger();
  }
  service_.tell("STOPPING=1");
  log::info("stopping");
  workers_.reset();
  ephemeral_.reset();
  watch_.reset();
  for (Chore* chore : {&late_, &owed_}) {
    if (chore->thread.joinable()) chore->thread.join();
  }
  if (upkeep_.joinable()) upkeep_.join();
  wait_for_messages();
  keep_ledger();
  return end_ ? Result<void>(*end_) : Result<void>();
}

}  // namespace bygone::ingest
