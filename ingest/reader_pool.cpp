// SPDX-License-Identifier: Apache-2.0
#include "ingest/reader_pool.h"

#include <algorithm>

namespace bygone::ingest {
namespace {

constexpr std::size_t kSmallRoom = 16u << 20;  // bytes of small files read ahead
constexpr std::size_t kMaxWorks = 4096;
constexpr std::size_t kMaxFolders = 128;  // one descriptor each

std::size_t room_of(const FileWork& work) { return work.large ? 0 : work.entry.size; }

}  // namespace

ReaderPool::ReaderPool(FileReader& reader, Mode mode, unsigned threads)
    : reader_(reader), room_(kSmallRoom) {
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this, mode] {
      if (mode != Mode::capture) Limiter::give_way(reader_.limiter());
      run(mode);
    });
  }
}

ReaderPool::~ReaderPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ReaderPool::push(std::shared_ptr<FileWork> work) {
  std::unique_lock lock(mutex_);
  const auto is_neighbour = [&] {
    return !works_.empty() && works_.back()->folder == work->folder;
  };
  changed_.wait(lock, [&] {
    return works_.size() < kMaxWorks && (folders_ < kMaxFolders || is_neighbour());
  });
  if (!is_neighbour()) ++folders_;
  works_.push_back(std::move(work));
  changed_.notify_all();
}

void ReaderPool::release(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  room_ += bytes;
  changed_.notify_all();
}

void ReaderPool::abandon() {
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
  changed_.notify_all();
}

void ReaderPool::run(Mode mode) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] {
      if (works_.empty()) return stopping_;
      return abandoned_ || room_of(*works_.front()) <= room_;
    });
    if (works_.empty()) return;
    const std::shared_ptr<FileWork> work = std::move(works_.front());
    works_.pop_front();
    if (works_.empty() || works_.front()->folder != work->folder) --folders_;
    const std::size_t room = abandoned_ ? 0 : room_of(*work);
    room_ -= room;
    const bool abandoned = abandoned_;
    changed_.notify_all();
    lock.unlock();
    if (abandoned) {
      work->outcome = FileWork::Outcome::gone;
    } else if (mode == Mode::read) {
      reader_.read(*work);
    } else if (mode == Mode::look_ahead) {
      reader_.look_ahead(*work);
    } else if (mode == Mode::capture) {
      reader_.capture(*work);
    } else {
      reader_.resolve(*work);
    }
    work->folder.reset();
    // Room is held for content that waits for the stream, and only as much as it takes.
    const std::size_t used = work->outcome == FileWork::Outcome::small ? work->content.size() : 0;
    work->room = std::min(used, room);
    announce(work->read_done);
    lock.lock();
    room_ += room - std::min(used, room);
    changed_.notify_all();
  }
}

}  // namespace bygone::ingest
