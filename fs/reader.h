// SPDX-License-Identifier: Apache-2.0
//
// The bytes of captured files: extents to chunks to pieces of memory, with read-ahead for files
// that are read in order. Knows no names and no FUSE. Callable from any thread; no lock is held
// while anything is read or decoded.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "fs/chunk_cache.h"
#include "fs/tree.h"
#include "store/base/lru.h"

namespace bygone::fs {

// A run of a file's bytes in memory, which `owner` keeps alive.
struct Piece {
  std::shared_ptr<const void> owner;
  ByteView bytes;
};

struct ReaderOptions {
  std::size_t cache_bytes = 32u << 20;        // decoded chunks
  std::uint64_t read_ahead_bytes = 3u << 20;  // decoded in advance, for each file read in order
  unsigned threads = 2;                       // that decode in advance; 0: no read-ahead
};

class Reader {
 public:
  // All must outlive it.
  Reader(store::TreeReader& trees, store::ChunkSource& chunks, ReaderOptions options = {});
  // Waits for chunks that are being decoded in advance.
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The bytes [offset, offset + size) of `file`, in order; fewer only at its end. `stream` names
  // the open file: reads of one stream in order are read ahead. Holes are zeros.
  // Errors: corrupt for damaged or missing chunks and for extents that do not cover the file, io
  // for a file that could not be read when it was captured: then nothing of the range is given.
  Result<std::vector<Piece>> read(std::uint64_t stream, const EntryPtr& file, std::uint64_t offset,
                                  std::uint64_t size);
  // The next offset from `offset` that is data, or in a hole (the end of the file is one).
  // Nothing at or behind the end of the file, or when only a hole follows.
  Result<std::optional<std::uint64_t>> next_data(const store::Entry& file, std::uint64_t offset);
  Result<std::optional<std::uint64_t>> next_hole(const store::Entry& file, std::uint64_t offset);

 private:
  struct Stream {
    std::mutex mutex;
    std::uint64_t next = 0;   // where the last read ended
    std::uint64_t ahead = 0;  // how far chunks were asked for in advance
  };

  Result<void> append(const store::Extent& extent, std::uint64_t skip, std::uint64_t length,
                      std::vector<Piece>& out);
  void read_ahead(std::uint64_t stream, const store::Entry& file, std::uint64_t offset,
                  std::uint64_t size);
  void fetch_soon(const store::Entry& file, std::uint64_t from, std::uint64_t to);
  void work();

  store::TreeReader& trees_;
  ReaderOptions options_;
  ChunkCache cache_;
  LruCache<std::uint64_t, std::shared_ptr<Stream>> streams_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<ChunkId> wanted_;  // guarded by mutex_
  bool stop_ = false;           // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace bygone::fs
