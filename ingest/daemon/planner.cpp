// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/planner.h"

#include <algorithm>
#include <utility>

namespace bygone::ingest {
namespace {

// A container that was just made has nothing to save yet, and may be gone before.
constexpr Nanoseconds kSettle = 3 * kSecond;
constexpr Nanoseconds kFirstRetry = 30 * kSecond;
constexpr Nanoseconds kLongestRetry = 1800 * kSecond;
constexpr unsigned kPartlyTries = 3;  // after the first

Nanoseconds retry_after(unsigned failures) {
  Nanoseconds wait = kFirstRetry;
  for (unsigned i = 1; i < failures && wait < kLongestRetry; ++i) wait *= 2;
  return std::min(wait, kLongestRetry);
}

// Keys begin with the kind of a source, so that no group is called like one.
std::string unit_name(const PlannedSource& source) {
  return source.group.empty() ? source.key : "group/" + source.group;
}

}  // namespace

void Planner::set_sources(const std::vector<PlannedSource>& sources, Nanoseconds now) {
  std::map<std::string, Unit> before = std::exchange(units_, {});
  const std::map<std::string, Nanoseconds> begun = std::exchange(begun_, {});
  owner_.clear();
  first_seen_.clear();
  for (const PlannedSource& source : sources) {
    const std::string name = unit_name(source);
    Unit& unit = units_[name];
    unit.group = source.group;
    unit.keys.insert(source.key);
    if (source.schedule) {
      const std::string& seed_name = source.group.empty() ? source.key : name;
      unit.schedules.push_back(
          source.schedule->shifted(jitter_of(seed_, seed_name, source.jitter)));
    }
    owner_[source.key] = name;
    const auto known = begun.find(source.key);
    first_seen_[source.key] = source.first_seen;
    begun_[source.key] = known == begun.end() ? source.last_begun : known->second;
  }
  for (auto& [name, unit] : units_) {
    if (const auto old = before.find(name); old != before.end()) {
      unit.running = old->second.running;
      unit.failures = old->second.failures;
      unit.partly = old->second.partly;
      unit.retry_at = old->second.retry_at;
    }
    plan(unit, now);
  }
  // What runs and is gone still has a place among those that run, until it is finished.
  for (auto& [name, unit] : before) {
    if (!unit.running || units_.count(name) != 0) continue;
    unit.keys.clear();
    unit.schedules.clear();
    unit.next.reset();
    units_.emplace(name, std::move(unit));
  }
}

void Planner::plan(Unit& unit, Nanoseconds now) {
  unit.next.reset();
  if (unit.schedules.empty()) return;
  Nanoseconds since = now, seen = 0;
  for (const std::string& key : unit.keys) {
    Nanoseconds& begun = begun_[key];
    begun = std::min(begun, now);  // the clock went back
    since = std::min(since, begun);
    if (begun == 0) seen = std::max(seen, std::min(first_seen_[key], now));
  }
  if (since <= 0) {
    unit.next = seen + kSettle;  // a member that has no backup at all
  } else {
    for (const Schedule& schedule : unit.schedules) {
      const Nanoseconds next = schedule.next_after(since);
      if (!unit.next || next < *unit.next) unit.next = next;
    }
  }
  if (unit.failures == 0) return;
  unit.retry_at = std::min(unit.retry_at, now + kLongestRetry);
  // Its next time by schedule is taken if that comes first, but what is due at once (it has no
  // backup, or missed one) waits as all that failed do.
  unit.next = *unit.next <= now ? unit.retry_at : std::min(*unit.next, unit.retry_at);
}

std::vector<PlannedRun> Planner::take(Nanoseconds now) {
  std::vector<std::pair<Nanoseconds, Unit*>> due;
  for (auto& [name, unit] : units_) {
    if (unit.running) continue;
    // A time that lies further ahead than the clock of the last look could say is looked at anew.
    const bool went_back = std::any_of(unit.keys.begin(), unit.keys.end(),
                                       [&](const auto& key) { return begun_[key] > now; });
    if (went_back) plan(unit, now);
    if (unit.next && *unit.next <= now) due.emplace_back(*unit.next, &unit);
  }
  std::stable_sort(due.begin(), due.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<PlannedRun> runs;
  for (const auto& [at, unit] : due) {
    if (running_ >= at_once_) break;
    runs.push_back({unit->group, {unit->keys.begin(), unit->keys.end()}});
    unit->running = true;
    ++running_;
    for (const std::string& key : unit->keys) begun_[key] = now;
  }
  return runs;
}

void Planner::finished(const PlannedRun& run, RunOutcome outcome, Nanoseconds now) {
  const std::string name = run.group.empty() ? run.keys.front() : "group/" + run.group;
  const auto found = units_.find(name);
  if (found == units_.end() || !found->second.running) return;
  Unit& unit = found->second;
  unit.running = false;
  --running_;
  if (unit.keys.empty()) {
    units_.erase(found);
    return;
  }
  // Runs in which all failed froze nobody for nothing: they do not count.
  if (outcome == RunOutcome::partly) ++unit.partly;
  const bool enough = outcome == RunOutcome::partly && unit.partly > kPartlyTries;
  if (outcome == RunOutcome::done || enough) unit.partly = 0;
  unit.failures = outcome == RunOutcome::done || enough ? 0
                  : outcome == RunOutcome::put_off      ? std::max(unit.failures, 1U)
                                                        : unit.failures + 1;
  unit.retry_at = unit.failures == 0 ? 0 : now + retry_after(unit.failures);
  plan(unit, now);
}

std::optional<Nanoseconds> Planner::next(const std::string& key) const {
  const auto owner = owner_.find(key);
  if (owner == owner_.end()) return std::nullopt;
  const Unit& unit = units_.at(owner->second);
  return unit.running ? std::nullopt : unit.next;
}

bool Planner::is_running(const std::string& key) const {
  const auto owner = owner_.find(key);
  return owner != owner_.end() && units_.at(owner->second).running;
}

std::optional<Nanoseconds> Planner::wake() const {
  std::optional<Nanoseconds> first;
  for (const auto& [name, unit] : units_) {
    if (unit.running || !unit.next) continue;
    if (!first || *unit.next < *first) first = unit.next;
  }
  return first;
}

}  // namespace bygone::ingest
