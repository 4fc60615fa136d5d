// SPDX-License-Identifier: Apache-2.0
//
// From the items of a walk to a tree in the store. Three stages behind each other, each in walk
// order: readers (several threads, files side by side), the stream (concatenates small files and
// cuts chunks from them), the assembler (waits for chunk ids, writes nodes bottom up). Everything
// between them is bounded. push() and finish() from one thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ingest/chunk_jobs.h"
#include "ingest/file_reader.h"
#include "ingest/reader_pool.h"
#include "ingest/walk.h"
#include "store/page_liveness.h"
#include "store/tree_writer.h"

namespace bygone::ingest {

// A bounded queue from one thread to another, in order.
template <class T>
class OrderedQueue {
 public:
  explicit OrderedQueue(std::size_t capacity) : capacity_(capacity) {}
  // A value that nobody waits for may lie here until others come: in a tree that hardly changed,
  // waking the other thread for each cost a tenth of a backup.
  void push(T value, bool awaited) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return values_.size() < capacity_; });
    values_.push_back(std::move(value));
    if (ready_ || !(awaited || values_.size() >= std::min(kBatch, capacity_))) return;
    ready_ = true;
    filled_.notify_one();
  }
  // Nothing after close() and the last value.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return closed_ || ready_; });
    if (values_.empty()) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    if (values_.empty()) ready_ = false;
    // At once: the value that is taken now may wait for what the other thread does next.
    if (values_.size() + 1 == capacity_) room_.notify_one();
    return value;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    filled_.notify_one();
  }

 private:
  static constexpr std::size_t kBatch = 64;
  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable filled_;
  std::deque<T> values_;
  std::size_t capacity_;
  bool ready_ = false;  // the reader may take all that is here
  bool closed_ = false;
};

struct PipelineCounts {
  std::atomic<std::uint64_t> files{0};
  std::atomic<std::uint64_t> folders{0};
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<std::uint64_t> changed_files{0};
};

class Pipeline {
 public:
  struct Options {
    ReaderPool::Mode mode = ReaderPool::Mode::read;
    std::uint64_t volume_tag = 0;
    unsigned readers = 4;
    // What is kept by reference is written anew where it lies in a thin page; nullptr: nothing is.
    const store::PageLiveness* liveness = nullptr;
  };
  // All references must outlive the pipeline.
  Pipeline(store::Session& session, store::TreeWriter& writer, store::TreeReader& trees,
           FileReader& reader, ChunkJobs& jobs, PipelineCounts& counts, Options options);
  ~Pipeline();

  // Takes the next item; waits while the stages are full. False once they have failed.
  bool push(Item&& item);
  // Waits for the end. The volume's root entry, with resolved references. Errors: of any stage.
  Result<store::Entry> finish();
  // Makes all stages come to an end soon; finish() then reports `cancelled`.
  void abandon();
  // Files that could not be read: path, reason. After finish().
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& unreadable() const {
    return unreadable_;
  }

 private:
  class Stream;
  struct Frame;
  void run_stream();
  void run_assembler();
  Result<void> assemble(Item&& item);
  Result<void> assemble_file(Item&& item);
  Result<void> leave();
  bool touches_thin(const store::Entry& entry);
  Result<void> renew(store::Entry& entry);
  Result<void> place_content(store::Entry& entry, FileWork& work,
                             const std::optional<store::Entry>& parent);
  void add(store::Entry entry, int leaf);
  void fail(Error error);

  store::TreeWriter& writer_;
  store::TreeReader& trees_;
  ChunkJobs& jobs_;
  PipelineCounts& counts_;
  Options options_;
  const store::KeyRing& keys_;
  ReaderPool readers_;
  OrderedQueue<Item> to_stream_;
  OrderedQueue<Item> to_assembler_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::optional<store::Entry> root_;
  std::vector<std::pair<std::string, std::string>> unreadable_;
  std::atomic<bool> failed_{false};
  std::mutex error_mutex_;
  std::optional<Error> error_;
  std::thread stream_;
  std::thread assembler_;
};

}  // namespace bygone::ingest
