// SPDX-License-Identifier: Apache-2.0
//
// Reader threads that take files in the order in which they are handed in. The small files read
// and not yet consumed are bounded in bytes; the room is taken in that same order, so that a file
// never waits for one that comes after it. The folders that waiting files hold open are bounded,
// too. push() from one thread; release() and abandon() from any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "ingest/file_reader.h"

namespace bygone::ingest {

// Sets a flag of a FileWork, and wakes who waits for it.
inline void announce(std::atomic<bool>& flag) {
  flag.store(true, std::memory_order_release);
  flag.notify_all();
}

class ReaderPool {
 public:
  enum class Mode { read, look_ahead, capture, resolve };
  ReaderPool(FileReader& reader, Mode mode, unsigned threads);
  ~ReaderPool();
  ReaderPool(const ReaderPool&) = delete;
  ReaderPool& operator=(const ReaderPool&) = delete;
  void push(std::shared_ptr<FileWork> work);
  // The content of a small file has been consumed: `bytes` of room are free again.
  void release(std::size_t bytes);
  // Works that wait are answered as gone: after a cancel.
  void abandon();

 private:
  void run(Mode mode);
  FileReader& reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<FileWork>> works_;
  std::size_t folders_ = 0;  // of works_, neighbours in one folder counted once
  std::size_t room_;
  bool stopping_ = false;
  bool abandoned_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bygone::ingest
