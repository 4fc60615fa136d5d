// SPDX-License-Identifier: Apache-2.0
//
// Chunks and pages in a map: trees without packs. Counts what goes in and out. One thread, but
// get(), which is safe from many.
#pragma once

#include <atomic>
#include <unordered_map>

#include "store/tree_reader.h"
#include "store/tree_writer.h"

namespace bygone::test {

class MemoryChunks final : public store::ChunkSource, public store::PageSink {
 public:
  Result<std::shared_ptr<const Bytes>> get(store::ChunkKind /*kind*/, const ChunkId& id) override {
    ++gets;
    const auto found = chunks.find(id);
    if (found == chunks.end()) return Error{Code::not_found, 0, "no chunk " + id.hex()};
    return found->second;
  }
  Result<void> put_page(const ChunkId& id, Bytes page) override {
    ++puts;
    put_bytes += page.size();
    chunks[id] = std::make_shared<const Bytes>(std::move(page));
    return {};
  }

  std::unordered_map<ChunkId, std::shared_ptr<const Bytes>, IdHash> chunks;
  std::atomic<std::size_t> gets{0};
  std::size_t puts = 0;
  std::size_t put_bytes = 0;
};

}  // namespace bygone::test
