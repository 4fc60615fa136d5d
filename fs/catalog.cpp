// SPDX-License-Identifier: Apache-2.0
#include "fs/catalog.h"

#include <algorithm>
#include <set>
#include <tuple>

#include <fmt/core.h>

#include "store/base/log.h"

namespace bygone::fs {
namespace {

constexpr std::string_view kVolumePrefix = "volume:";

bool is_older(const SnapshotPtr& a, const SnapshotPtr& b) {
  return std::tie(a->instant, a->sequence, a->id) < std::tie(b->instant, b->sequence, b->id);
}

bool same_snapshots(const std::vector<InstantPoint>& a, const std::vector<InstantPoint>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const InstantPoint& x, const InstantPoint& y) { return x.id == y.id; });
}

// The points of `records`, which are in order. Two sources that raced for one display name may
// bring the same listed name twice; both must stay reachable, and the older keeps its name.
std::vector<InstantPoint> points_of(const std::vector<SnapshotPtr>& records) {
  std::vector<InstantPoint> points;
  std::set<std::string> taken;
  for (const SnapshotPtr& record : records) {
    std::string name = record->listed_name;
    for (int n = 2; !taken.insert(name).second; ++n) {
      name = fmt::format("{}~{}", record->listed_name, n);
    }
    points.push_back({name, record->zone, record->instant, record->id});
  }
  return points;
}

// When one of `shelf` last changed, of which `points` is the present state.
template <class Shelf>
Nanoseconds time_of_change(const Shelf* shelf, const std::string& name,
                           const std::vector<InstantPoint>& points, Nanoseconds now) {
  if (shelf == nullptr) return points.back().instant;
  const auto before = shelf->find(name);
  const bool same = before != shelf->end() && same_snapshots(before->second.points, points);
  return same ? before->second.changed : now;
}

void finish(History& history, const Catalog::Histories* previous, Nanoseconds now) {
  std::sort(history.records.begin(), history.records.end(), is_older);
  history.points = points_of(history.records);
  history.kind = history.records.back()->kind;
  history.changed = time_of_change(previous, history.name, history.points, now);
}

std::optional<std::size_t> index_of(const std::vector<InstantPoint>& points,
                                    std::string_view listed_name) {
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].listed_name == listed_name) return i;
  }
  return std::nullopt;
}

// Whether each member of the group has a snapshot among those of one run.
bool is_complete(const std::vector<SnapshotPtr>& run) {
  std::set<std::string_view> there;
  for (const SnapshotPtr& record : run) there.insert(record->name);
  const auto& members = run.front()->members;
  return std::all_of(members.begin(), members.end(),
                     [&](const std::string& member) { return there.contains(member); });
}

// "db, cache and 3 more"
std::string some_names(const std::vector<std::string>& names, std::size_t most) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) {
    if (i > 0) out += ", ";
    out += printable(names[i]);
  }
  if (names.size() > most) out += fmt::format(" and {} more", names.size() - most);
  return out;
}

}  // namespace

std::optional<std::size_t> History::find(std::string_view listed_name) const {
  return index_of(points, listed_name);
}

std::optional<std::size_t> Group::find(std::string_view listed_name) const {
  return index_of(points, listed_name);
}

std::shared_ptr<const Catalog> Catalog::build(const std::vector<SnapshotPtr>& records,
                                              const Catalog* previous, Nanoseconds now) {
  auto catalog = std::make_shared<Catalog>();
  for (const SnapshotPtr& record : records) {
    Histories& shelf =
        record->kind == store::SourceKind::volume ? catalog->volumes_ : catalog->sources_;
    History& history = shelf[record->display_name];
    history.name = record->display_name;
    history.records.push_back(record);
    catalog->by_id_.emplace(record->id, record);
  }
  for (auto& [name, history] : catalog->sources_) {
    finish(history, previous != nullptr ? &previous->sources_ : nullptr, now);
    catalog->changed_ = std::max(catalog->changed_, history.changed);
  }
  for (auto& [name, history] : catalog->volumes_) {
    finish(history, previous != nullptr ? &previous->volumes_ : nullptr, now);
    catalog->changed_ = std::max(catalog->changed_, history.changed);
  }
  catalog->add_groups(previous, now);
  const bool lost = previous != nullptr && (previous->sources_.size() != catalog->sources_.size() ||
                                            previous->volumes_.size() != catalog->volumes_.size());
  if (lost) catalog->changed_ = now;
  if (previous != nullptr) catalog->changed_ = std::max(catalog->changed_, previous->changed_);
  return catalog;
}

void Catalog::add_groups(const Catalog* previous, Nanoseconds now) {
  std::map<store::RunId, std::vector<SnapshotPtr>> by_run;
  for (const auto& [id, record] : by_id_) {
    if (!record->run.is_zero()) by_run[record->run].push_back(record);
  }
  std::vector<std::vector<SnapshotPtr>> runs;
  for (auto& [run, members] : by_run) {
    if (!is_complete(members)) continue;
    std::sort(members.begin(), members.end(), [](const SnapshotPtr& a, const SnapshotPtr& b) {
      return std::tie(a->display_name, a->kind, a->id) < std::tie(b->display_name, b->kind, b->id);
    });
    runs.push_back(std::move(members));
  }
  std::sort(runs.begin(), runs.end(),
            [](const auto& a, const auto& b) { return is_older(a.front(), b.front()); });
  std::map<std::string, std::string> owners;  // whose the plain name is
  for (auto& run : runs) {
    const store::Snapshot& first = *run.front();
    const std::string& owner = owners.emplace(first.group, first.host_id).first->second;
    const std::string name = owner == first.host_id ? first.group : first.group + "+" + first.host;
    Group& group = groups_[name];
    group.name = name;
    group.runs.push_back(std::move(run));
  }
  for (auto& [name, group] : groups_) {
    std::vector<SnapshotPtr> firsts;
    for (const auto& run : group.runs) firsts.push_back(run.front());
    group.points = points_of(firsts);
    group.changed =
        time_of_change(previous != nullptr ? &previous->groups_ : nullptr, name, group.points, now);
  }
}

const History* Catalog::find(std::string_view name) const {
  const bool is_volume = name.starts_with(kVolumePrefix);
  const Histories& shelf = is_volume ? volumes_ : sources_;
  if (is_volume) name.remove_prefix(kVolumePrefix.size());
  if (const auto found = shelf.find(name); found != shelf.end()) return &found->second;
  for (const auto& [display_name, history] : shelf) {
    const store::Snapshot& newest = *history.records.back();
    if (name == newest.name + "+" + newest.host) return &history;
  }
  return nullptr;
}

Result<SnapshotPtr> Catalog::resolve(const SnapshotPath& wanted, Nanoseconds now) const {
  const History* history = find(wanted.source);
  if (history == nullptr) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : sources_) names.push_back(name);
    for (const auto& [name, unused] : volumes_) names.push_back(std::string(kVolumePrefix) + name);
    return Error{Code::not_found, 0,
                 "no source is called " + printable(wanted.source) +
                     (names.empty() ? "; hint: the repository holds no snapshots yet"
                                    : "; hint: there are " + some_names(names, 20))};
  }
  const auto index = TRY(resolve_instant(wanted.instant, history->points, now));
  if (index) return history->records[*index];
  std::vector<std::string> names;
  for (const InstantPoint& point : history->points) names.push_back(point.listed_name);
  return Error{Code::not_found, 0,
               fmt::format("{} has no snapshot at {}; hint: there are {}", wanted.source,
                           printable(wanted.instant), some_names(names, 10))};
}

Result<std::shared_ptr<const Catalog>> load_catalog(SnapshotSource& source, Nanoseconds now) {
  std::vector<SnapshotPtr> records;
  for (const SnapshotId& id : TRY(source.ids())) {
    Result<store::Snapshot> record = source.get(id);
    if (record.ok()) {
      records.push_back(std::make_shared<const store::Snapshot>(std::move(*record)));
    } else if (record.error().code != Code::not_found) {
      log::warning("snapshot " + id.hex() + " is left out: " + record.error().message);
    }
  }
  return Catalog::build(records, nullptr, now);
}

}  // namespace bygone::fs
