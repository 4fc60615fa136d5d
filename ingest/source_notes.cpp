// SPDX-License-Identifier: Apache-2.0
//
// What a walk left out, as a part of source_backup.h.
#include <algorithm>

#include "ingest/source_backup.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMostShown = 5;  // names in a message

// Whether what is mounted at a path below the root of `volume` is captured as a volume of its own,
// or one is mounted over it in the container.
bool is_volume(const Source& source, const VolumeSource& volume, const std::string& below) {
  const auto& nested = volume.nested;
  if (std::find(nested.begin(), nested.end(), below) != nested.end()) return true;
  const std::string path = volume.host_path + (volume.host_path.ends_with('/') ? "" : "/") + below;
  return std::any_of(source.volumes.begin(), source.volumes.end(), [&](const VolumeSource& other) {
    return other.access == Access::host && other.host_path == path;
  });
}

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
  std::string shown;
  std::size_t mounted = 0;
  for (const std::string& below : notes.mounted) {
    if (is_volume(source_, volume, below)) continue;
    if (++mounted <= kMostShown) shown += (mounted == 1 ? "" : ", ") + printable(path(below));
  }
  if (mounted > 0) {
    report_.lasting.push_back(
        "other file systems are mounted below it, and are not captured: " + shown +
        (mounted > kMostShown ? ", ..." : "") + "; hint: bind them by themselves, or exclude them");
  }
  for (const std::string& deleted : notes.deleted) deleted_ += "/" + printable(deleted) + "\n";
  snapshot_.folders += notes.folders;
}

}  // namespace bygone::ingest
