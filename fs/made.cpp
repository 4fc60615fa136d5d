// SPDX-License-Identifier: Apache-2.0
#include "fs/made.h"

#include <algorithm>

#include <fmt/core.h>

namespace bygone::fs {
namespace {

using Kind = Made::Kind;

constexpr std::string_view kVolumesName = "@volumes";
constexpr std::string_view kSnapshotsName = "@snapshots";
constexpr std::string_view kGroupsName = "@groups";
constexpr std::string_view kSummaryName = "snapshot.json";

// A folder source, or a volume by itself: the tree stands directly under the instant.
bool is_direct(const store::Snapshot& snapshot) {
  return snapshot.kind != store::SourceKind::container && snapshot.volumes.size() == 1;
}

// A node in `folder` that inherits what the folder belongs to.
Made below(const Made& folder, Kind kind, std::string_view name) {
  Made out;
  out.kind = kind;
  out.bare = folder.bare;
  out.group = folder.group;
  out.source = folder.source;
  out.instant = folder.instant;
  out.name = std::string(name);
  out.snapshot = folder.snapshot;
  out.volume = folder.volume;
  return out;
}

Made source_folder(std::string_view name, bool bare) {
  Made out;
  out.kind = Kind::source;
  out.bare = bare;
  out.source = out.name = std::string(name);
  return out;
}

Made instant_folder(const Made& source, const InstantPoint& point, const SnapshotPtr& snapshot) {
  Made out = below(source, is_direct(*snapshot) ? Kind::tree : Kind::snapshot, point.listed_name);
  out.instant = point.listed_name;
  out.snapshot = snapshot;
  return out;
}

Made link_in(const Made& folder, std::string_view name, std::string target,
             const SnapshotPtr& snapshot) {
  Made out = below(folder, Kind::link, name);
  out.target = std::move(target);
  out.snapshot = snapshot;
  return out;
}

Made volume_folder(const Made& instant, std::uint32_t index) {
  Made out = below(instant, Kind::tree, instant.snapshot->volumes[index].name);
  out.volume = index;
  return out;
}

const Catalog::Histories& shelf(const Catalog& catalog, bool bare) {
  return bare ? catalog.volumes() : catalog.sources();
}

// In the root or in /@volumes: a display name, or name+host, which always finds its source.
std::optional<Made> find_source(const Catalog& catalog, const Made& folder, bool bare,
                                std::string_view name) {
  const auto& histories = shelf(catalog, bare);
  if (histories.contains(name)) return source_folder(name, bare);
  // ':' would be the command line's way to say which shelf is meant.
  if (name.find(':') != std::string_view::npos) return std::nullopt;
  const History* other = catalog.find((bare ? "volume:" : "") + std::string(name));
  if (other == nullptr) return std::nullopt;
  Made link = link_in(folder, name, other->name, nullptr);
  link.bare = bare;
  return link;
}

std::optional<Made> find_instant(const Catalog& catalog, const Made& source, std::string_view name,
                                 Nanoseconds now) {
  const History* history = history_of(catalog, source);
  if (history == nullptr) return std::nullopt;
  if (const auto index = history->find(name)) {
    return instant_folder(source, history->points[*index], history->records[*index]);
  }
  const auto index = resolve_instant(name, history->points, now);
  if (!index.ok() || !*index) return std::nullopt;
  return link_in(source, name, history->points[**index].listed_name, history->records[**index]);
}

// A link to the snapshot's own folder; `up` leads to the root.
std::optional<Made> link_to(const Catalog& catalog, const SnapshotPtr& snapshot, const Made& folder,
                            std::string_view name, std::string_view up) {
  const bool bare = snapshot->kind == store::SourceKind::volume;
  const History* history = history_of(catalog, source_folder(snapshot->display_name, bare));
  if (history == nullptr) return std::nullopt;
  const auto point =
      std::find_if(history->points.begin(), history->points.end(),
                   [&](const InstantPoint& candidate) { return candidate.id == snapshot->id; });
  if (point == history->points.end()) return std::nullopt;
  return link_in(
      folder, name,
      fmt::format("{}{}{}/{}", up, bare ? "@volumes/" : "", history->name, point->listed_name),
      snapshot);
}

std::optional<Made> find_by_id(const Catalog& catalog, const Made& folder, std::string_view name) {
  const auto id = SnapshotId::from_hex_text(name);
  const auto found = id ? catalog.by_id().find(*id) : catalog.by_id().end();
  if (found == catalog.by_id().end()) return std::nullopt;
  return link_to(catalog, found->second, folder, name, "../");
}

Made group_folder(const std::string& name) {
  Made out;
  out.kind = Kind::group;
  out.group = out.name = name;
  return out;
}

const Group* group_of(const Catalog& catalog, const Made& made) {
  const auto found = catalog.groups().find(made.group);
  return found == catalog.groups().end() ? nullptr : &found->second;
}

Made run_folder(const Made& folder, const std::string& instant) {
  Made out;
  out.kind = Kind::run;
  out.group = folder.group;
  out.instant = out.name = instant;
  return out;
}

std::optional<Made> find_run(const Catalog& catalog, const Made& folder, std::string_view name,
                             Nanoseconds now) {
  const Group* group = group_of(catalog, folder);
  if (group == nullptr) return std::nullopt;
  if (group->find(name)) return run_folder(folder, std::string(name));
  const auto index = resolve_instant(name, group->points, now);
  if (!index.ok() || !*index) return std::nullopt;
  return link_in(folder, name, group->points[**index].listed_name, group->runs[**index].front());
}

// The members of a run are links: a folder cannot stand in two places.
std::vector<Made> members_of(const Catalog& catalog, const Made& run) {
  std::vector<Made> out;
  const Group* group = group_of(catalog, run);
  const auto index = group != nullptr ? group->find(run.instant) : std::nullopt;
  if (!index) return out;
  for (const SnapshotPtr& snapshot : group->runs[*index]) {
    const bool bare = snapshot->kind == store::SourceKind::volume;
    const std::string name = (bare ? "volume:" : "") + snapshot->display_name;
    if (auto link = link_to(catalog, snapshot, run, name, "../../../")) {
      out.push_back(*std::move(link));
    }
  }
  return out;
}

std::optional<Made> find_member(const Catalog& catalog, const Made& run, std::string_view name) {
  for (Made& link : members_of(catalog, run)) {
    if (link.name == name) return std::move(link);
  }
  return std::nullopt;
}

std::optional<Made> find_in_snapshot(const Made& folder, std::string_view name) {
  const auto& volumes = folder.snapshot->volumes;
  for (std::uint32_t i = 0; i < volumes.size(); ++i) {
    if (volumes[i].name == name) return volume_folder(folder, i);
  }
  if (name == kAboutName) return below(folder, Kind::about, name);
  return std::nullopt;
}

}  // namespace

std::string Made::key() const {
  // No part but the last contains a slash.
  return fmt::format("{}/{}/{}/{}/{}/{}/{}/{}/{}", static_cast<int>(kind), bare ? 1 : 0, group,
                     source, instant, snapshot ? snapshot->id.hex() : "", volume, name, target);
}

const History* history_of(const Catalog& catalog, const Made& made) {
  const auto& histories = shelf(catalog, made.bare);
  const auto found = histories.find(made.source);
  return found == histories.end() ? nullptr : &found->second;
}

std::optional<Made> find_made(const Catalog& catalog, const Made& folder, std::string_view name,
                              Nanoseconds now) {
  switch (folder.kind) {
    case Kind::root:
      if (name == kVolumesName) return below(folder, Kind::volumes, name);
      if (name == kSnapshotsName) return below(folder, Kind::snapshots, name);
      if (name == kGroupsName) return below(folder, Kind::groups, name);
      return find_source(catalog, folder, false, name);
    case Kind::volumes:
      return find_source(catalog, folder, true, name);
    case Kind::snapshots:
      return find_by_id(catalog, folder, name);
    case Kind::groups: {
      const auto found = catalog.groups().find(name);
      if (found == catalog.groups().end()) return std::nullopt;
      return group_folder(found->first);
    }
    case Kind::group:
      return find_run(catalog, folder, name, now);
    case Kind::run:
      return find_member(catalog, folder, name);
    case Kind::source:
      return find_instant(catalog, folder, name, now);
    case Kind::snapshot:
      return find_in_snapshot(folder, name);
    case Kind::tree:
      // Not inside the volumes of a container: these have theirs beside them.
      if (name != kAboutName || !is_direct(*folder.snapshot)) return std::nullopt;
      return below(folder, Kind::about, name);
    case Kind::about:
      if (name != kSummaryName) return std::nullopt;
      return below(folder, Kind::summary, name);
    case Kind::summary:
    case Kind::link:
      break;
  }
  return std::nullopt;
}

std::vector<Made> list_made(const Catalog& catalog, const Made& folder) {
  std::vector<Made> out;
  const auto list_shelf = [&](bool bare) {
    for (const auto& [name, history] : shelf(catalog, bare)) {
      out.push_back(source_folder(name, bare));
    }
  };
  switch (folder.kind) {
    case Kind::root:
      list_shelf(false);
      break;
    case Kind::volumes:
      list_shelf(true);
      break;
    case Kind::snapshots:
      for (const auto& [id, snapshot] : catalog.by_id()) {
        if (auto link = find_by_id(catalog, folder, id.hex())) out.push_back(*std::move(link));
      }
      break;
    case Kind::groups:
      for (const auto& [name, group] : catalog.groups()) out.push_back(group_folder(name));
      break;
    case Kind::group:
      if (const Group* group = group_of(catalog, folder); group != nullptr) {
        for (const InstantPoint& point : group->points) {
          out.push_back(run_folder(folder, point.listed_name));
        }
        out.push_back(link_in(folder, "latest", group->points.back().listed_name,
                              group->runs.back().front()));
      }
      break;
    case Kind::run:
      out = members_of(catalog, folder);
      break;
    case Kind::source:
      if (const History* history = history_of(catalog, folder); history != nullptr) {
        for (std::size_t i = 0; i < history->points.size(); ++i) {
          out.push_back(instant_folder(folder, history->points[i], history->records[i]));
        }
        out.push_back(
            link_in(folder, "latest", history->points.back().listed_name, history->records.back()));
      }
      break;
    case Kind::snapshot:
      for (std::uint32_t i = 0; i < folder.snapshot->volumes.size(); ++i) {
        out.push_back(volume_folder(folder, i));
      }
      if (auto about = find_in_snapshot(folder, kAboutName); about->kind == Kind::about) {
        out.push_back(*std::move(about));
      }
      break;
    case Kind::about:
      out.push_back(below(folder, Kind::summary, kSummaryName));
      break;
    case Kind::tree:
    case Kind::summary:
    case Kind::link:
      break;
  }
  std::sort(out.begin(), out.end(), [](const Made& a, const Made& b) { return a.name < b.name; });
  return out;
}

Made parent_of(const Made& made) {
  Made up;
  up.bare = made.bare;
  const auto shelf_folder = [](Kind kind, std::string_view name) {
    Made out;
    out.kind = kind;
    out.name = std::string(name);
    return out;
  };
  const auto instant = [&] {
    const bool direct = is_direct(*made.snapshot);
    up = below(made, direct ? Kind::tree : Kind::snapshot, made.instant);
    up.volume = 0;
    return up;
  };
  switch (made.kind) {
    case Kind::root:
    case Kind::volumes:
    case Kind::snapshots:
    case Kind::groups:
      return Made();
    case Kind::group:
      return shelf_folder(Kind::groups, kGroupsName);
    case Kind::run:
      return group_folder(made.group);
    case Kind::source:
      return made.bare ? shelf_folder(Kind::volumes, kVolumesName) : Made();
    case Kind::snapshot:
      return source_folder(made.source, made.bare);
    case Kind::tree:
      return is_direct(*made.snapshot) ? source_folder(made.source, made.bare) : instant();
    case Kind::about:
      return instant();
    case Kind::summary:
      return below(made, Kind::about, kAboutName);
    case Kind::link:
      break;
  }
  if (!made.group.empty()) {
    return made.instant.empty() ? group_folder(made.group) : run_folder(made, made.instant);
  }
  if (!made.source.empty()) return source_folder(made.source, made.bare);
  if (made.snapshot) return shelf_folder(Kind::snapshots, kSnapshotsName);
  return made.bare ? shelf_folder(Kind::volumes, kVolumesName) : Made();
}

}  // namespace bygone::fs
