// SPDX-License-Identifier: Apache-2.0
#include "cli/select.h"

#include <algorithm>

#include "fs/summary.h"
#include "store/base/clock.h"

namespace bygone::cli {
namespace {

using store::Entry;
using store::Snapshot;

const char* const kOwnFolder = ".bygone";

using Parts = std::vector<std::string>;

Result<Parts> split(const std::string& path) {
  Parts parts;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == "..") {
      return Error{Code::invalid, 0, "a path in a snapshot cannot go up (..): " + printable(path)};
    }
    if (!part.empty() && part != ".") parts.push_back(part);
    at = end + 1;
  }
  return parts;
}

std::string join(Parts::const_iterator from, Parts::const_iterator to) {
  std::string text;
  for (; from != to; ++from) text += (text.empty() ? "" : "/") + *from;
  return text;
}

bool has_own_tree(const Snapshot& snapshot) {
  return snapshot.volumes.size() == 1 && snapshot.volumes.front().name.empty();
}

Error absent(const Parts& parts, std::size_t missing) {
  const auto at = parts.begin() + static_cast<std::ptrdiff_t>(missing);
  const std::string folder = join(parts.begin(), at);
  return Error{Code::not_found, 0,
               "there is no " + printable(*at) +
                   (folder.empty() ? " in the snapshot" : " in " + printable(folder))};
}

// Goes down from `entry` along parts[from...].
Result<Entry> descend(store::TreeReader& trees, Entry entry, const Parts& parts, std::size_t from) {
  for (std::size_t i = from; i < parts.size(); ++i) {
    const auto here = parts.begin() + static_cast<std::ptrdiff_t>(i);
    if (entry.type == store::FileType::symlink) {
      return Error{Code::invalid, 0,
                   printable(join(parts.begin(), here)) + " is a symbolic link to " +
                       printable(entry.target) + "; hint: name the path that it leads to"};
    }
    if (!entry.is_directory()) {
      return Error{Code::not_found, 0, printable(join(parts.begin(), here)) + " is not a folder"};
    }
    std::optional<Entry> found = TRY(trees.lookup(entry, *here));
    if (!found) return absent(parts, i);
    entry = std::move(*found);
  }
  return entry;
}

// snapshot.json is not stored: it is the record itself, in words.
Entry snapshot_json_entry(const Snapshot& snapshot) {
  Entry entry;
  entry.name = "snapshot.json";
  entry.mode = 0400;
  entry.mtime = {snapshot.instant / kSecond,
                 static_cast<std::uint32_t>(snapshot.instant % kSecond)};
  const std::string text = fs::snapshot_json(snapshot);
  entry.size = text.size();
  entry.content = Entry::Content::inline_bytes;
  entry.inline_bytes.assign(text.begin(), text.end());
  return entry;
}

// How many of `parts` are the place at which `volume` is mounted in the container; 0: none.
std::size_t mounted_at(const store::Volume& volume, const Parts& parts) {
  const Result<Parts> destination = split(volume.destination);
  if (!destination.ok() || destination->empty() || destination->size() > parts.size()) return 0;
  const bool same = std::equal(destination->begin(), destination->end(), parts.begin());
  return same ? destination->size() : 0;
}

// The volume of the container in which `parts` stands, deepest mount first, and where in it.
const store::Volume* volume_of(const Snapshot& snapshot, const Parts& parts, std::size_t& depth) {
  const store::Volume* best = nullptr;
  for (const store::Volume& volume : snapshot.volumes) {
    if (volume.name == parts.front()) {
      depth = 1;
      return &volume;
    }
    const std::size_t length = mounted_at(volume, parts);
    if (length > 0 && (best == nullptr || length > depth)) {
      best = &volume;
      depth = length;
    }
  }
  return best;
}

Error no_such_volume(const Snapshot& snapshot, const Parts& parts) {
  Error error = absent(parts, 0);
  std::string names;
  for (const Entry& entry : top_entries(snapshot)) {
    names += (names.empty() ? "" : ", ") + printable(entry.name);
  }
  error.message += "; it holds " + names;
  return error;
}

}  // namespace

std::vector<Entry> top_entries(const Snapshot& snapshot) {
  std::vector<Entry> entries;
  if (has_own_tree(snapshot)) return entries;
  for (const store::Volume& volume : snapshot.volumes) {
    entries.push_back(volume.root);
    entries.back().name = volume.name;
  }
  if (snapshot.extra && snapshot.kind == store::SourceKind::container) {
    entries.push_back(*snapshot.extra);
    entries.back().name = kOwnFolder;
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

Result<std::optional<Entry>> find_entry(store::TreeReader& trees, const Snapshot& snapshot,
                                        const std::string& path) {
  const Parts parts = TRY(split(path));
  if (has_own_tree(snapshot)) {
    return std::optional<Entry>(TRY(descend(trees, snapshot.volumes.front().root, parts, 0)));
  }
  if (parts.empty()) return std::optional<Entry>();
  if (parts.front() == kOwnFolder && snapshot.kind == store::SourceKind::container) {
    if (parts.size() == 2 && parts[1] == "snapshot.json") {
      return std::optional<Entry>(snapshot_json_entry(snapshot));
    }
    if (!snapshot.extra) return no_such_volume(snapshot, parts);
    return std::optional<Entry>(TRY(descend(trees, *snapshot.extra, parts, 1)));
  }
  std::size_t depth = 0;
  const store::Volume* volume = volume_of(snapshot, parts, depth);
  if (volume == nullptr) return no_such_volume(snapshot, parts);
  return std::optional<Entry>(TRY(descend(trees, volume->root, parts, depth)));
}

Result<std::shared_ptr<const fs::Catalog>> read_catalog(store::Repository& repository) {
  fs::RepositorySnapshots snapshots(repository);
  return fs::load_catalog(snapshots, system_now());
}

Result<Selected> select(store::Repository& repository, const std::string& text) {
  const fs::SnapshotPath wanted = TRY(fs::parse_snapshot_path(text));
  const auto catalog = TRY(read_catalog(repository));
  Selected selected;
  selected.snapshot = TRY(catalog->resolve(wanted, system_now()));
  const Parts parts = TRY(split(wanted.path));
  selected.path = join(parts.begin(), parts.end());
  selected.spelling = printable(wanted.source) + "@" + selected.snapshot->listed_name +
                      (selected.path.empty() ? "" : ":" + printable(selected.path));
  auto entry = find_entry(repository.trees(), *selected.snapshot, selected.path);
  if (!entry.ok()) {
    return std::move(entry).error().with(printable(wanted.source) + "@" +
                                         selected.snapshot->listed_name);
  }
  selected.entry = std::move(*entry);
  return selected;
}

}  // namespace bygone::cli
