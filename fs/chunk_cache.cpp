// SPDX-License-Identifier: Apache-2.0
#include "fs/chunk_cache.h"

namespace bygone::fs {

Result<BytesPtr> ChunkCache::get(const ChunkId& id) {
  if (auto hit = cache_.find(id)) return *std::move(hit);
  std::promise<Result<BytesPtr>> mine;
  std::shared_future<Result<BytesPtr>> other;
  {
    const std::lock_guard lock(mutex_);
    if (const auto flight = flights_.find(id); flight != flights_.end()) {
      other = flight->second;
    } else {
      flights_.emplace(id, mine.get_future().share());
    }
  }
  if (other.valid()) return other.get();
  Result<BytesPtr> bytes = source_.get(store::ChunkKind::data, id);
  if (bytes.ok()) cache_.insert(id, *bytes, (*bytes)->size());
  {
    const std::lock_guard lock(mutex_);
    flights_.erase(id);
  }
  mine.set_value(bytes);
  return bytes;
}

bool ChunkCache::is_near(const ChunkId& id) {
  if (cache_.find(id)) return true;
  const std::lock_guard lock(mutex_);
  return flights_.contains(id);
}

}  // namespace bygone::fs
