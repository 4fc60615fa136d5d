// SPDX-License-Identifier: Apache-2.0
#include "ingest/freeze.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "ingest/at_once.h"
#include "ingest/container_claims.h"
#include "ingest/put_back.h"
#include "store/base/log.h"

namespace bygone::ingest {
namespace {

using docker::Engine;
using docker::Paused;
using docker::Status;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Engines refuse a pause now and then under heavy I/O ("unable to freeze").
constexpr int kPauseAttempts = 4;
constexpr milliseconds kFirstWait{50};  // doubles with every attempt
// How long a pause that nobody waits for any more may take to show: an engine that works on one
// answers no other question about the container, so this covers only what it has yet to read.
constexpr milliseconds kLatePause{300};

std::string quoted(const FreezeRecord::Container& container) {
  return "container '" + printable(container.name) + "'";
}

}  // namespace

Freezer::Freezer(Engine& engine, std::string state_folder, Clock clock)
    : engine_(engine), state_folder_(std::move(state_folder)), clock_(std::move(clock)) {}

Freezer::~Freezer() {
  const auto resumed = resume_all();
  if (!resumed) log::error(resumed.error().message);
  container_claims().give(claimed_);
}

Result<void> Freezer::freeze(const std::vector<Writer>& writers, milliseconds deadline,
                             const std::set<std::string>& to_stop) {
  deadline_ = steady_clock::now() + deadline;
  if (!members_.empty() || journal_.is_open()) {
    return Error{Code::busy, 0, "freezing containers: those of an earlier freeze are not thawed"};
  }
  std::set<std::string> ids;
  for (const Writer& writer : writers) ids.insert(writer.id);
  TRY(container_claims().take(ids, deadline_));
  claimed_ = std::move(ids);
  auto frozen = freeze_claimed(writers, deadline, to_stop);
  if (members_.empty()) container_claims().give(std::exchange(claimed_, {}));
  return frozen;
}

Result<void> Freezer::freeze_claimed(const std::vector<Writer>& writers, milliseconds deadline,
                                     const std::set<std::string>& to_stop) {
  deadline_ = steady_clock::now() + deadline;
  auto prepared = prepare(writers, to_stop);
  if (!prepared) {
    members_.clear();
    return prepared;
  }
  const bool stops = !to_stop.empty();
  if (stops) begun_ = clock_();
  for_each_at_once(members_, [&](Member& member) { stop(member); });
  deadline_ = steady_clock::now() + deadline;
  const bool stopped = std::none_of(members_.begin(), members_.end(), [](const Member& member) {
    return member.failure.has_value();
  });
  std::atomic<bool> give_up{!stopped};
  first_pause_ = clock_();
  if (!stops) begun_ = first_pause_;
  for_each_at_once(members_, [&](Member& member) { pause(member, deadline_, give_up); });
  frozen_at_ = clock_();
  skew_ = journal_.is_open() ? std::max<Nanoseconds>(0, frozen_at_ - first_pause_) : 0;
  window_ = 0;

  for (const Member& member : members_) {
    if (member.failure) return undo(*member.failure);
  }
  auto settled = settle_journal();
  if (!settled) return undo(std::move(settled).error());
  return {};
}

// All that can be done before anything stands still.
Result<void> Freezer::prepare(const std::vector<Writer>& writers,
                              const std::set<std::string>& to_stop) {
  for (const Writer& writer : writers) {
    Member& member = members_.emplace_back();
    const bool stopped = to_stop.count(writer.id) > 0;
    member.container = {writer.id, writer.name, writer.started_at, stopped};
  }
  for_each_at_once(members_, [&](Member& member) {
    look(member);
    prepare_stop(member);
  });
  for (const Member& member : members_) {
    if (member.failure) return *member.failure;
  }
  return open_journal();
}

// Whom somebody else paused must not be in the journal, or a crash would resume it.
void Freezer::look(Member& member) {
  auto state = engine_.state(member.container.id);
  if (!state && state.error().code == Code::not_found) {
    member.hold = Member::Hold::ended;
  } else if (!state) {
    member.failure = std::move(state).error().with("freezing " + quoted(member.container));
  } else {
    member.container.started_at = state->started_at;
    const Status status = state->status;
    if (is_paused(*state)) {
      member.hold = Member::Hold::foreign;
    } else if (status == Status::created || status == Status::exited || status == Status::dead ||
               status == Status::restarting) {
      member.hold = Member::Hold::ended;
      member.crash_loop = status == Status::restarting;
    }
  }
}

void Freezer::prepare_stop(Member& member) {
  if (!member.container.stopped || member.failure || member.hold != Member::Hold::none) return;
  const auto container = engine_.container(member.container.id);
  if (!container) {
    member.failure = container.error();
  } else if (container->auto_remove) {
    member.failure = Error{Code::unsupported, 0, "it would be removed at its end (--rm)"};
  } else if (container->stop_timeout < std::chrono::seconds(0)) {
    member.failure = Error{Code::unsupported, 0, "it may take forever (its stop timeout is -1)"};
  } else {
    member.stop_timeout = container->stop_timeout;
    return;
  }
  member.failure = std::move(*member.failure).with("stopping " + quoted(member.container));
}

void Freezer::stop(Member& member) {
  if (!member.container.stopped || member.hold != Member::Hold::none) return;
  auto done = engine_.stop(member.container.id, member.stop_timeout);
  if (done || done.error().code == Code::not_found) {
    const bool ours = done && *done == docker::Stopped::stopped;
    member.hold = ours ? Member::Hold::ours : Member::Hold::ended;
    return;
  }
  member.hold = Member::Hold::unsure;
  member.failure = std::move(done).error().with("stopping " + quoted(member.container));
}

void Freezer::pause(Member& member, Deadline deadline, std::atomic<bool>& give_up) {
  if (member.hold != Member::Hold::none || member.container.stopped) return;
  milliseconds wait = kFirstWait;
  for (int attempt = 1; attempt <= kPauseAttempts && !give_up; ++attempt, wait *= 2) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0) break;
    auto done = engine_.pause(member.container.id, left);
    if (done || done.error().code == Code::not_found) {
      member.failure.reset();
      const bool tried = member.hold == Member::Hold::unsure;
      if (!done || *done == Paused::not_running || *done == Paused::restarting) {
        member.hold = Member::Hold::ended;
      } else {
        // After an attempt that failed, the pause that we find is the one that we asked for.
        const bool ours = *done == Paused::paused || tried;
        member.hold = ours ? Member::Hold::ours : Member::Hold::foreign;
      }
      return;
    }
    member.hold = Member::Hold::unsure;
    member.failure = std::move(done).error().with("freezing " + quoted(member.container));
    if (attempt < kPauseAttempts) std::this_thread::sleep_for(std::min(wait, left));
  }
  if (!member.failure && !give_up) {
    member.failure = Error{Code::cancelled, 0,
                           "freezing " + quoted(member.container) + ": the time for it is over"};
  }
  give_up = true;
}

FreezeRecord Freezer::record(Member::Hold hold) const {
  FreezeRecord record{.engine = engine_.address(), .time = clock_(), .containers = {}};
  for (const Member& member : members_) {
    if (member.hold == hold) record.containers.push_back(member.container);
  }
  return record;
}

std::set<std::string> Freezer::held() const {
  std::set<std::string> ids;
  for (const Member& member : members_) {
    if (member.hold == Member::Hold::ours) ids.insert(member.container.id);
  }
  return ids;
}

bool Freezer::all_stopped() const {
  return std::all_of(members_.begin(), members_.end(), [](const Member& member) {
    return !member.container.stopped || member.hold == Member::Hold::ours ||
           (member.hold == Member::Hold::ended && !member.crash_loop);
  });
}

Result<void> Freezer::open_journal() {
  const FreezeRecord intent = record(Member::Hold::none);
  if (intent.containers.empty()) return {};
  for (Member& member : members_) member.listed = member.hold == Member::Hold::none;
  auto journal = FreezeJournal::create(state_folder_, intent);
  if (!journal) return std::move(journal).error().with("writing the journal of a freeze");
  journal_ = std::move(*journal);
  return {};
}

// Somebody may have paused one between our look and our pause, or one may have ended before our
// stop: it leaves the journal at once.
Result<void> Freezer::settle_journal() {
  const bool as_written = std::none_of(members_.begin(), members_.end(), [](const Member& member) {
    const bool ended = member.container.stopped && member.hold == Member::Hold::ended;
    return member.listed && (member.hold == Member::Hold::foreign || ended);
  });
  if (as_written) return {};
  const FreezeRecord ours = record(Member::Hold::ours);
  auto settled = ours.containers.empty() ? journal_.remove() : journal_.replace(ours);
  if (!settled) return std::move(settled).error().with("writing the journal of a freeze");
  return {};
}

void Freezer::resume(Member& member) {
  if (member.hold != Member::Hold::ours && member.hold != Member::Hold::unsure) return;
  member.failure.reset();
  if (member.container.stopped) return start_again(member);
  auto was_paused = unpause(engine_, member.container.id);
  if (was_paused && !*was_paused && member.hold == Member::Hold::unsure) {
    std::this_thread::sleep_for(kLatePause);
    was_paused = unpause(engine_, member.container.id);
  }
  if (!was_paused) {
    member.failure = std::move(was_paused).error();
    return;
  }
  member.lasted = *was_paused;
  member.hold = Member::Hold::none;
}

void Freezer::start_again(Member& member) {
  const bool unsure = member.hold == Member::Hold::unsure;
  const auto patience = unsure ? late_stop(member.stop_timeout) : milliseconds(0);
  auto started = start_stopped(engine_, member.container, patience);
  if (!started) {
    member.failure = std::move(started).error();
    return;
  }
  member.lasted = *started == StartedAgain::started;
  member.hold = Member::Hold::none;
}

// Resumes first and removes the journal last: a crash in between finds a journal about containers
// that run, which does no harm.
Result<void> Freezer::resume_all() {
  const bool any = journal_.is_open();
  for_each_at_once(members_, [&](Member& member) { resume(member); });
  if (any) window_ = std::max<Nanoseconds>(0, clock_() - begun_);
  for (Member& member : members_) {
    const bool held = member.hold == Member::Hold::ours || member.hold == Member::Hold::unsure;
    if (!held || !member.failure) continue;
    Error error = *member.failure;
    error.message += "; hint: run `bygone thaw`";
    return std::move(error).with(quoted(member.container) + (member.container.stopped
                                                                 ? " may be stopped still"
                                                                 : " may be frozen still"));
  }
  if (any) {
    auto removed = journal_.remove();
    if (!removed) return std::move(removed).error().with("removing the journal of a freeze");
  }
  return {};
}

Error Freezer::undo(Error cause) {
  auto resumed = resume_all();
  if (resumed) {
    members_.clear();
  } else {
    cause.message += "; then " + resumed.error().message;
  }
  return cause;
}

void Freezer::check_stayed(Member& member) {
  const bool foreign = member.hold == Member::Hold::foreign;
  if (!foreign && member.hold != Member::Hold::ended) return;
  const auto state = engine_.state(member.container.id);
  if (!state) {
    member.lasted = !foreign && state.error().code == Code::not_found;
    return;
  }
  const bool same_run = state->started_at == member.container.started_at;
  const bool runs = state->status == Status::running || is_paused(*state);
  member.lasted = same_run && (foreign ? is_paused(*state) : !runs);
}

Result<bool> Freezer::thaw() {
  TRY(resume_all());
  for_each_at_once(members_, [&](Member& member) { check_stayed(member); });
  const bool lasted = std::all_of(members_.begin(), members_.end(),
                                  [](const Member& member) { return member.lasted; });
  members_.clear();
  container_claims().give(std::exchange(claimed_, {}));
  return lasted;
}

namespace {

struct Found {
  FreezeRecord::Container container;
  bool was_paused = false;
  bool was_stopped = false;
  bool is_late = false;  // it may be stopped yet
  std::optional<Error> failure;
};

// Looks twice: what was asked for just before the process died may take hold late. A container that
// was started anew has lost our pause; if it is paused now, somebody else did that.
void put_back(Engine& engine, Found& found, Late late) {
  if (found.container.stopped) {
    auto started = start_found(engine, found.container, late);
    if (!started) {
      found.failure = std::move(started).error();
    } else {
      found.was_stopped = *started == StartedAgain::started;
      // Held by a backup of ours it may end once that lets go of it, however long that takes.
      found.is_late = *started == StartedAgain::held ||
                      (*started == StartedAgain::runs_yet && late == Late::leave);
    }
    return;
  }
  for (const bool again : {false, true}) {
    if (again) std::this_thread::sleep_for(kLatePause);
    auto state = engine.state(found.container.id);
    if (!state) {
      if (state.error().code != Code::not_found) found.failure = std::move(state).error();
      return;
    }
    const std::string& started_at = found.container.started_at;
    if (!started_at.empty() && state->started_at != started_at) return;
    if (is_paused(*state)) {
      auto was_paused = unpause(engine, found.container.id);
      if (was_paused)
        found.was_paused = *was_paused;
      else
        found.failure = std::move(was_paused).error();
      return;
    }
    if (state->status != Status::running) return;
  }
}

Result<FreezeRecord> read_journal(const FreezeJournal& journal, const Engine& engine) {
  auto record = journal.read();
  if (!record) {
    Error error = std::move(record).error();
    if (error.code == Code::corrupt) {
      error.message += "; hint: `docker unpause` what it names, then remove it";
    }
    return error;
  }
  if (is_same_engine(record->engine, engine.address())) return record;
  const std::string other = printable(record->engine);
  return Error{Code::unavailable, 0,
               fmt::format("it is about the Docker engine {}, and this one is {}; hint: run "
                           "DOCKER_HOST={} bygone thaw",
                           other, printable(engine.address()), other)};
}

Result<void> thaw_journal(Engine& engine, const std::string& path, Late late,
                          std::vector<Thawed>& thawed) {
  FreezeJournal journal = TRY(FreezeJournal::adopt(path));
  if (!journal.is_open()) return {};
  std::vector<Found> all;
  for (auto& container : TRY(read_journal(journal, engine)).containers) {
    all.emplace_back().container = std::move(container);
  }
  for_each_at_once(all, [&](Found& found) { put_back(engine, found, late); });
  std::optional<Error> failure;
  bool any_late = false;
  for (Found& found : all) {
    any_late = any_late || found.is_late;
    if (found.is_late) continue;
    if (!found.failure) {
      thawed.push_back({found.container.name, found.was_paused, found.was_stopped});
    } else if (!failure) {
      failure = std::move(*found.failure).with("resuming " + quoted(found.container));
    }
  }
  if (failure) return *failure;
  return any_late ? Result<void>() : journal.remove();
}

}  // namespace

bool has_journals(const std::string& state_folder) {
  const auto journals = intent_journals(freeze_folder(state_folder));
  return !journals.ok() || !journals->empty();
}

bool has_dead_journals(const std::string& state_folder) {
  return has_dead_journal(freeze_folder(state_folder));
}

Result<std::vector<Thawed>> thaw_dead_journals(Engine& engine, const std::string& state_folder,
                                               Late late) {
  struct Dead {
    std::string path;
    std::vector<Thawed> thawed;
    std::optional<Error> failure;
  };
  const std::string folder = freeze_folder(state_folder);
  TRY(remove_unfinished_journals(folder));
  std::vector<Dead> all;
  for (std::string& path : TRY(intent_journals(folder))) all.push_back({std::move(path), {}, {}});
  for_each_at_once(all, [&](Dead& dead) {
    auto done = thaw_journal(engine, dead.path, late, dead.thawed);
    if (!done) dead.failure = std::move(done).error();
  });
  std::vector<Thawed> thawed;
  std::optional<Error> failure;
  for (Dead& dead : all) {
    thawed.insert(thawed.end(), dead.thawed.begin(), dead.thawed.end());
    if (!dead.failure || failure) continue;
    failure = std::move(*dead.failure).with("thawing by freeze journal " + printable(dead.path));
  }
  if (!failure) return thawed;
  std::string names;
  for (const Thawed& one : thawed) {
    if (one.was_paused || one.was_stopped)
      names += (names.empty() ? "resumed " : ", ") + printable(one.container);
  }
  return names.empty() ? *failure : std::move(*failure).with(names + ", but");
}

}  // namespace bygone::ingest
