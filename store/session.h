// SPDX-License-Identifier: Apache-2.0
//
// One writing session: a backup from its first chunk to its commit. Holds the locks of DESIGN 4.6
// (shared on the newest generation, exclusive on each source), lists the packs once, adopts those
// that an interrupted session left, stores chunks and pages, and commits snapshots in the order of
// writes of FORMAT.md section 10. put_data() and get() may be called from many threads;
// everything else from one.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "store/compress.h"
#include "store/delta.h"
#include "store/pack_writer.h"
#include "store/repository.h"
#include "store/tree_writer.h"

namespace bygone::store {

// A source under its lock, with what it was at its last snapshot.
struct ClaimedSource {
  SourceId id;
  std::string display_name;
  std::optional<Snapshot> parent;         // newest by sequence that was not forgotten
  std::uint64_t sequence = 0;             // of the newest record, forgotten or not; 0: none
  SnapshotId newest;                      // its id
  std::vector<std::string> listed_names;  // taken already, in the trash too
  // Bytes stored for it, where several sources are written side by side; else its snapshot counts
  // all that was stored since the last commit.
  std::optional<std::uint64_t> added;
  // Whether anything that the parent refers to may be missing or damaged, as far as the index and
  // the notes tell: then what unchanged files would keep is to be looked up with has().
  bool may_lack_chunks = false;
  Fd lock;
};

class Session final : public ChunkSource, public PageSink {
 public:
  // Errors: those of the file system; an index that fails is reported and done without.
  static Result<std::unique_ptr<Session>> begin(Repository& repository, Compression compression);
  ~Session() override;

  // Locks a source against other backups of it. Errors: busy when one runs; invalid when the name
  // belongs to a source of another kind on the same host.
  Result<ClaimedSource> claim(SourceKind kind, const std::string& host_id, const std::string& host,
                              const std::string& name);

  // Stores a chunk of 1 to kMaxChunk bytes unless it is there already, as a delta where the hint's
  // predecessor allows it. One Compressor a thread. Errors: io, no_space; the session is lost then,
  // and every later call fails the same.
  Result<ChunkId> put_data(ByteView raw, std::uint64_t volume_tag, Compressor& compressor,
                           const ChunkHint& hint = {});
  Result<void> put_page(const ChunkId& id, Bytes page) override;
  // Chunks of this session, finished or not, and all others.
  Result<std::shared_ptr<const Bytes>> get(ChunkKind kind, const ChunkId& id) override;

  // Whether a chunk counts as stored: a copy that is not marked as damaged, with its chain of
  // bases, or one of this session.
  bool has(ChunkKind kind, const ChunkId& id);

  // The tag that binds deltas to a volume.
  [[nodiscard]] std::uint64_t volume_tag(const SourceId& source,
                                         std::string_view destination) const;
  // Bytes written to packs so far.
  [[nodiscard]] std::uint64_t added_bytes() const { return added_bytes_.load(); }
  [[nodiscard]] Repository& repository() { return repository_; }

  // Makes all chunks durable, then the record: its sequence, previous, names and id are set here.
  // Once this returns, the snapshot survives any crash. May be called for several sources in turn.
  // Errors: busy when the parent was removed for good meanwhile; io, no_space.
  Result<Snapshot> commit(ClaimedSource& source, Snapshot snapshot);

 private:
  struct ActivePack;
  Session(Repository& repository, Compression compression);
  Result<bool> is_known(ChunkKind kind, const ChunkId& id);
  Result<void> put_record(ChunkKind kind, Record record, ByteView stored);
  Result<void> store(ChunkKind kind, const ChunkId& id, ByteView raw, std::uint64_t volume_tag,
                     Compressor& compressor, const ChunkHint& hint);
  Result<ByteView> encode(Record& record, ByteView raw, Compressor& compressor,
                          const ChunkHint& hint, Bytes& buffer);
  Result<bool> encode_delta(Record& record, ByteView raw, Compressor& compressor,
                            const ChunkHint& hint, Bytes& buffer);
  Result<std::optional<Link>> find_link(const ChunkId& id);
  Result<void> list_packs();
  void keep_whole(const ClaimedSource& source, const Snapshot& snapshot);
  // `known`: packs that the index knew before the `listing` was taken.
  Result<void> look_for_damage(const std::vector<PackId>& known,
                               const std::vector<PackId>& listing);
  Result<void> read_history(ClaimedSource& source, SourceKind kind, const std::string& host_id,
                            const std::string& host, const std::string& name);
  void finish_packs();
  Result<void> finish_pack(const std::shared_ptr<ActivePack>& pack);
  Result<void> flush();
  Result<void> check_parent(const ClaimedSource& source);
  Result<void> insert_finished();
  Error fail(Error error);

  Repository& repository_;
  Compressor page_compressor_;
  Fd generation_lock_;

  // Set by begin():
  bool may_lack_chunks_ = false;         // whatever the source
  std::optional<std::uint64_t> losses_;  // of the index; nothing: it does not know all packs
  std::shared_mutex listing_mutex_;
  std::unordered_set<PackId, IdHash> listing_;  // packs whose rows are an answer

  struct Place {
    std::shared_ptr<ActivePack> pack;
    std::uint32_t slot = 0;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<std::shared_ptr<ActivePack>, 2> current_;
  std::deque<std::shared_ptr<ActivePack>> to_finish_;
  std::vector<std::shared_ptr<ActivePack>> finished_;  // not in the index yet
  std::unordered_map<ChunkId, Place, IdHash> stored_;  // of this session, not in the index yet
  std::unordered_set<ChunkId, IdHash> claimed_;        // being compressed right now
  std::size_t finishing_ = 0;
  bool stopping_ = false;
  std::optional<Error> failure_;
  std::atomic<std::uint64_t> added_bytes_{0};
  std::uint64_t committed_bytes_ = 0;  // of added_bytes_, those of snapshots committed before
  std::thread finisher_;
};

}  // namespace bygone::store
