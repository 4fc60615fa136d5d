// SPDX-License-Identifier: Apache-2.0
//
// What a walk left out, as a part of source_backup.h.
#include "ingest/source_backup.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMostShown = 5;  // names in a message

}  // namespace

void SourceBackup::gather_notes(std::size_t number, const WalkNotes& notes) {
  const VolumeSource& volume = source_.volumes[number];
  const auto path = [&](const std::string& below) {
    return volume.name.empty() ? below : volume.name + "/" + below;
  };
  for (const auto& [below, reason] : notes.unreadable) {
    report_.unreadable.push_back({path(below), reason});
  }
  for (const std::string& skipped : notes.skipped) report_.skipped.push_back(path(skipped));
  if (!notes.mounted.empty()) {
    std::string shown;
    for (std::size_t i = 0; i < notes.mounted.size() && i < kMostShown; ++i) {
      shown += (i == 0 ? "" : ", ") + printable(path(notes.mounted[i]));
    }
    if (notes.mounted.size() > kMostShown) shown += ", ...";
    warn("other file systems are mounted below it, and are not captured: " + shown +
         "; hint: bind them by themselves, or exclude them");
  }
  for (const std::string& deleted : notes.deleted) deleted_ += "/" + printable(deleted) + "\n";
  snapshot_.folders += notes.folders;
}

}  // namespace bygone::ingest
