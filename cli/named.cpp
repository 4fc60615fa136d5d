// SPDX-License-Identifier: Apache-2.0
#include "cli/named.h"

#include <algorithm>

#include "fs/instant.h"
#include "store/base/clock.h"
#include "store/base/log.h"

namespace bygone::cli {
namespace {

constexpr std::string_view kId = "id:";

// 2024-03-16T05:57 and 20240316T05-57 are one name.
std::string without_marks(std::string text) {
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

bool is_exact(const std::string& instant, const std::string& listed_name) {
  return instant.starts_with("latest") || instant.starts_with(kId) ||
         without_marks(instant) == without_marks(listed_name);
}

Error no_name(const std::string& text) {
  return Error{Code::invalid, 0,
               "'" + printable(text) +
                   "' names no snapshot; hint: SOURCE@INSTANT or id:1a2b, as bygone snapshots "
                   "lists them"};
}

}  // namespace

Result<NamedSnapshots> NamedSnapshots::read(store::Repository& repository, Shelf shelf) {
  std::vector<std::string> damaged;
  std::vector<fs::SnapshotPtr> records;
  auto list = TRY(shelf == Shelf::trash ? repository.trashed_snapshots(&damaged, &damaged)
                                        : repository.snapshots(&damaged, &damaged));
  records.reserve(list.size());
  for (store::Snapshot& snapshot : list) {
    records.push_back(std::make_shared<const store::Snapshot>(std::move(snapshot)));
  }
  for (const std::string& line : damaged) log::warning(line);
  NamedSnapshots named;
  named.shelf_ = shelf;
  named.catalog_ = fs::Catalog::build(records, nullptr, system_now());
  return named;
}

Result<fs::SnapshotPtr> NamedSnapshots::find(const std::string& text) const {
  const std::string where = shelf_ == Shelf::trash ? " in the trash" : "";
  if (text.starts_with(kId)) {
    fs::SnapshotPtr found;
    const std::string start = text.substr(kId.size());
    if (start.empty() || start.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return no_name(text);
    }
    for (const auto& [id, snapshot] : catalog_->by_id()) {
      if (!id.hex().starts_with(start)) continue;
      if (found) {
        return Error{Code::invalid, 0,
                     text + " begins the ids of several snapshots; hint: give more digits"};
      }
      found = snapshot;
    }
    if (found) return found;
    return Error{Code::not_found, 0,
                 "no snapshot" + where + " has an id that begins with " + start};
  }
  const fs::SnapshotPath path = TRY(fs::parse_snapshot_path(text));
  if (path.has_path || text.find('@') == std::string::npos) return no_name(text);
  fs::SnapshotPtr found = TRY(catalog_->resolve(path, system_now()));
  const fs::History* history = catalog_->find(path.source);
  const auto at = std::find(history->records.begin(), history->records.end(), found);
  const auto& point = history->points[static_cast<std::size_t>(at - history->records.begin())];
  if (is_exact(path.instant, point.listed_name)) return found;
  return Error{Code::not_found, 0,
               printable(path.source) + " has no snapshot" + where + " that is called " +
                   printable(path.instant) + "; hint: the nearest before it is " + spelled(*found)};
}

std::string spelled_source(const store::Snapshot& snapshot) {
  const bool volume = snapshot.kind == store::SourceKind::volume;
  return (volume ? "volume:" : "") + printable(snapshot.display_name);
}

std::string spelled(const store::Snapshot& snapshot) {
  return spelled_source(snapshot) + "@" + snapshot.listed_name;
}

}  // namespace bygone::cli
