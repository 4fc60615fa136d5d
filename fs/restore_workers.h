// SPDX-License-Identifier: Apache-2.0
//
// A few threads that take tasks from a short queue: push() waits while it is full, so memory stays
// bounded. Tasks report their own failures. push() and finish() belong to one thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace bygone::fs {

template <class Task>
class Workers {
 public:
  using Handler = std::function<void(Task&)>;

  // Each thread asks `make_handler` for a handler of its own. A system that refuses threads gets
  // the work done inside push().
  Workers(unsigned threads, const std::function<Handler()>& make_handler)
      : limit_(std::size_t{2} * threads), inline_handler_(make_handler()) {
    for (unsigned i = 0; i < threads; ++i) {
      try {
        threads_.emplace_back([this, handler = make_handler()] { run(handler); });
      } catch (const std::system_error&) {
        break;
      }
    }
  }
  ~Workers() { finish(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void push(Task task) {
    if (threads_.empty()) return inline_handler_(task);
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return tasks_.size() < limit_; });
    tasks_.push_back(std::move(task));
    work_.notify_one();
  }

  // Waits until all tasks are done and the threads gone.
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void run(const Handler& handler) {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return finished_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      room_.notify_one();
      lock.unlock();
      handler(task);
      task = Task();  // what it holds ends before the lock is taken again
      lock.lock();
    }
  }

  const std::size_t limit_;
  Handler inline_handler_;
  std::mutex mutex_;
  std::condition_variable work_, room_;
  std::deque<Task> tasks_;
  bool finished_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bygone::fs
