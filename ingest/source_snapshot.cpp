// SPDX-License-Identifier: Apache-2.0
//
// The capture of a source by snapshots of its file system, as a part of source_backup.h.
#include <algorithm>

#include "ingest/btrfs.h"
#include "ingest/source_backup.h"
#include "ingest/volume_pass.h"
#include "store/base/log.h"

namespace bygone::ingest {
namespace {

using store::Consistency;
using store::Entry;

}  // namespace

// All that can change must be captured so: one volume read later would be of another moment.
Result<void> SourceBackup::find_places() {
  std::vector<std::string> paths;
  for (const VolumePass* pass : here_) {
    if (pass == nullptr) return Error{Code::unsupported, 0, "not all of it is read on this host"};
    paths.push_back(pass->path());
  }
  std::vector<std::optional<SubvolumePlace>> places(here_.size());
  for (std::size_t i = 0; i < here_.size(); ++i) {
    if (!has_writers(i)) continue;
    auto place = find_subvolume_place(paths[i], here_[i]->fd(), paths, options_.state_folder);
    if (!place) return std::move(place).error().with("volume " + printable(paths[i]));
    places[i] = std::move(*place);
  }
  if (std::none_of(places.begin(), places.end(),
                   [](const auto& place) { return place.has_value(); })) {
    return Error{Code::unsupported, 0, "it has no volume that can change"};
  }
  places_ = std::move(places);
  return {};
}

Result<void> SourceBackup::plan_snapshot() {
  const auto found = find_places();
  if (found) return {};
  if (options_.wish == Wish::snapshot) return leave_snapshot(found.error());
  // Where there is no btrfs at all nobody wonders why.
  const bool wanted = std::any_of(here_.begin(), here_.end(), [](const VolumePass* pass) {
    if (pass == nullptr) return false;
    const auto on_btrfs = btrfs::is_on_btrfs(pass->fd());
    return on_btrfs && *on_btrfs;
  });
  const std::string text =
      printable(source_.name) +
      ": no snapshot by the file system, but a freeze: " + found.error().message;
  wanted ? log::info(text) : log::debug(text);
  return {};
}

Result<void> SourceBackup::leave_snapshot(const Error& why) {
  left_snapshot_ = is_by_snapshot();
  places_.clear();
  numbers_.clear();
  snapshots_ = nullptr;
  roots_.clear();
  if (why.code == Code::cancelled) return why;
  if (options_.wish == Wish::snapshot) {
    return Error{Code::unsupported, 0,
                 "no snapshot by the file system: " + why.message + "; hint: --consistency freeze"};
  }
  snapshot_.consistency = Consistency::live;
  warn("not captured by a snapshot of the file system: " + why.message);
  return {};
}

void SourceBackup::add_to(SubvolumeSnapshots& snapshots) {
  snapshots_ = &snapshots;
  for (const auto& place : places_) numbers_.push_back(place ? snapshots.add(*place) : 0);
}

Result<Entry> SourceBackup::read_copy(std::size_t number) {
  const SubvolumePlace& place = *places_[number];
  VolumeCopy copy = TRY(snapshots_->open(numbers_[number], place));
  // What must not be read is known by its device, and a snapshot has one of its own.
  auto here = off_limits_;
  for (const auto& [id, what] : here) {
    if (id.first == place.device) off_limits_.emplace(std::pair(copy.device, id.second), what);
  }
  const auto pass = TRY(here_[number]->of_copy(std::move(copy), snapshot_.instant));
  Entry root = TRY(pass->read(parent_root(source_.volumes[number])));
  if (!pass->lost_subvolume().empty()) {
    return Error{
        Code::unsupported, 0,
        "the subvolume " + printable(pass->lost_subvolume()) + " was made in it meanwhile"};
  }
  report_.new_files += pass->notes().new_files;
  report_.unmodified_files += pass->notes().unmodified_files;
  gather_notes(number, pass->notes());
  return root;
}

Result<void> SourceBackup::store_snapshot() {
  enter_phase("reading");
  TRY(count_live_pages());
  const BackupReport report = report_;
  const std::string deleted = deleted_;
  const auto folders = snapshot_.folders;
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    const VolumeSource& volume = source_.volumes[i];
    if (places_[i]) {
      auto root = read_copy(i);
      if (auto failure = jobs_.failure()) return *failure;  // the store's: nothing else would help
      if (!root) {
        report_ = report;
        deleted_ = deleted;
        snapshot_.folders = folders;
        return leave_snapshot(std::move(root).error());
      }
      roots_.push_back(std::move(*root));
      continue;
    }
    roots_.push_back(TRY(passes_[i]->read(parent_root(volume))));
    report_.new_files += passes_[i]->notes().new_files;
    report_.unmodified_files += passes_[i]->notes().unmodified_files;
    gather_notes(i, passes_[i]->notes());
  }
  walk_finished_ = true;
  return confirm_unwritten();
}

// What nobody was known to write to has been read after the moment.
Result<void> SourceBackup::confirm_unwritten() {
  for (std::size_t i = 0; i < here_.size(); ++i) {
    if (places_[i]) continue;
    const auto same = here_[i]->is_unchanged(roots_[i]);
    if (!same && same.error().code == Code::cancelled) return same.error();
    if (!same || !*same) return leave_moment(called(source_.volumes[i]) + " changed meanwhile");
  }
  return {};
}

}  // namespace bygone::ingest
