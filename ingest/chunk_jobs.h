// SPDX-License-Identifier: Apache-2.0
//
// Worker threads that turn runs of bytes into stored chunks: hash, deduplicate, compress, seal,
// write. The bytes under way are bounded; who hands in more waits. Callable from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "ingest/limiter.h"
#include "store/session.h"

namespace bygone::ingest {

// A chunk on its way: its id is known once it is stored.
class PendingChunk {
 public:
  // Waits until the chunk is stored, or the jobs failed (then the id is zero).
  [[nodiscard]] const ChunkId& wait() const {
    done_.wait(false, std::memory_order_acquire);
    return id_;
  }

 private:
  friend class ChunkJobs;
  ChunkId id_;
  std::atomic<bool> done_{false};
};

// Buffers of this size are used again: fresh ones cost a page fault every 4 KiB.
inline constexpr std::size_t kPooledBuffer = 4u << 20;

class ChunkJobs {
 public:
  // The threads give way to others as `limiter` says. Each has a Compressor, and they share an
  // effort, if any.
  ChunkJobs(store::Session& session, store::Compression compression, unsigned threads,
            const Limiter* limiter = nullptr,
            const std::shared_ptr<store::Effort>& effort = std::make_shared<store::Effort>());
  // Waits for what was handed in.
  ~ChunkJobs();
  ChunkJobs(const ChunkJobs&) = delete;
  ChunkJobs& operator=(const ChunkJobs&) = delete;

  // A buffer for put(), of any content. It may outlive the jobs.
  std::shared_ptr<Bytes> buffer(std::size_t size);
  // Stores `size` bytes of `buffer` from `offset` as one chunk (1 to kMaxChunk bytes); the buffer
  // is shared until then and must not change in that range. The hint is Session::put_data()'s.
  std::shared_ptr<PendingChunk> put(std::shared_ptr<const Bytes> buffer, std::size_t offset,
                                    std::size_t size, std::uint64_t volume_tag,
                                    store::ChunkHint hint = {});
  // Drops what waits and answers every later put() with a zero id: after an error or a cancel.
  void abandon();
  // The first error of any job.
  [[nodiscard]] std::optional<Error> failure();

 private:
  struct Job {
    std::shared_ptr<const Bytes> buffer;
    std::size_t offset = 0;
    std::size_t size = 0;
    std::uint64_t volume_tag = 0;
    store::ChunkHint hint;
    std::shared_ptr<PendingChunk> chunk;
  };
  struct Spare {
    std::mutex mutex;
    std::vector<std::unique_ptr<Bytes>> buffers;  // guarded by mutex
  };
  void run(store::Compressor compressor);
  void fail(Error error);
  static void answer(PendingChunk& chunk, const ChunkId& id);

  store::Session& session_;
  const std::shared_ptr<Spare> spare_ = std::make_shared<Spare>();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::size_t bytes_ = 0;  // handed in and not stored yet
  bool stopping_ = false;
  bool abandoned_ = false;
  std::optional<Error> failure_;
  std::vector<std::thread> threads_;
};

}  // namespace bygone::ingest
