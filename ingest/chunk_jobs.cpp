// SPDX-License-Identifier: Apache-2.0
#include "ingest/chunk_jobs.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMaxBytes = 16u << 20;
constexpr std::size_t kMostSpare = 3;  // buffers that wait for their next use

}  // namespace

ChunkJobs::ChunkJobs(store::Session& session, store::Compression compression, unsigned threads,
                     const Limiter* limiter, const std::shared_ptr<store::Effort>& effort)
    : session_(session) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([=, this] {
      Limiter::give_way(limiter);
      run(store::Compressor(compression, effort));
    });
  }
}

ChunkJobs::~ChunkJobs() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ChunkJobs::answer(PendingChunk& chunk, const ChunkId& id) {
  chunk.id_ = id;
  chunk.done_.store(true, std::memory_order_release);
  chunk.done_.notify_all();
}

std::shared_ptr<Bytes> ChunkJobs::buffer(std::size_t size) {
  if (size != kPooledBuffer) return std::make_shared<Bytes>(size);
  std::unique_ptr<Bytes> taken;
  {
    const std::lock_guard lock(spare_->mutex);
    if (!spare_->buffers.empty()) {
      taken = std::move(spare_->buffers.back());
      spare_->buffers.pop_back();
    }
  }
  if (!taken) taken = std::make_unique<Bytes>(size);
  return {taken.release(), [spare = spare_](Bytes* bytes) {
            std::unique_ptr<Bytes> own(bytes);
            const std::lock_guard lock(spare->mutex);
            if (spare->buffers.size() < kMostSpare) spare->buffers.push_back(std::move(own));
          }};
}

std::shared_ptr<PendingChunk> ChunkJobs::put(std::shared_ptr<const Bytes> buffer,
                                             std::size_t offset, std::size_t size,
                                             std::uint64_t volume_tag, store::ChunkHint hint) {
  auto chunk = std::make_shared<PendingChunk>();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return abandoned_ || bytes_ < kMaxBytes; });
  if (abandoned_) {
    answer(*chunk, ChunkId{});
    return chunk;
  }
  bytes_ += size;
  jobs_.push_back({std::move(buffer), offset, size, volume_tag, std::move(hint), chunk});
  changed_.notify_all();
  return chunk;
}

void ChunkJobs::fail(Error error) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(error);
  }
  abandon();
}

void ChunkJobs::abandon() {
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
  for (const Job& job : jobs_) answer(*job.chunk, ChunkId{});
  jobs_.clear();
  changed_.notify_all();
}

std::optional<Error> ChunkJobs::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void ChunkJobs::run(store::Compressor compressor) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    const auto id = session_.put_data(ByteView(*job.buffer).subspan(job.offset, job.size),
                                      job.volume_tag, compressor, job.hint);
    // The error first: whoever gets no id asks why.
    if (!id) fail(id.error());
    answer(*job.chunk, id ? *id : ChunkId{});
    lock.lock();
    bytes_ -= job.size;
    job = Job();
    changed_.notify_all();
  }
}

}  // namespace bygone::ingest
