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

bool same_snapshots(const History& a, const History& b) {
  return std::equal(a.points.begin(), a.points.end(), b.points.begin(), b.points.end(),
                    [](const InstantPoint& x, const InstantPoint& y) { return x.id == y.id; });
}

// Two sources that raced for one display name may bring the same listed name twice; both must stay
// reachable, and the older keeps its name.
void finish(History& history, const Catalog::Histories* previous, Nanoseconds now) {
  std::sort(history.records.begin(), history.records.end(), is_older);
  std::set<std::string> taken;
  for (const SnapshotPtr& record : history.records) {
    std::string name = record->listed_name;
    for (int n = 2; !taken.insert(name).second; ++n) {
      name = fmt::format("{}~{}", record->listed_name, n);
    }
    history.points.push_back({name, record->zone, record->instant, record->id});
  }
  history.kind = history.records.back()->kind;
  history.changed = history.points.back().instant;
  if (previous == nullptr) return;
  const auto before = previous->find(history.name);
  const bool same = before != previous->end() && same_snapshots(before->second, history);
  history.changed = same ? before->second.changed : now;
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
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].listed_name == listed_name) return i;
  }
  return std::nullopt;
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
  const bool lost = previous != nullptr && (previous->sources_.size() != catalog->sources_.size() ||
                                            previous->volumes_.size() != catalog->volumes_.size());
  if (lost) catalog->changed_ = now;
  if (previous != nullptr) catalog->changed_ = std::max(catalog->changed_, previous->changed_);
  return catalog;
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
