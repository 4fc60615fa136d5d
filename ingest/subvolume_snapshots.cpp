// SPDX-License-Identifier: Apache-2.0
#include "ingest/subvolume_snapshots.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ingest/btrfs.h"
#include "ingest/capability.h"
#include "ingest/host_view.h"
#include "store/base/log.h"
#include "store/crypto.h"

namespace bygone::ingest {
namespace {

using FolderId = std::pair<std::uint64_t, std::uint64_t>;  // st_dev, inode

Error cannot(const std::string& why) { return {Code::unsupported, 0, why}; }

Result<FolderId> id_of(const Fd& fd) {
  const Listed listed = TRY(look_at(fd));
  return FolderId{listed.device, listed.entry.inode};
}

// ".." of an open folder: where it really stands, whatever its name leads to now.
Result<Fd> open_above(const Fd& folder) {
  const int fd = ::openat(folder.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return os_error(errno, "opening the folder above");
  return Fd(fd);
}

Result<Fd> open_below(const Fd& folder, const std::string& path) {
  return open_folder(folder, path.empty() ? "." : path);
}

// Goes up from the open folder at `path` to the root of its subvolume, and takes as much off
// `path`. Mounts are crossed: an engine mounts its data root on itself.
Result<Fd> climb_to_root(const Fd& start, std::string& path) {
  Fd at = TRY(open_folder(start, "."));
  FolderId id = TRY(id_of(at));
  while (id.second != btrfs::kRootInode) {
    Fd next = TRY(open_above(at));
    const FolderId next_id = TRY(id_of(next));
    if (path == "/" || next_id.first != id.first || next_id == id) {
      return cannot("the root of its subvolume is not mounted");
    }
    path = parent_folder(path);
    at = std::move(next);
    id = next_id;
  }
  return at;
}

Result<bool> is_read_only(const Fd& fd) {
  struct statvfs found {};
  if (::fstatvfs(fd.get(), &found) != 0) return os_error(errno, "asking for the file system");
  return (found.f_flag & ST_RDONLY) != 0;
}

// The topmost folder above `folder`, itself included, that is of the same file system and can be
// written to: mounts of it may be read-only here.
Result<std::pair<Fd, std::string>> climb_to_top(const Fd& folder, const std::string& path) {
  Fd at = TRY(open_folder(folder, "."));
  std::pair<Fd, std::string> top;
  for (std::string rest = path;; rest = parent_folder(rest)) {
    if (!TRY(is_read_only(at))) top = { TRY(open_folder(at, ".")), rest };
    if (rest.size() <= 1) break;
    Fd above = TRY(open_above(at));
    if (!TRY(btrfs::is_same_file_system(at, above))) break;
    at = std::move(above);
  }
  if (!top.first.is_open()) return os_error(EROFS, "making snapshots on its file system");
  return top;
}

bool is_in_one(const std::string& path, const std::vector<std::string>& volumes) {
  return std::any_of(volumes.begin(), volumes.end(),
                     [&](const std::string& volume) { return is_at_or_below(path, volume); });
}

// The same folder may have two paths.
Result<bool> is_one(const Fd& folder, const std::vector<std::string>& volumes) {
  const FolderId id = TRY(id_of(folder));
  return std::any_of(volumes.begin(), volumes.end(), [&](const std::string& volume) {
    struct stat st {};
    return ::stat(volume.c_str(), &st) == 0 && FolderId{st.st_dev, st.st_ino} == id;
  });
}

Result<std::string> make_snapshot_folder(const Fd& parent, const std::string& parent_path) {
  const std::string path = (parent_path == "/" ? "" : parent_path) + "/" + kSnapshotFolder;
  if (::mkdirat(parent.get(), kSnapshotFolder, 0700) != 0 && errno != EEXIST) {
    return os_error(errno, "creating folder " + printable(path));
  }
  const Fd made = TRY(open_folder(parent, kSnapshotFolder));
  const Fd by_path = TRY(open_snapshot_folder(path));
  if (TRY(id_of(made)) != TRY(id_of(by_path))) return cannot(printable(path) + " was moved");
  return path;
}

Result<std::string> find_room(const SubvolumePlace& place, const std::string& subvolume_path,
                              const std::vector<std::string>& volumes,
                              const std::string& state_folder) {
  const std::string state = canonical(state_folder);
  const auto own = open_root(state);
  if (own && TRY(btrfs::is_same_file_system(*own, place.subvolume)) && !TRY(is_read_only(*own)) &&
      !is_in_one(state, volumes)) {
    return make_snapshot_folder(*own, state);
  }
  const auto [top, path] = TRY(climb_to_top(place.subvolume, subvolume_path));
  if (TRY(is_one(top, volumes)) || is_in_one(path, volumes)) {
    return cannot("there is no room on its file system for a snapshot outside of the volumes");
  }
  return make_snapshot_folder(top, path);
}

Result<void> refuse_mounts(const std::string& path) {
  const auto text = TRY(read_mounts());
  for (const std::string& mount : text.mount_points) {
    if (mount != path && is_at_or_below(mount, path)) {
      return cannot("something is mounted below it, at " + printable(mount));
    }
  }
  return {};
}

}  // namespace

Result<SubvolumePlace> find_subvolume_place(const std::string& path, const Fd& root,
                                            const std::vector<std::string>& volumes,
                                            const std::string& state_folder) {
  if (!TRY(btrfs::is_on_btrfs(root))) return cannot("it is not on a btrfs");
  if (!may_administer()) {
    return Error{Code::denied, 0, "to delete a snapshot again takes CAP_SYS_ADMIN"};
  }
  SubvolumePlace place;
  const Listed listed = TRY(look_at(root));
  place.device = listed.device;
  place.inode = listed.entry.inode;
  place.is_file = !listed.entry.is_directory();
  std::string subvolume_path = path;
  if (place.is_file) {
    const auto [above, name] = split_last(path);
    subvolume_path = above.empty() ? "/" : above;
    const Fd folder = TRY(open_root(subvolume_path));
    place.below = join_path(TRY(btrfs::path_in_subvolume(folder)), name);
    place.subvolume = TRY(climb_to_root(folder, subvolume_path));
    // A file may be mounted over another.
    const Fd file = TRY(open_file(folder, name));
    const FolderId id{place.device, place.inode};
    if (TRY(id_of(file)) != id) return cannot("it does not stand where its path leads");
  } else {
    TRY(refuse_mounts(path));
    const std::string nested = TRY(btrfs::find_nested(root, kSnapshotFolder));
    if (!nested.empty()) {
      return cannot("the subvolume " + printable(nested) +
                    " is nested in it, and would be missing from a snapshot");
    }
    place.below = TRY(btrfs::path_in_subvolume(root));
    place.subvolume = TRY(climb_to_root(root, subvolume_path));
  }
  const btrfs::Subvolume subvolume = TRY(btrfs::subvolume_of(place.subvolume));
  place.uuid = subvolume.uuid;
  if (place.uuid.find_first_not_of('0') == std::string::npos) {
    return cannot("its subvolume has no uuid");
  }
  place.file_system = TRY(btrfs::file_system_of(place.subvolume));
  place.folder = TRY(find_room(place, subvolume_path, volumes, state_folder));
  return place;
}

SubvolumeSnapshots::~SubvolumeSnapshots() {
  const auto removed = remove();
  if (!removed) log::error(removed.error().message + "; hint: bygone thaw");
}

std::size_t SubvolumeSnapshots::add(const SubvolumePlace& place) {
  const auto same = [&](const Each& each) { return each.place->uuid == place.uuid; };
  const auto known = std::find_if(all_.begin(), all_.end(), same);
  if (known != all_.end()) return static_cast<std::size_t>(known - all_.begin());
  struct NameTag;
  all_.push_back({.place = &place,
                  .named = {.file_system = place.file_system,
                            .folder = place.folder,
                            .name = store::random_id<Id<NameTag, 16>>().hex(),
                            .origin = place.uuid},
                  .folder = Fd()});
  return all_.size() - 1;
}

SnapshotRecord SubvolumeSnapshots::record() const {
  SnapshotRecord record{.time = time_, .snapshots = {}};
  for (const Each& each : all_) record.snapshots.push_back(each.named);
  return record;
}

Result<void> SubvolumeSnapshots::prepare() {
  for (Each& each : all_) each.folder = TRY(open_snapshot_folder(each.named.folder));
  time_ = clock_();
  auto journal = IntentJournal::create(snapshot_journals(state_folder_), encode(record()));
  if (!journal) return std::move(journal).error().with("writing the journal of a snapshot");
  journal_ = std::move(*journal);
  return {};
}

Result<void> SubvolumeSnapshots::take() {
  CHECK(journal_.is_open());
  for (const Each& each : all_) {
    TRY(btrfs::make_snapshot(each.place->subvolume, each.folder, each.named.name));
  }
  return {};
}

Result<VolumeCopy> SubvolumeSnapshots::open(std::size_t number, const SubvolumePlace& place) const {
  const Each& each = all_.at(number);
  const Fd snapshot = TRY(open_folder(each.folder, each.named.name));
  const btrfs::Subvolume found = TRY(btrfs::subvolume_of(snapshot));
  VolumeCopy copy;
  const FolderId id = TRY(id_of(snapshot));
  copy.device = id.first;
  if (id.second != btrfs::kRootInode || !found.is_read_only || found.parent_uuid != place.uuid) {
    return Error{Code::io, 0, printable(each.named.name) + " is not the snapshot that was made"};
  }
  if (place.is_file) {
    const auto [folder, name] = split_last(place.below);
    copy.folder = std::make_shared<const Fd>(TRY(open_below(snapshot, folder)));
    copy.name = name;
    copy.root = TRY(open_file(*copy.folder, name));
  } else {
    copy.root = TRY(open_below(snapshot, place.below));
  }
  if (TRY(id_of(copy.root)) != FolderId{copy.device, place.inode}) {
    return Error{Code::io, 0, "what its path leads to is another"};
  }
  return copy;
}

Result<void> SubvolumeSnapshots::remove() {
  if (!journal_.is_open()) return {};
  std::optional<Error> failure;
  for (Each& each : all_) {
    auto deleted = delete_snapshot(each.named);
    if (!deleted && !failure) failure = std::move(deleted).error();
  }
  const SnapshotRecord left = record();
  all_.clear();
  // Unlocked: whoever looks next tries again, or finds that the deletion is durable.
  IntentJournal journal = std::exchange(journal_, IntentJournal());
  if (failure) return *failure;
  const bool durable = std::all_of(left.snapshots.begin(), left.snapshots.end(),
                                   [](const auto& each) { return each.deleted_in == 0; });
  if (durable) return journal.remove();
  auto noted = journal.replace(encode(left));
  if (!noted) return std::move(noted).error().with("noting that the snapshots are deleted");
  return {};
}

}  // namespace bygone::ingest
