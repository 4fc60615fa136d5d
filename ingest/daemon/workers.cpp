// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/workers.h"

#include <algorithm>
#include <utility>

#include "store/memory.h"

namespace bygone::ingest {
namespace {

// A session keeps prune from deleting what it may need.
constexpr std::chrono::minutes kLongestSession{5};

BackupOptions options_for(const BackupSetup& setup, const Policy& policy, Limiter* limiter,
                          const std::string& zone) {
  BackupOptions base;
  base.compression = setup.compression;
  base.zone = zone;
  base.clock = setup.clock;
  base.state_folder = setup.state_folder;
  base.off_limits = setup.off_limits;
  base.limiter = limiter;
  base.spare_processor = setup.spare_processor;
  return options_of(policy, std::move(base));
}

SourceOutcome outcome_of(const Source& source, Nanoseconds begun, Nanoseconds ended,
                         Result<BackupReport> report) {
  return {key_of(source), source.kind, source.host_id,    source.name,
          begun,          ended,       std::move(report), false};
}

// What may have broken the session, so that the next run shall not go on with it.
bool spoils_session(const Error& error) { return error.code != Code::busy; }

void note(const BackupSetup& setup, SourceOutcome& outcome, SessionKeeper& keeper) {
  if (!outcome.report.ok()) {
    if (spoils_session(outcome.report.error())) keeper.let_go();
    return;
  }
  BackupReport& report = *outcome.report;
  setup.history.add(report.snapshot);
  const auto remembered = store::remember(setup.repository, setup.state_folder, report.snapshot);
  if (!remembered.ok()) {
    report.warnings.push_back("this host does not remember the snapshot: " +
                              remembered.error().message);
  }
}

std::vector<SourceOutcome> back_up_group(const BackupSetup& setup, const Work& work,
                                         const std::vector<Planned>& known, SessionKeeper& keeper) {
  const Nanoseconds begun = setup.clock();
  std::vector<SourceOutcome> outcomes;
  const auto session = keeper.get();
  if (!session.ok()) {
    for (const Planned& one : known) {
      outcomes.push_back(outcome_of(one.source, begun, setup.clock(), session.error()));
    }
    return outcomes;
  }
  std::vector<GroupMember> members;
  members.reserve(known.size());
  for (const Planned& one : known) {
    members.push_back(
        {one.source, options_for(setup, one.policy, work.limiter.get(), work.config->zone)});
  }
  auto reports =
      backup_group(**session, members, work.run.group, work.engine.get(), {}, setup.cancel);
  for (std::size_t i = 0; i < known.size(); ++i) {
    outcomes.push_back(outcome_of(known[i].source, begun, setup.clock(), std::move(reports[i])));
    note(setup, outcomes.back(), keeper);
  }
  return outcomes;
}

// Whether it failed because it is not there any more, be it that another container has its name by
// now; a part of it that is missing is an error. `tried` is what was backed up.
bool went_meanwhile(const BackupSetup& setup, const Work& work, const Planned& tried,
                    const Result<BackupReport>& report) {
  if (report.ok() || report.error().code != Code::not_found) return false;
  const auto now =
      look_again({tried}, *work.config, work.engine.get(), setup.history.parent_names());
  return now.ok() &&
         (now->empty() || now->front().source.container_id != tried.source.container_id);
}

}  // namespace

Result<store::Session*> SessionKeeper::get() {
  const auto now = std::chrono::steady_clock::now();
  if (session_ && now - begun_ > kLongestSession) session_.reset();
  if (!session_) {
    session_ = TRY(store::Session::begin(setup_.repository, setup_.compression));
    begun_ = now;
  }
  return session_.get();
}

SourceOutcome back_up_one(const BackupSetup& setup, const Planned& known, docker::Engine* engine,
                          Limiter* limiter, const std::string& zone, SessionKeeper& keeper) {
  const Nanoseconds begun = setup.clock();
  const auto session = keeper.get();
  auto report = session.ok()
                    ? backup(**session, known.source, engine,
                             options_for(setup, known.policy, limiter, zone), {}, setup.cancel)
                    : Result<BackupReport>(session.error());
  SourceOutcome outcome = outcome_of(known.source, begun, setup.clock(), std::move(report));
  note(setup, outcome, keeper);
  return outcome;
}

std::vector<SourceOutcome> back_up(const BackupSetup& setup, const Work& work,
                                   SessionKeeper& keeper) {
  const Nanoseconds begun = setup.clock();
  auto now =
      look_again(work.sources, *work.config, work.engine.get(), setup.history.parent_names());
  std::vector<SourceOutcome> outcomes;
  if (now.ok() && !now->empty()) {
    if (work.run.group.empty()) {
      outcomes.push_back(back_up_one(setup, now->front(), work.engine.get(), work.limiter.get(),
                                     work.config->zone, keeper));
    } else {
      outcomes = back_up_group(setup, work, *now, keeper);
    }
  }
  for (const Planned& known : work.sources) {
    const std::string key = key_of(known.source);
    const auto done = std::find_if(outcomes.begin(), outcomes.end(),
                                   [&](const SourceOutcome& one) { return one.key == key; });
    if (done != outcomes.end()) {
      const auto tried = std::find_if(
          now->begin(), now->end(), [&](const Planned& one) { return key_of(one.source) == key; });
      CHECK(tried != now->end());  // only what was found was backed up
      done->is_gone = went_meanwhile(setup, work, *tried, done->report);
      continue;
    }
    outcomes.push_back(
        outcome_of(known.source, begun, setup.clock(),
                   now.ok() ? Error{Code::not_found, 0, "it is gone"} : now.error()));
    outcomes.back().is_gone = now.ok();
  }
  return outcomes;
}

Workers::Workers(const BackupSetup& setup, Finished finished)
    : setup_(setup), finished_(std::move(finished)) {}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::begin(Work work) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(work));
  if (queue_.size() > threads_.size() - busy_) threads_.emplace_back([this] { work_in_turn(); });
  changed_.notify_one();
}

void Workers::work_in_turn() {
  SessionKeeper keeper(setup_);
  std::unique_lock lock(mutex_);
  for (;;) {
    if (queue_.empty() && !stop_) {
      // Nothing follows at once: whoever prunes need not wait for an idle thread.
      lock.unlock();
      keeper.let_go();
      lock.lock();
      changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    }
    if (stop_) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    ++busy_;
    lock.unlock();
    auto outcomes = back_up(setup_, work, keeper);
    finished_(work.run, std::move(outcomes));
    lock.lock();
    --busy_;
  }
}

}  // namespace bygone::ingest
