// SPDX-License-Identifier: Apache-2.0
#include "ingest/btrfs.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace bygone::ingest::btrfs {
namespace {

template <class Argument>
Result<void> call(const Fd& fd, unsigned long request, Argument* argument, const char* what) {
  // Some succeed with 1: GET_SUBVOL_INFO, of a subvolume that is the last in its tree.
  while (::ioctl(fd.get(), request, argument) < 0) {
    if (errno != EINTR) return os_error(errno, what);
  }
  return {};
}

template <std::size_t N>
std::string hex_of(const __u8 (&bytes)[N]) {
  return to_hex({bytes, N});
}

// Where subvolume `id` stands, which is listed in folder `inode` of the subvolume of `folder`: its
// path from there; empty when it is elsewhere, or gone.
Result<std::string> path_below(const Fd& folder, std::uint64_t id, std::uint64_t inode) {
  const auto args = std::make_unique<btrfs_ioctl_ino_lookup_user_args>();
  *args = {};
  args->treeid = id;
  args->dirid = inode;
  auto found = call(folder, BTRFS_IOC_INO_LOOKUP_USER, args.get(), "looking a subvolume up");
  if (found) return std::string(args->path) + args->name;
  // EACCES is the kernel's word for a folder that is not below this one.
  const int errnum = found.error().errnum;
  if (errnum == EACCES || errnum == ENOENT) return std::string();
  return std::move(found).error();
}

bool is_in(const std::string& path, const std::string& folder) {
  const std::size_t slash = path.rfind('/');
  if (folder.empty() || slash == std::string::npos) return false;
  const std::string above = "/" + path.substr(0, slash);
  return above.ends_with("/" + folder);
}

}  // namespace

Result<bool> is_on_btrfs(const Fd& fd) {
  struct statfs found {};
  if (::fstatfs(fd.get(), &found) != 0) return os_error(errno, "asking for the file system");
  return found.f_type == BTRFS_SUPER_MAGIC;
}

Result<Subvolume> subvolume_of(const Fd& fd) {
  if (!TRY(is_on_btrfs(fd))) return Error{Code::unsupported, 0, "it is not on a btrfs"};
  btrfs_ioctl_get_subvol_info_args info{};
  TRY(call(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info, "asking for the subvolume"));
  constexpr __u64 kReadOnly = 1;  // BTRFS_ROOT_SUBVOL_RDONLY: these flags are those on disk
  return Subvolume{.id = info.treeid,
                   .uuid = hex_of(info.uuid),
                   .parent_uuid = hex_of(info.parent_uuid),
                   .is_read_only = (info.flags & kReadOnly) != 0};
}

Result<std::string> path_in_subvolume(const Fd& folder) {
  struct stat st {};
  if (::fstat(folder.get(), &st) != 0) return os_error(errno, "looking at an open folder");
  if (st.st_ino == kRootInode) return std::string();
  btrfs_ioctl_ino_lookup_args args{};
  args.objectid = st.st_ino;
  TRY(call(folder, BTRFS_IOC_INO_LOOKUP, &args, "looking a folder up"));
  std::string path = args.name;
  if (path.ends_with('/')) path.pop_back();
  return path;
}

Result<std::string> file_system_of(const Fd& fd) {
  if (!TRY(is_on_btrfs(fd))) return Error{Code::unsupported, 0, "it is not on a btrfs"};
  btrfs_ioctl_fs_info_args info{};
  TRY(call(fd, BTRFS_IOC_FS_INFO, &info, "asking for the file system"));
  return hex_of(info.fsid);
}

Result<bool> is_same_file_system(const Fd& a, const Fd& b) {
  if (!TRY(is_on_btrfs(a)) || !TRY(is_on_btrfs(b))) return false;
  return TRY(file_system_of(a))
  == TRY(file_system_of(b));
}

Result<std::string> find_nested(const Fd& folder, const std::string& but_in) {
  btrfs_ioctl_get_subvol_rootref_args refs{};
  for (;;) {
    auto listed = call(folder, BTRFS_IOC_GET_SUBVOL_ROOTREF, &refs, "listing subvolumes");
    // EOVERFLOW: there are more than fit; the call has set where to go on.
    const bool more = !listed && listed.error().errnum == EOVERFLOW;
    if (!listed && !more) return std::move(listed).error();
    for (unsigned i = 0; i < refs.num_items; ++i) {
      std::string path = TRY(path_below(folder, refs.rootref[i].treeid, refs.rootref[i].dirid));
      if (!path.empty() && !is_in(path, but_in)) return path;
    }
    if (!more) return std::string();
  }
}

Result<void> make_snapshot(const Fd& subvolume, const Fd& place, const std::string& name) {
  btrfs_ioctl_vol_args_v2 args{};
  CHECK(name.size() < sizeof args.name);
  args.fd = subvolume.get();
  args.flags = BTRFS_SUBVOL_RDONLY;
  std::memcpy(args.name, name.data(), name.size());
  return call(place, BTRFS_IOC_SNAP_CREATE_V2, &args, "making a snapshot of a subvolume");
}

Result<void> destroy(const Fd& any, std::uint64_t id) {
  btrfs_ioctl_vol_args_v2 args{};
  args.flags = BTRFS_SUBVOL_SPEC_BY_ID;
  args.subvolid = id;
  return call(any, BTRFS_IOC_SNAP_DESTROY_V2, &args, "deleting a snapshot of a subvolume");
}

Result<void> commit(const Fd& any) {
  __u64 transaction = 0;
  TRY(call(any, BTRFS_IOC_START_SYNC, &transaction, "syncing a btrfs"));
  return call(any, BTRFS_IOC_WAIT_SYNC, &transaction, "syncing a btrfs");
}

Result<std::uint64_t> newest_transaction(const Fd& any) {
  btrfs_ioctl_fs_info_args info{};
  info.flags = BTRFS_FS_INFO_FLAG_GENERATION;
  TRY(call(any, BTRFS_IOC_FS_INFO, &info, "asking for the file system"));
  if ((info.flags & BTRFS_FS_INFO_FLAG_GENERATION) == 0) {
    return Error{Code::unsupported, 0, "the kernel does not tell its transactions"};
  }
  return info.generation;
}

Result<bool> is_committed(const Fd& any, std::uint64_t transaction) {
  // The next one begins while this one is still being written, the one after it when the next one
  // is, which waits for this one's end.
  const std::uint64_t newest = TRY(newest_transaction(any));
  return newest > transaction + 1;
}

}  // namespace bygone::ingest::btrfs
