// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a file, from the store to a descriptor or against one. Holes stay holes, written
// zeros stay allocated. Remembers the last chunk, because small neighbours share one. One object a
// thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/tree_reader.h"

namespace bygone::fs {

class Content {
 public:
  // All must outlive the object. `bytes_done` grows with every byte, holes included.
  Content(store::TreeReader& trees, store::ChunkSource& chunks, const std::atomic<bool>& cancel,
          std::atomic<std::uint64_t>& bytes_done)
      : trees_(trees), chunks_(chunks), cancel_(cancel), bytes_done_(bytes_done) {}

  // Writes the part of `file` from `begin` to `end` (or its size) at the same place of `fd`, an
  // empty file. The size of `fd` is the caller's to set. Errors: cancelled; those of TreeReader,
  // ChunkSource and write(2).
  Result<void> write(int fd, const store::Entry& file, std::uint64_t begin, std::uint64_t end);
  // The bytes dealt with since the last call.
  [[nodiscard]] std::uint64_t take_count() { return std::exchange(count_, 0); }
  // Reads `fd` and compares it with `file`. Errors: corrupt, naming the first difference.
  Result<void> compare(int fd, const store::Entry& file);

 private:
  using Piece = std::function<Result<void>(std::uint64_t offset, const store::Extent&)>;
  Result<void> each_piece(const store::Entry& file, std::uint64_t begin, std::uint64_t end,
                          const Piece& piece);
  Result<ByteView> bytes_of(const store::Extent& extent);
  void count(std::uint64_t bytes);

  store::TreeReader& trees_;
  store::ChunkSource& chunks_;
  const std::atomic<bool>& cancel_;
  std::atomic<std::uint64_t>& bytes_done_;
  ChunkId last_id_;
  std::shared_ptr<const Bytes> last_;
  Bytes buffer_;
  std::uint64_t count_ = 0;
};

}  // namespace bygone::fs
