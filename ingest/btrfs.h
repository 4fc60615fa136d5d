// SPDX-License-Identifier: Apache-2.0
//
// Subvolumes of a btrfs through the ioctls of <linux/btrfs.h>, of Linux 5.7 and later: which one a
// file is in, what is nested below a folder, snapshots made and destroyed. Decides nothing; knows
// no journal. Any thread. See btrfs-ioctl(2) and btrfs-subvolume(8).
#pragma once

#include <cstdint>
#include <string>

#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest::btrfs {

// Inode number of the root of every subvolume.
constexpr std::uint64_t kRootInode = 256;
// Of the empty folder that stands in a snapshot where a nested subvolume was.
constexpr std::uint64_t kLostSubvolumeInode = 2;

struct Subvolume {
  std::uint64_t id = 0;
  std::string uuid;         // hex
  std::string parent_uuid;  // of the one that it is a snapshot of; zeros for none
  bool is_read_only = false;
};

// Errors of all: os_error() of the failed call.

[[nodiscard]] Result<bool> is_on_btrfs(const Fd& fd);
// The subvolume that an open file or folder is in. Errors: unsupported when it is on no btrfs.
[[nodiscard]] Result<Subvolume> subvolume_of(const Fd& fd);
// Path of the open folder from the root of its subvolume, whatever is mounted where; empty for the
// root itself. Takes CAP_SYS_ADMIN.
[[nodiscard]] Result<std::string> path_in_subvolume(const Fd& folder);
// The id of the whole file system, hex, the same for all of its mounts.
[[nodiscard]] Result<std::string> file_system_of(const Fd& fd);
// Whether the file systems of both are one.
[[nodiscard]] Result<bool> is_same_file_system(const Fd& a, const Fd& b);

// Path of a subvolume that is nested below the open folder, from there; empty for none. Those whose
// folder is called `but_in` do not count. Cost: a call for each that is nested in the folder's own
// subvolume.
[[nodiscard]] Result<std::string> find_nested(const Fd& folder, const std::string& but_in);

// Makes the read-only snapshot `name` in the open folder `place`, of the subvolume whose open root
// is `subvolume`, with all that was written until now. Another mount of the same file system will
// do. Cost: that of writing what is dirty in the subvolume. Errors: exists; denied; no_space.
Result<void> make_snapshot(const Fd& subvolume, const Fd& place, const std::string& name);
// Destroys the subvolume with this id, wherever it is; `any` is open on the same file system. Its
// blocks become free later. Takes may_administer(). Errors: not_found.
Result<void> destroy(const Fd& any, std::uint64_t id);
// Makes what was made and destroyed so far durable. Cost: whoever writes waits for it.
Result<void> commit(const Fd& any);
// The transaction that began last; what was made and destroyed so far is durable with it. Numbers
// grow. Errors: unsupported by kernels before 5.9.
[[nodiscard]] Result<std::uint64_t> newest_transaction(const Fd& any);
// Whether that one is durable for certain, which shows only when two more have begun. Waits for
// nothing, and brings none about.
[[nodiscard]] Result<bool> is_committed(const Fd& any, std::uint64_t transaction);

}  // namespace bygone::ingest::btrfs
