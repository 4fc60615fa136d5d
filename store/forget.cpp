// SPDX-License-Identifier: Apache-2.0
#include "store/forget.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "store/locks.h"
#include "store/snapshot_notes.h"

namespace bygone::store {
namespace {

Candidate candidate_of(const Snapshot& snapshot, const Notes& notes) {
  return {.id = snapshot.id,
          .previous = snapshot.previous,
          .sequence = snapshot.sequence,
          .instant = snapshot.instant,
          .zone = snapshot.zone,
          .partial = snapshot.partial,
          .pinned = is_pinned(notes, snapshot.id),
          .verified = verified_at(notes, snapshot.id).has_value(),
          .shrink_meant = shrink_is_meant(notes, snapshot.id),
          .tags = tags_of(notes, snapshot),
          .files = snapshot.files,
          .bytes = snapshot.bytes};
}

// All that the decision rests on, as of one moment.
struct Records {
  std::vector<Snapshot> live;
  std::vector<SnapshotId> unreadable;
  std::vector<std::string> damaged;
  std::vector<Nanoseconds> instants;  // of the trash too
  Notes notes;
};

Result<Records> read_records(Repository& repository) {
  const Fd lock = TRY(lock_names(repository.files(), repository.path(), Lock::shared));
  Records records;
  for (const SnapshotId& id : TRY(repository.snapshot_ids())) {
    auto snapshot = repository.snapshot(id);
    if (snapshot) {
      records.live.push_back(std::move(snapshot).value());
    } else if (needs_newer_key(snapshot.error())) {
      return std::move(snapshot).error();
    } else {
      records.unreadable.push_back(id);
      records.damaged.push_back(snapshot.error().message);
    }
  }
  for (const Snapshot& snapshot : TRY(repository.trashed_snapshots(&records.damaged))) {
    records.instants.push_back(snapshot.instant);
  }
  for (const Snapshot& snapshot : records.live) records.instants.push_back(snapshot.instant);
  records.notes = TRY(read_notes(repository));
  return records;
}

// The sources that lack a record which cannot be read, as far as a successor names it.
// `all`: there is one that nobody names.
std::set<SourceId> damaged_sources(const Records& records, bool& all) {
  std::set<SourceId> sources;
  for (const SnapshotId& id : records.unreadable) {
    const auto next = std::find_if(records.live.begin(), records.live.end(),
                                   [&](const Snapshot& each) { return each.previous == id; });
    if (next != records.live.end()) {
      sources.insert(next->source);
    } else {
      all = true;
    }
  }
  return sources;
}

Thinning judge(const ForgetPlan::Source& source, const RetentionRules& rules,
               const ForgetOptions& options, const Notes& notes, Nanoseconds now,
               const std::string& clock_doubt) {
  std::vector<Candidate> candidates;
  for (const Snapshot& snapshot : source.snapshots) {
    candidates.push_back(candidate_of(snapshot, notes));
  }
  Thinning first = thin(rules, candidates, now, clock_doubt);
  if (!options.accept_shrink || first.shrunk.empty()) return first;
  for (Candidate& each : candidates) each.shrink_meant = true;
  Thinning again = thin(rules, std::move(candidates), now, clock_doubt);
  again.shrunk = std::move(first.shrunk);  // for the caller to note
  return again;
}

void block(Thinning& thinning, const std::string& why) {
  thinning.blocked = why;
  for (Verdict& verdict : thinning.verdicts) verdict.keep = true;
}

// Into the order of the verdicts.
void arrange(ForgetPlan::Source& source) {
  std::unordered_map<SnapshotId, std::size_t, IdHash> place;
  for (std::size_t i = 0; i < source.thinning.verdicts.size(); ++i) {
    place.emplace(source.thinning.verdicts[i].id, i);
  }
  std::sort(source.snapshots.begin(), source.snapshots.end(),
            [&](const Snapshot& a, const Snapshot& b) { return place.at(a.id) < place.at(b.id); });
}

}  // namespace

Result<Fd> lock_forget(Files& files, const std::string& repository) {
  TRY(expect_lock_folders(files, repository));
  return lock_exclusively(files, repository + "/locks/forget", "forget",
                          "another forget is running", "--retry-lock 5m waits for it");
}

std::vector<Snapshot> ForgetPlan::let_go() const {
  std::vector<Snapshot> list;
  for (const Source& source : sources) {
    for (std::size_t i = 0; i < source.snapshots.size(); ++i) {
      if (!source.thinning.verdicts[i].keep) list.push_back(source.snapshots[i]);
    }
  }
  return list;
}

Result<ForgetPlan> plan_forgetting(Repository& repository, const RetentionRules& rules,
                                   const ForgetOptions& options) {
  if (rules.empty()) {
    return Error{Code::invalid, 0, "there is no rule that keeps anything; hint: --keep-daily 7"};
  }
  Records records = TRY(read_records(repository));
  if (records.notes.locked()) return *records.notes.locked();
  if (!records.notes.unreadable().empty()) {
    return Error{Code::corrupt, 0,
                 records.notes.unreadable().front() +
                     ": it may be a pin, so nothing is forgotten by rule; hint: bygone repair "
                     "notes moves a damaged note aside"};
  }
  const Nanoseconds now = options.clock();
  const std::string doubt = options.accept_clock ? "" : doubt_about_clock(records.instants, now);
  bool all_blocked = false;
  const auto blocked = damaged_sources(records, all_blocked);
  ForgetPlan plan;
  std::map<std::pair<std::string, SourceId>, ForgetPlan::Source> sources;
  for (Snapshot& snapshot : records.live) {
    if (!options.only.empty() && !options.only.contains(snapshot.source)) continue;
    auto& source = sources[{snapshot.display_name, snapshot.source}];
    source.snapshots.push_back(std::move(snapshot));
  }
  for (auto& [name, source] : sources) {
    source.thinning = judge(source, rules, options, records.notes, now, doubt);
    if (all_blocked || blocked.contains(name.second)) {
      block(source.thinning,
            "a record that may be of this source cannot be read; hint: bygone verify names it");
    }
    arrange(source);
    plan.sources.push_back(std::move(source));
  }
  plan.damaged = std::move(records.damaged);
  return plan;
}

}  // namespace bygone::store
