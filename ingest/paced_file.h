// SPDX-License-Identifier: Apache-2.0
//
// One open file of a source on its way through the hot pass: read at the pace of a Limiter, and
// taken out of the page cache again as far as it was not there before, so that a backup does not
// push out what the application works with. One thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "ingest/limiter.h"
#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

// Reads up to `out.size()` bytes at `offset`, 0 at the end. Errors: os_error().
[[nodiscard]] Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset);

class PacedFile {
 public:
  enum class Cache {
    as_before,  // pages that were not there go again
    keep,       // they stay: the file will be read once more, soon and fast
  };
  // `limiter` nullptr or off: plain reads. All references must outlive the file.
  PacedFile(const Fd& fd, std::uint64_t size, Limiter* limiter, Cache cache,
            const std::atomic<bool>* cancel);
  ~PacedFile();
  PacedFile(const PacedFile&) = delete;
  PacedFile& operator=(const PacedFile&) = delete;

  // As read_at(), from low offsets to high ones; may wait before, and read less than there is
  // room. Errors: also cancelled.
  Result<std::size_t> read(MutableByteView out, std::uint64_t offset);

 private:
  void look_ahead(std::uint64_t offset);
  [[nodiscard]] std::uint64_t absent(std::uint64_t begin, std::uint64_t end) const;
  void drop(std::uint64_t until);

  const Fd& fd_;
  std::uint64_t size_;
  Limiter* limiter_;
  Cache cache_;
  const std::atomic<bool>& cancel_;
  // Of each page of the segment from segment_begin_, whether it was in the cache.
  std::vector<unsigned char> present_;
  std::uint64_t segment_begin_ = 0;
  std::uint64_t segment_end_ = 0;
  std::uint64_t dropped_ = 0;  // everything before it has been dealt with
  std::uint64_t read_to_ = 0;
};

}  // namespace bygone::ingest
