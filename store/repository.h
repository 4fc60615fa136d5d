// SPDX-License-Identifier: Apache-2.0
//
// A repository on disk: create it, open it with a secret, list its snapshots, read its trees and
// chunks. What writes (backup) goes through session.h. Readers take no lock. Callable from any
// thread once open.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/base/result.h"
#include "store/crypto.h"
#include "store/keys.h"
#include "store/snapshot.h"
#include "store/tree_reader.h"

namespace bygone::store {

class ChunkStore;
class Index;

struct OpenOptions {
  std::string index_dir;  // empty: `index/` in the repository
  std::size_t page_cache_bytes = 16u << 20;
  std::size_t chunk_cache_bytes = 32u << 20;
  Files* files = nullptr;  // nullptr: system_files()
};

class Repository {
 public:
  // Creates a repository at `path` (which must be absent, an empty folder, or what an interrupted
  // create() left) with one key slot.
  // Errors: exists when the folder is not empty; those of the file system.
  static Result<void> create(const std::string& path, const Secret& secret,
                             Files& files = system_files());
  // Where the configuration is damaged or gone, its copy opens the repository as well.
  // Errors: not_found when `path` holds no repository; denied when no key slot opens with
  // `secret`; unsupported for an unknown format version or incompatible flag; corrupt when the
  // configuration or the keys are damaged.
  static Result<std::unique_ptr<Repository>> open(const std::string& path, const Secret& secret,
                                                  const OpenOptions& options = {});
  ~Repository();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const RepositoryId& id() const { return id_; }
  [[nodiscard]] const KeyRing& keys() const { return *keys_; }
  // The configuration that proved itself, as it is on disk.
  [[nodiscard]] const Bytes& config() const { return config_; }
  // Gives a repository that was made before there was a copy of the configuration one. The caller
  // holds the lock of prune. Errors: no_space; io.
  Result<void> add_config_copy();
  // Name of the key slot that opened it.
  [[nodiscard]] const std::string& slot() const { return slot_; }
  [[nodiscard]] Files& files() const { return *files_; }
  [[nodiscard]] TreeReader& trees() { return *trees_; }
  [[nodiscard]] ChunkStore& chunks() { return *chunks_; }
  [[nodiscard]] Index& index() { return *index_; }

  // Ids of the committed snapshots: the names in `snapshots/`. Unordered.
  Result<std::vector<SnapshotId>> snapshot_ids();
  // Errors: not_found when it is not (or no longer) committed; corrupt when it does not prove
  // itself.
  Result<Snapshot> snapshot(const SnapshotId& id);
  // Every committed snapshot by (display name, instant, sequence). A record that is damaged is
  // left out and named in `damaged` when given, else an error. One that needs a newer key
  // (keys.h) is left out and named in `locked` when given, else an error: who only reads may go on
  // without it, nobody else.
  Result<std::vector<Snapshot>> snapshots(std::vector<std::string>* damaged = nullptr,
                                          std::vector<std::string>* locked = nullptr);
  // The same for who holds the lock on names, so that none may vanish: one that is listed and
  // cannot be read, be it damaged or not there (a listing that is stale, on NFS), is an error.
  Result<std::vector<Snapshot>> all_snapshots();
  // As snapshots(), of those that were forgotten and stand in `trash/` until they expire. What is
  // in both folders counts as not forgotten.
  Result<std::vector<SnapshotId>> trashed_ids();
  Result<Snapshot> trashed_snapshot(const SnapshotId& id);
  Result<std::vector<Snapshot>> trashed_snapshots(std::vector<std::string>* damaged = nullptr,
                                                  std::vector<std::string>* locked = nullptr);

  // Whether the record of `id` stands in `snapshots/` or in `trash/`, although it may be moved
  // meanwhile. Errors: those of the file system.
  [[nodiscard]] Result<bool> has_record(const SnapshotId& id) const;
  // The content of a record's file, proven to be that of `id`. Errors: corrupt; unsupported for a
  // record of a later version, which is whole.
  [[nodiscard]] Result<Snapshot> unseal_snapshot(const SnapshotId& id, ByteView sealed) const;

 private:
  friend class Session;
  Repository() = default;

  std::string path_;
  RepositoryId id_;
  Bytes config_;
  Files* files_ = nullptr;
  std::unique_ptr<KeyRing> keys_;
  std::string slot_;
  std::unique_ptr<Index> index_;
  std::unique_ptr<ChunkStore> chunks_;
  std::unique_ptr<TreeReader> trees_;
};

}  // namespace bygone::store
