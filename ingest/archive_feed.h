// SPDX-License-Identifier: Apache-2.0
//
// The engine's archive of a path as a stream to read from: a thread of its own takes it from the
// engine, a little ahead of who reads. Bounded: an engine that is faster waits. One reader.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "ingest/docker/engine.h"
#include "ingest/limiter.h"
#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct FeedOptions {
  // How far it is ahead of its reader: what is asked for and not read has cost as much.
  std::size_t block = 1u << 20;  // bytes that are handed over at once
  std::size_t blocks = 8;
  // When this is set the transfer ends with `unavailable`. May be null.
  const std::atomic<bool>* over = nullptr;
};

class ArchiveFeed {
 public:
  // Begins to read `path` of a container. `limiter` may be null; the references must outlive the
  // feed.
  ArchiveFeed(docker::Engine& engine, std::string container, std::string path, Limiter* limiter,
              const std::atomic<bool>& cancel, FeedOptions options = {});
  // Ends the transfer, wherever it is; within some 100 ms.
  ~ArchiveFeed();
  ArchiveFeed(const ArchiveFeed&) = delete;
  ArchiveFeed& operator=(const ArchiveFeed&) = delete;

  // The next bytes; empty at the end, which proves nothing. Valid until the next call. Errors: the
  // engine's; cancelled.
  Result<ByteView> next();
  // Ends the transfer, as the destructor does. Nothing follows but the questions below.
  void stop();
  // How long the transfer took by itself: without the time in which it waited for the reader and
  // the limiter. After its end.
  [[nodiscard]] std::chrono::nanoseconds transfer_time();
  // Bytes that the engine has sent.
  [[nodiscard]] std::uint64_t received() const { return received_; }

 private:
  void run(const std::string& container, const std::string& path);
  Result<void> take(ByteView bytes);
  void put(Bytes block);
  [[nodiscard]] std::optional<Error> ordered_end();

  docker::Engine& engine_;
  Limiter* limiter_;
  const std::atomic<bool>& cancel_;
  const FeedOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> received_{0};
  Bytes filling_;  // of the thread alone
  Bytes given_;    // what next() gave last
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Bytes> blocks_;  // guarded by mutex_, as all below
  bool ended_ = false;
  std::optional<Error> failure_;
  std::chrono::nanoseconds waited_{0};
  std::chrono::nanoseconds took_{0};
  std::thread thread_;
};

}  // namespace bygone::ingest
