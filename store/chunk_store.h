// SPDX-License-Identifier: Apache-2.0
//
// Chunks by id: resolve through the index, prove, decode, cache. Answers the index lacks or gets
// wrong are found through the pack footers; where these show them, the index is mended on the way.
// Writing goes through session.h. Callable from any thread; no lock is held during I/O or decoding.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "store/base/lru.h"
#include "store/damage_marks.h"
#include "store/delta.h"
#include "store/index.h"
#include "store/pack_reader.h"
#include "store/tree_reader.h"

namespace bygone::store {

class ChunkStore : public ChunkSource {
 public:
  // All references must outlive the store. `cache_bytes` of decoded chunks are kept.
  ChunkStore(Files& files, const KeyRing& keys, std::string repository, Index& index,
             std::size_t cache_bytes);
  ~ChunkStore() override;

  // Errors: not_found when no pack has the chunk; corrupt when every copy is damaged, naming chunk
  // and pack; io. Such a failure cost a look at every footer: it is repeated from memory for half
  // a minute.
  Result<std::shared_ptr<const Bytes>> get(ChunkKind kind, const ChunkId& id) override;

  // Whether a pack's footer shows the chunk and, for a delta, all its bases. Believes no index row
  // without the footer, nor a pack that is not in `listing`.
  Result<bool> is_stored(ChunkKind kind, const ChunkId& id,
                         const std::unordered_set<PackId, IdHash>& listing);

  // The record of a chunk that the index names and the footer of a pack in `listing` shows; its
  // base is another question. Nothing when there is none. Errors: of the index.
  Result<std::optional<Link>> find_link(ChunkKind kind, const ChunkId& id,
                                        const std::unordered_set<PackId, IdHash>& listing);

  // Bytes of chunks and pages decoded so far, bases of deltas among them: what reading costs.
  [[nodiscard]] std::uint64_t decoded_bytes() const { return decoded_bytes_.load(); }

  // An open pack, from a small cache. Errors: those of PackReader::open.
  Result<std::shared_ptr<const PackReader>> pack(const PackId& id);
  // Lets go of packs that were removed: while one is open here, its space is not free. For whoever
  // lives long.
  void close_removed_packs();
  // The packs in `packs/` now.
  Result<std::vector<PackId>> list_packs();
  // Has find_link() and is_stored() pass by what is marked as damaged, from now on.
  void pass_by(DamageMarks marks);
  // Inserts packs that the index does not know (adoption), but for undurable() ones. Those that are
  // gone keep their names in it, for a session to see; their rows are no answer. Damaged footers
  // are skipped with a warning. Returns the listing. Errors: of the medium; of the index.
  Result<std::vector<PackId>> adopt_packs();
  // Makes the names of packs durable: syncs the folders that they are in, each once. Errors: io;
  // the rest is not synced then.
  Result<void> sync_folders(const std::vector<PackId>& packs);
  // Those of `packs` that a power cut may take: in a folder that sync_folders() could not sync,
  // where a second sync would say that all is well, and unknown to the index, which learns of packs
  // only behind a sync that succeeded. Nothing may build on them.
  std::unordered_set<PackId, IdHash> undurable(const std::vector<PackId>& packs);
  // Empties the index and adopts all packs. Errors: as adopt_packs(); an index so damaged that it
  // cannot be emptied is marked, and the next start makes a new one.
  Result<void> rebuild_index();

 private:
  bool is_marked(const ChunkId& id, const PackId& pack);
  bool is_in_unsynced_folder(const PackId& pack);
  Result<std::shared_ptr<const Bytes>> read_at(ChunkKind kind, const ChunkId& id,
                                               const Location& at, int depth);
  Result<std::shared_ptr<const Bytes>> fetch(ChunkKind kind, const ChunkId& id, int depth);
  Result<std::shared_ptr<const Bytes>> fetch_slowly(ChunkKind kind, const ChunkId& id,
                                                    const std::optional<Location>& tried,
                                                    Error error, int depth);
  std::optional<Location> find_adopted(const ChunkId& id);
  void rebuild_once(const ChunkId& id);
  std::vector<Location> find_copies(const ChunkId& id);

  Files& files_;
  const KeyRing& keys_;
  std::string repository_;
  Index& index_;
  LruCache<ChunkId, std::shared_ptr<const Bytes>, IdHash> chunks_;
  LruCache<PackId, std::shared_ptr<const PackReader>, IdHash> packs_;
  struct Failure {
    Error error;
    std::chrono::steady_clock::time_point until;
  };
  LruCache<ChunkId, Failure, IdHash> failures_;
  std::atomic<std::uint64_t> decoded_bytes_{0};
  std::mutex slow_mutex_;  // one rebuild at a time; the others wait for its answer
  bool rebuilt_ = false;   // guarded by slow_mutex_
  std::mutex sync_mutex_;
  std::set<std::string> unsynced_folders_;  // guarded by sync_mutex_
  std::mutex marks_mutex_;
  std::shared_ptr<const DamageMarks> marks_;  // guarded by marks_mutex_
};

}  // namespace bygone::store
