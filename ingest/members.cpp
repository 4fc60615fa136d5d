// SPDX-License-Identifier: Apache-2.0
#include "ingest/members.h"

#include <algorithm>
#include <set>
#include <string>

namespace bygone::ingest {

std::vector<Writer> writers_of(const std::vector<Member*>& members) {
  std::vector<Writer> writers;
  std::set<std::string> ids;
  for (const Member* member : members) {
    for (const auto* list : {&member->source->writers, &member->source->restarting}) {
      for (const Writer& writer : *list) {
        if (ids.insert(writer.id).second) writers.push_back(writer);
      }
    }
  }
  return writers;
}

void run_post_hooks(const std::vector<Member*>& native) {
  for (Member* member : native) {
    if (member->failure || !member->backup->must_freeze()) member->hooks->after();
  }
}

void leave_snapshots(const std::vector<Member*>& members, const Error& why) {
  for (Member* member : members) {
    if (member->failure || !member->backup->is_by_snapshot()) continue;
    member->take(member->backup->leave_snapshot(why));
  }
}

void prepare(SubvolumeSnapshots& snapshots, const std::vector<Member*>& members) {
  for (Member* member : members) {
    if (member->backup->is_by_snapshot()) member->backup->add_to(snapshots);
  }
  if (snapshots.empty()) return;
  const auto prepared = snapshots.prepare();
  if (!prepared) leave_snapshots(members, prepared.error());
}

void take(SubvolumeSnapshots& snapshots, const std::vector<Member*>& members) {
  const bool any = std::any_of(members.begin(), members.end(), [](const Member* member) {
    return !member->failure && member->backup->is_by_snapshot();
  });
  if (!any || !snapshots.is_prepared()) return;
  const auto taken = snapshots.take();
  if (!taken) leave_snapshots(members, taken.error());
}

}  // namespace bygone::ingest
