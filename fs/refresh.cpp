// SPDX-License-Identifier: Apache-2.0
//
// The part of Namespace that follows the repository.
#include <algorithm>
#include <set>

#include "fs/namespace.h"
#include "store/base/log.h"

namespace bygone::fs {
namespace {

using Names = std::set<std::string>;

// Collects what changed between two catalogues, for folders that the kernel knows.
class Differences {
 public:
  explicit Differences(const Inodes& inodes) : inodes_(inodes) {}

  void compare(const Made& folder, const Names& before, const Names& now) {
    if (before == now) return;
    const auto node = inodes_.find(folder);
    if (!node) return;
    std::vector<std::string> names;
    std::set_symmetric_difference(before.begin(), before.end(), now.begin(), now.end(),
                                  std::back_inserter(names));
    for (std::string& name : names) changes_.push_back({*node, std::move(name)});
    changes_.push_back({*node, {}});
  }
  // Two shelves, of folders like `any` but for the name.
  template <class Shelf>
  void compare(const Shelf& before, const Shelf& now, const Made& any) {
    compare(parent_of(any), names(before), names(now));
    Names all = names(before);
    all.merge(names(now));
    for (const std::string& name : all) {
      Made folder = any;
      (any.kind == Made::Kind::group ? folder.group : folder.source) = folder.name = name;
      compare(folder, instants(before, name), instants(now, name));
    }
  }
  void compare(const Catalog& before, const Catalog& now) {
    Made any;
    any.kind = Made::Kind::source;
    compare(before.sources(), now.sources(), any);
    any.bare = true;
    compare(before.volumes(), now.volumes(), any);
    Made group;
    group.kind = Made::Kind::group;
    compare(before.groups(), now.groups(), group);
    Made by_id;
    by_id.kind = Made::Kind::snapshots;
    by_id.name = "@snapshots";
    compare(by_id, ids(before), ids(now));
  }
  [[nodiscard]] std::vector<Change> take() { return std::move(changes_); }

 private:
  template <class Shelf>
  static Names names(const Shelf& shelf) {
    Names out;
    for (const auto& [name, unused] : shelf) out.insert(name);
    return out;
  }
  template <class Shelf>
  static Names instants(const Shelf& shelf, const std::string& name) {
    Names out;
    const auto found = shelf.find(name);
    if (found == shelf.end()) return out;
    for (const InstantPoint& point : found->second.points) out.insert(point.listed_name);
    return out;
  }
  static Names ids(const Catalog& catalog) {
    Names out;
    for (const auto& [id, snapshot] : catalog.by_id()) out.insert(id.hex());
    return out;
  }

  const Inodes& inodes_;
  std::vector<Change> changes_;
};

}  // namespace

// Reads what is new; nullptr when nothing is different from `previous`.
Result<std::shared_ptr<const Catalog>> Namespace::read_catalog(const Catalog* previous) {
  std::vector<SnapshotPtr> records;
  bool is_new = previous == nullptr;
  for (const SnapshotId& id : TRY(snapshots_.ids())) {
    if (previous != nullptr) {
      const auto known = previous->by_id().find(id);
      if (known != previous->by_id().end()) {
        records.push_back(known->second);
        continue;
      }
    }
    Result<store::Snapshot> record = snapshots_.get(id);
    if (record.ok()) {
      records.push_back(std::make_shared<const store::Snapshot>(std::move(*record)));
      is_new = true;
    } else if (record.error().code != Code::not_found && damaged_.insert(id).second) {
      log::warning("snapshot " + id.hex() + " is left out: " + record.error().message);
    }
  }
  if (!is_new && records.size() == previous->by_id().size()) {
    return std::shared_ptr<const Catalog>();
  }
  return Catalog::build(records, previous, options_.clock());
}

Result<std::vector<Change>> Namespace::refresh() {
  const auto before = catalog();
  auto now = TRY(read_catalog(before.get()));
  if (!now) return std::vector<Change>();
  {
    const std::lock_guard lock(mutex_);
    catalog_ = now;
  }
  Differences differences(inodes_);
  differences.compare(*before, *now);
  return differences.take();
}

}  // namespace bygone::fs
