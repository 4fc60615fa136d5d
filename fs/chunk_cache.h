// SPDX-License-Identifier: Apache-2.0
//
// Decoded data chunks, bounded in bytes, shared by all files. Two readers who want one chunk at
// the same time have it decoded once. Callable from any thread; no lock is held while a chunk is
// read or decoded.
#pragma once

#include <future>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "store/base/lru.h"
#include "store/tree_reader.h"

namespace bygone::fs {

using BytesPtr = std::shared_ptr<const Bytes>;

class ChunkCache {
 public:
  // `source` must outlive it.
  ChunkCache(store::ChunkSource& source, std::size_t bytes) : source_(source), cache_(bytes) {}

  // Errors: those of ChunkSource::get; a failure is not remembered.
  Result<BytesPtr> get(const ChunkId& id);
  // Whether get() would answer at once, or another caller is fetching it already.
  [[nodiscard]] bool is_near(const ChunkId& id);

 private:
  store::ChunkSource& source_;
  LruCache<ChunkId, BytesPtr, IdHash> cache_;
  std::mutex mutex_;
  std::unordered_map<ChunkId, std::shared_future<Result<BytesPtr>>, IdHash> flights_;
};

}  // namespace bygone::fs
