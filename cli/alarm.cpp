// SPDX-License-Identifier: Apache-2.0
#include "cli/alarm.h"

#include "ingest/backup.h"
#include "store/memory.h"

namespace bygone::cli {

std::vector<std::string> rollback_alarms(Context& context, store::Repository& repository) {
  auto alarms = store::check_memory(repository, ingest::default_state_folder());
  if (alarms.ok()) return std::move(*alarms);
  context.out.warning("comparing the repository with what this host remembers of it: " +
                      alarms.error().message);
  return {};
}

bool shows_rollback(Context& context, store::Repository& repository) {
  const auto alarms = rollback_alarms(context, repository);
  for (const std::string& line : alarms) context.out.error(line);
  return !alarms.empty();
}

void remember(Context& context, store::Repository& repository, const store::Snapshot& newest) {
  const auto done = store::remember(repository, ingest::default_state_folder(), newest);
  if (done.ok()) return;
  context.out.warning("remembering the newest snapshot of " + printable(newest.display_name) +
                      " on this host: " + done.error().message);
}

void remember_newest(Context& context, store::Repository& repository) {
  std::vector<std::string> damaged;
  const auto snapshots = repository.snapshots(&damaged);
  if (!snapshots.ok()) return context.out.warning(snapshots.error().message);
  for (const store::Snapshot* newest : store::newest_of_sources(*snapshots)) {
    remember(context, repository, *newest);
  }
}

}  // namespace bygone::cli
