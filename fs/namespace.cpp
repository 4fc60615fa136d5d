// SPDX-License-Identifier: Apache-2.0
#include "fs/namespace.h"

#include <algorithm>
#include <cerrno>

#include <fmt/core.h>

#include "fs/summary.h"
#include "store/base/log.h"

namespace bygone::fs {
namespace {

using store::Entry;
using store::FileType;
using Kind = Made::Kind;

constexpr std::size_t kMaxNameBytes = 255;

Error not_a_folder() { return Error{Code::invalid, ENOTDIR, "not a folder"}; }

// A folder whose listing failed has no entries. That it shows none of them must be an error:
// a copy with `rsync --delete` would else remove them where they still are. One of which only the
// attributes could not be read has the same flag, and its entries.
Result<void> check_listed(const Entry& folder) {
  const bool has_listing = folder.content == Entry::Content::directory;
  if (has_listing && ((folder.flags & store::kUnreadable) == 0 || folder.entries > 0)) return {};
  return Error{Code::io, 0, "the folder could not be read when it was captured"};
}

store::Timestamp timestamp(Nanoseconds t) {
  Nanoseconds seconds = t / kSecond;
  Nanoseconds rest = t % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  }
  return {seconds, static_cast<std::uint32_t>(rest)};
}

Lifetime name_lifetime(const Made& made) {
  switch (made.kind) {
    case Kind::root:
    case Kind::volumes:
    case Kind::snapshots:
    case Kind::groups:
    case Kind::group:
    case Kind::run:
    case Kind::source:
    case Kind::snapshot:
      return Lifetime::brief;
    case Kind::tree:  // an instant itself, or a volume in one
      return made.name == made.instant ? Lifetime::brief : Lifetime::forever;
    case Kind::link:  // in a source or a group it is an instant in words, or latest
      return made.source.empty() && (made.group.empty() || !made.instant.empty())
                 ? Lifetime::brief
                 : Lifetime::moment;
    case Kind::about:
    case Kind::summary:
      return Lifetime::forever;
  }
  return Lifetime::moment;
}

Lifetime content_lifetime(const Made& made) {
  switch (made.kind) {
    case Kind::root:
    case Kind::volumes:
    case Kind::snapshots:
    case Kind::groups:
    case Kind::group:
    case Kind::source:
      return Lifetime::brief;
    case Kind::link:
      return name_lifetime(made);
    default:
      return Lifetime::forever;
  }
}

Nanoseconds time_of(const Catalog& catalog, const Made& made) {
  if (made.snapshot) return made.snapshot->instant;
  if (!made.group.empty()) {
    const auto found = catalog.groups().find(made.group);
    if (found == catalog.groups().end()) return catalog.changed();
    const auto run = found->second.find(made.instant);
    return run ? found->second.points[*run].instant : found->second.changed;
  }
  const History* history = made.source.empty() ? nullptr : history_of(catalog, made);
  return history != nullptr ? history->changed : catalog.changed();
}

bool is_shown_xattr(const std::string& name) {
  // Anything else makes rsync -X fail: no file system can take it.
  return name.starts_with("user.") || name.starts_with("trusted.") ||
         name.starts_with("security.") || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

}  // namespace

Namespace::Namespace(SnapshotSource& snapshots, store::TreeReader& reader,
                     const store::KeyRing& keys, NamespaceOptions options)
    : snapshots_(snapshots),
      keys_(keys),
      options_(std::move(options)),
      tree_(reader, options_.tree_cache_bytes) {}

Result<std::unique_ptr<Namespace>> Namespace::open(SnapshotSource& snapshots,
                                                   store::TreeReader& reader,
                                                   const store::KeyRing& keys,
                                                   NamespaceOptions options) {
  std::unique_ptr<Namespace> names(new Namespace(snapshots, reader, keys, std::move(options)));
  names->catalog_ = TRY(names->read_catalog(nullptr));
  return names;
}

std::shared_ptr<const Catalog> Namespace::catalog() const {
  const std::lock_guard lock(mutex_);
  return catalog_;
}

// ---- what is captured

Captured Namespace::captured(const Place& place, EntryPtr entry) const {
  const store::Snapshot& snapshot = *place.snapshot;
  const std::string_view volume = place.volume == kExtraTree
                                      ? kAboutName
                                      : std::string_view(snapshot.volumes[place.volume].name);
  const std::uint64_t ino =
      inode_number(keys_, {snapshot.source, snapshot.id, volume}, *entry, place.ino);
  return {std::move(entry), place.snapshot, place.volume, ino};
}

Result<Captured> Namespace::captured(const Spot& spot) {
  return captured(spot.place, TRY(tree_.at(spot.place.directory, spot.position)).entry);
}

Captured Namespace::root_of(const Made& made) const {
  const SnapshotPtr& snapshot = made.snapshot;
  Place above;
  above.snapshot = snapshot;
  above.volume = made.kind == Kind::about ? kExtraTree : made.volume;
  const Entry& root =
      made.kind == Kind::about ? *snapshot->extra : snapshot->volumes[made.volume].root;
  return captured(above, EntryPtr(snapshot, &root));
}

Result<std::optional<Place>> Namespace::place_of(const Made& made, NodeId node) const {
  const bool shows_one =
      made.kind == Kind::tree || (made.kind == Kind::about && made.snapshot->extra);
  if (!shows_one) return std::optional<Place>();
  const Captured root = root_of(made);
  if (!root.entry->is_directory()) return not_a_folder();  // a volume that is a file
  TRY(check_listed(*root.entry));
  return std::optional(Place{root.snapshot, root.volume, root.entry->node, root.ino, node});
}

Result<Place> Namespace::place_of(const Spot& spot, NodeId node) {
  const Captured folder = TRY(captured(spot));
  if (!folder.entry->is_directory()) return not_a_folder();
  TRY(check_listed(*folder.entry));
  return Place{folder.snapshot, folder.volume, folder.entry->node, folder.ino, node};
}

Found Namespace::describe_captured(const Captured& what, NodeId node) {
  std::uint64_t allocated = what.entry->size;
  if (what.entry->type == FileType::regular) {
    // With damaged extents the file must still be listed; reading it says what is wrong.
    const auto known = tree_.allocated_bytes(*what.entry);
    if (known.ok()) allocated = *known;
  } else {
    allocated = 0;
  }
  return {node, describe(*what.entry, what.ino, allocated), Lifetime::forever, Lifetime::forever};
}

// ---- what is made

Found Namespace::describe_made(const Catalog& catalog, const Made& made, NodeId node) {
  Found out;
  if (made.kind == Kind::tree) {
    out = describe_captured(root_of(made), node);
  } else {
    Attributes& a = out.attributes;
    a.ino = inode_number(keys_, made.key());
    a.type = made.is_folder()          ? FileType::directory
             : made.kind == Kind::link ? FileType::symlink
                                       : FileType::regular;
    a.mode = made.kind == Kind::link      ? 0777
             : made.kind == Kind::about   ? 0700
             : made.kind == Kind::summary ? 0600
                                          : 0755;
    a.uid = options_.uid;
    a.gid = options_.gid;
    a.mtime = a.ctime = timestamp(time_of(catalog, made));
    if (made.kind == Kind::link) a.size = made.target.size();
    if (made.kind == Kind::summary) a.size = a.allocated = snapshot_json(*made.snapshot).size();
  }
  out.node = node;
  out.name = name_lifetime(made);
  out.content = content_lifetime(made);
  return out;
}

// ---- requests

Result<std::optional<Found>> Namespace::lookup_captured(const Place& place, std::string_view name) {
  const auto item = TRY(tree_.find(place.directory, name));
  if (!item) return std::optional<Found>();
  const std::uint64_t pinned = inodes_.pin(place);
  const Result<NodeId> node = inodes_.remember(pinned, item->position);
  inodes_.unpin(pinned);
  if (!node.ok()) return node.error();
  return std::optional<Found>(describe_captured(captured(place, item->entry), *node));
}

Result<Lookup> Namespace::lookup(NodeId folder, std::string_view name) {
  if (name.size() > kMaxNameBytes) {
    return Error{Code::invalid, ENAMETOOLONG, "a name is longer than 255 bytes"};
  }
  const KnownNode known = TRY(inodes_.get(folder));
  if (const auto* spot = std::get_if<Spot>(&known)) {
    return Lookup {
      TRY(lookup_captured(TRY(place_of(*spot, folder)), name))
      , true
    };
  }
  const Made& made = *std::get<MadePtr>(known);
  if (!made.is_folder()) return not_a_folder();
  const auto catalog = this->catalog();
  auto child = find_made(*catalog, made, name, options_.clock());
  const auto place = TRY(place_of(made, folder));
  // In a whole folder source its own .bygone wins over ours; in .bygone our snapshot.json does.
  if (place && (!child || made.kind == Kind::tree)) {
    if (auto found = TRY(lookup_captured(*place, name))) return Lookup{found, true};
  }
  if (!child) return Lookup{std::nullopt, content_lifetime(made) == Lifetime::forever};
  return Lookup{describe_made(*catalog, *child, inodes_.remember(*child)), true};
}

Result<Found> Namespace::attributes(NodeId node) {
  const KnownNode known = TRY(inodes_.get(node));
  if (const auto* spot = std::get_if<Spot>(&known)) {
    return describe_captured(TRY(captured(*spot)), node);
  }
  return describe_made(*catalog(), *std::get<MadePtr>(known), node);
}

Result<std::string> Namespace::read_link(NodeId node) {
  const Error no_link{Code::invalid, EINVAL, "not a symbolic link"};
  const KnownNode known = TRY(inodes_.get(node));
  if (const auto* made = std::get_if<MadePtr>(&known)) {
    if ((*made)->kind != Kind::link) return no_link;
    return (*made)->target;
  }
  const Captured link = TRY(captured(std::get<Spot>(known)));
  if (link.entry->type != FileType::symlink) return no_link;
  return link.entry->target;
}

Result<Captured> Namespace::file(NodeId node) {
  const KnownNode known = TRY(inodes_.get(node));
  if (const auto* spot = std::get_if<Spot>(&known)) return captured(*spot);
  const Made& made = *std::get<MadePtr>(known);
  if (made.kind == Kind::tree) return root_of(made);
  if (made.kind != Kind::summary) {
    return Error{Code::invalid, made.is_folder() ? EISDIR : EINVAL, "not a file"};
  }
  auto entry = std::make_shared<Entry>();
  const std::string text = snapshot_json(*made.snapshot);
  entry->name = made.name;
  entry->size = text.size();
  entry->content = Entry::Content::inline_bytes;
  entry->inline_bytes.assign(text.begin(), text.end());
  return Captured{std::move(entry), made.snapshot, 0, 0};
}

Result<std::vector<store::Xattr>> Namespace::xattrs(NodeId node) {
  const KnownNode known = TRY(inodes_.get(node));
  EntryPtr entry;
  if (const auto* spot = std::get_if<Spot>(&known)) {
    entry = TRY(captured(*spot))
    .entry;
  } else if (const Made& made = *std::get<MadePtr>(known); made.kind == Kind::tree) {
    entry = root_of(made).entry;
  } else {
    return std::vector<store::Xattr>();
  }
  std::vector<store::Xattr> all = TRY(tree_.reader().xattrs(*entry));
  std::erase_if(all, [](const store::Xattr& xattr) { return !is_shown_xattr(xattr.name); });
  return all;
}

Result<Listing> Namespace::open_folder(NodeId node) {
  const KnownNode known = TRY(inodes_.get(node));
  Listing out;
  out.folder = node;
  if (const auto* spot = std::get_if<Spot>(&known)) {
    out.place = TRY(place_of(*spot, node));
    out.ino = out.place->ino;
    out.parent_ino = spot->place.ino;
    return out;
  }
  const Made& made = *std::get<MadePtr>(known);
  const auto catalog = this->catalog();
  out.ino = describe_made(*catalog, made, node).attributes.ino;
  if (!made.is_folder()) return not_a_folder();
  out.parent_ino = describe_made(*catalog, parent_of(made), 0).attributes.ino;
  out.made = list_made(*catalog, made);
  out.place = TRY(place_of(made, node));
  return out;
}

Result<void> Namespace::list(const Listing& listing, std::uint64_t from, const Visit& visit) {
  const auto catalog = this->catalog();
  for (; from < listing.made.size(); ++from) {
    const Made& made = listing.made[from];
    const NodeId node = inodes_.remember(made);
    if (!visit(made.name, describe_made(*catalog, made, node), from + 1)) {
      inodes_.forget(node, 1);
      return {};
    }
  }
  if (!listing.place) return {};
  return list_captured(listing, from, visit);
}

Result<void> Namespace::list_captured(const Listing& listing, std::uint64_t from,
                                      const Visit& visit) {
  const Place& place = *listing.place;
  const std::uint64_t first = listing.made.size();
  const std::uint64_t pinned = inodes_.pin(place);
  Result<void> outcome;
  const auto one = [&](const TreeItem& item) {
    const bool hidden = std::any_of(listing.made.begin(), listing.made.end(),
                                    [&](const Made& m) { return m.name == item.entry->name; });
    if (hidden) return true;
    const Result<NodeId> node = inodes_.remember(pinned, item.position);
    if (!node.ok()) {
      outcome = node.error();
      return false;
    }
    const Found found = describe_captured(captured(place, item.entry), *node);
    if (visit(item.entry->name, found, first + item.position + 1)) return true;
    inodes_.forget(*node, 1);
    return false;
  };
  Result<void> listed = tree_.list(place.directory, from - first, one);
  inodes_.unpin(pinned);
  if (!listed.ok()) return listed;
  return outcome;
}

int Namespace::error_number(NodeId node, const Error& error) {
  // Numbers that this class gave on purpose. Those of the store (a pack that is not there) would
  // say something else about the file.
  for (const int own : {ESTALE, ENOTDIR, EISDIR, EINVAL, ENAMETOOLONG, EOVERFLOW, ENOMEM}) {
    if (error.errnum == own) return own;
  }
  const Result<KnownNode> known = inodes_.get(node);
  if (!known.ok()) return ESTALE;
  const auto* spot = std::get_if<Spot>(&*known);
  const SnapshotPtr snapshot =
      spot != nullptr ? spot->place.snapshot : std::get<MadePtr>(*known)->snapshot;
  if (!snapshot) return EIO;
  const Result<store::Snapshot> now = snapshots_.get(snapshot->id);
  return !now.ok() && now.error().code == Code::not_found ? ESTALE : EIO;
}

std::string Namespace::path(NodeId node) {
  const Result<KnownNode> known = inodes_.get(node);
  if (!known.ok()) return fmt::format("node {:x}", node);
  if (const auto* spot = std::get_if<Spot>(&*known)) {
    const auto item = tree_.at(spot->place.directory, spot->position);
    const std::string name =
        item.ok() ? item->entry->name : fmt::format("entry {}", spot->position);
    return path(spot->place.folder) + "/" + name;
  }
  std::string out;
  for (Made at = *std::get<MadePtr>(*known); at.kind != Kind::root; at = parent_of(at)) {
    out = "/" + at.name + out;
  }
  return out;
}

}  // namespace bygone::fs
