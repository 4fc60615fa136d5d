// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/upkeep.h"

#include <map>
#include <set>
#include <tuple>

#include <fmt/core.h>

#include "store/base/log.h"
#include "store/fold_notes.h"
#include "store/forget.h"
#include "store/memory.h"
#include "store/prune.h"
#include "store/trash.h"

namespace bygone::ingest {
namespace {

auto comparable(const store::RetentionRules& rules) {
  return std::tuple(rules.last, rules.hourly, rules.daily, rules.weekly, rules.monthly,
                    rules.yearly, rules.within, rules.tags);
}

// Sources with the same rules are looked at together: each look reads every record.
struct SameRules {
  store::RetentionRules keep;
  std::set<SourceId> sources;
};

std::vector<SameRules> by_rules(const std::vector<UpkeepWork::Rule>& rules) {
  std::map<decltype(comparable({})), SameRules> sorted;
  for (const UpkeepWork::Rule& rule : rules) {
    if (rule.keep.empty()) continue;
    SameRules& same = sorted[comparable(rule.keep)];
    same.keep = rule.keep;
    same.sources.insert(rule.source);
  }
  std::vector<SameRules> list;
  list.reserve(sorted.size());
  for (auto& [key, same] : sorted) list.push_back(std::move(same));
  return list;
}

Result<void> forget(store::Repository& repository, const UpkeepWork& work,
                    const std::atomic<bool>& cancel) {
  const std::vector<SameRules> all = by_rules(work.rules);
  if (all.empty()) return {};
  const Fd lock = TRY(store::lock_forget(repository.files(), repository.path()));
  std::size_t forgotten = 0;
  for (const SameRules& same : all) {
    if (cancel) return Error{Code::cancelled, 0, "cancelled"};
    const auto plan = TRY(
        store::plan_forgetting(repository, same.keep, {.clock = work.clock, .only = same.sources}));
    for (const std::string& line : plan.damaged) log::error(line);
    for (const auto& source : plan.sources) {
      if (source.thinning.blocked.empty() || source.snapshots.empty()) continue;
      log::warning(source.snapshots.front().display_name +
                   ": nothing is forgotten: " + source.thinning.blocked);
    }
    std::vector<SnapshotId> ids;
    for (const store::Snapshot& snapshot : plan.let_go()) ids.push_back(snapshot.id);
    forgotten += TRY(store::move_to_trash(repository, ids, work.clock()))
    .done.size();
  }
  if (forgotten > 0) log::info(fmt::format("forgot {} snapshots: moved to the trash", forgotten));
  return {};
}

}  // namespace

Result<void> look_after(store::Repository& repository, const std::string& state_folder,
                        const UpkeepWork& work, const std::atomic<bool>& cancel) {
  const auto alarms = TRY(store::check_memory(repository, state_folder));
  if (!alarms.empty()) {
    return Error{Code::corrupt, 0,
                 alarms.front() + "; hint: bygone forget --accept-rollback, if that is meant"};
  }
  // Where there are too many notes to forget anything, prune could not make them fewer.
  if (work.prune) TRY(store::fold_notes(repository, work.clock()));
  TRY(forget(repository, work, cancel));
  if (!work.prune) return {};
  const auto report = TRY(store::prune(
      repository, {.clock = work.clock}, [](const store::PruneProgress&) {}, cancel));
  for (const std::string& line : report.warnings) log::warning(line);
  log::info(fmt::format("pruned: {} bytes freed, {} written, {} wait for sessions that run",
                        report.bytes_deleted, report.bytes_written, report.waiting_bytes));
  return {};
}

}  // namespace bygone::ingest
