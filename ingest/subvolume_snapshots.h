// SPDX-License-Identifier: Apache-2.0
//
// Snapshots of the btrfs subvolumes that hold volumes: where a volume's can be made, and all those
// of one instant, from their journal to their end. Several volumes of a subvolume share a snapshot.
// Pauses nobody. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ingest/intent_journal.h"
#include "ingest/snapshot_journal.h"
#include "ingest/source_tree.h"
#include "store/base/clock.h"
#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

// A volume that can be captured by a snapshot.
struct SubvolumePlace {
  Fd subvolume;              // the open root of the subvolume that holds it
  std::string uuid;          // of that
  std::uint64_t device = 0;  // its st_dev
  std::string below;         // the volume's path from there; empty when it is the subvolume itself
  std::uint64_t inode = 0;   // of the volume's root
  bool is_file = false;      // a bind of a file
  std::string file_system;   // its id
  std::string folder;        // path of the kSnapshotFolder that its snapshot is made in
};

// Finds how the volume at `path` can be captured, which is open as `root`: a folder, or a file.
// `volumes` are the paths of all volumes that are captured with it, in none of which the snapshot
// may show; the state folder is taken where it is on the same file system, else the topmost folder
// of that. Makes the kSnapshotFolder. `path` is canonical. Errors: unsupported when it is on no
// btrfs, has subvolumes or mounts nested in it, or there is no room for the snapshot; denied when
// this process may not delete snapshots; those of the file system.
Result<SubvolumePlace> find_subvolume_place(const std::string& path, const Fd& root,
                                            const std::vector<std::string>& volumes,
                                            const std::string& state_folder);

// A volume as it was.
struct VolumeCopy {
  Fd root;
  Folder folder;  // of a file: the one that holds it, and
  std::string name;
  std::uint64_t device = 0;  // st_dev of the snapshot
};

class SubvolumeSnapshots {
 public:
  // `state_folder` is where the journal is kept.
  SubvolumeSnapshots(std::string state_folder, Clock clock)
      : state_folder_(std::move(state_folder)), clock_(std::move(clock)) {}
  // Deletes what remove() did not.
  ~SubvolumeSnapshots();
  SubvolumeSnapshots(const SubvolumeSnapshots&) = delete;
  SubvolumeSnapshots& operator=(const SubvolumeSnapshots&) = delete;

  // Takes up the subvolume of a place, which must stay until take() is done; what open() wants.
  std::size_t add(const SubvolumePlace& place);
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] bool is_prepared() const { return journal_.is_open(); }
  // Writes the journal, before anybody stands still. Errors: io, no_space, denied.
  Result<void> prepare();
  // Makes all snapshots, while the writers stand still. Cost: a commit of the file system for each,
  // whatever its size. Errors: those of btrfs::make_snapshot().
  Result<void> take();
  // Opens the volume of `place` in snapshot `number`; nothing that somebody has put in the way
  // leads elsewhere. Errors: io when what is there is not the snapshot, or not the volume.
  [[nodiscard]] Result<VolumeCopy> open(std::size_t number, const SubvolumePlace& place) const;
  // Deletes all. The journal stays until that is durable (snapshot_journal.h). Errors: those of
  // delete_snapshot(); io or no_space when the journal cannot tell so.
  Result<void> remove();

 private:
  struct Each {
    const SubvolumePlace* place = nullptr;  // of the first volume
    SnapshotRecord::Snapshot named;
    Fd folder;
  };

  [[nodiscard]] SnapshotRecord record() const;

  std::string state_folder_;
  Clock clock_;
  Nanoseconds time_ = 0;  // of prepare()
  IntentJournal journal_;
  std::vector<Each> all_;
};

}  // namespace bygone::ingest
