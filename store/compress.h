// SPDX-License-Identifier: Apache-2.0
//
// zstd, bounded: compress a chunk, decompress to an exact size, with an older chunk as prefix for
// deltas. The only includer of <zstd.h>. One Compressor per thread; the functions are callable
// from any thread. FORMAT.md section 5.
#pragma once

#include <memory>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::store {

// --compression: what zstd level new records get.
enum class Compression { off, fastest, standard, better, max };

// Reusable zstd contexts; about 2 MiB, and 3 more once there are deltas. Move-only, one thread at a
// time.
class Compressor {
 public:
  explicit Compressor(Compression compression);
  ~Compressor();
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;

  // Compresses `raw` into `out` (replaced) and compares what comes back with `raw`. False when it
  // does not shrink by at least 1/32, or compression is off: then `raw` is to be stored as it is.
  // Errors: corrupt when the decompressed bytes differ (a fault of memory or compressor).
  Result<bool> compress(ByteView raw, Bytes& out);
  // Compresses `raw` with `base` (1 byte to kMaxPage) as prefix, for a delta; what comes back is to
  // be compared with check(). False when it takes more than `limit` bytes, which is noticed as soon
  // as they are full, or when compression is off. Errors: io.
  Result<bool> compress_on(ByteView base, ByteView raw, std::size_t limit, Bytes& out);
  // Whether `stored` decompresses to `raw`, on `base` unless that is empty. What cannot be read
  // back is not to be written. Errors: corrupt (a fault of memory or compressor).
  Result<void> check(ByteView raw, ByteView stored, ByteView base);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
  Compression compression_;
};

// Decompresses into exactly `raw_size` bytes; `base` is the prefix of a delta, empty for a plain
// record. Errors: corrupt when the data is not zstd, or of another size.
[[nodiscard]] Result<Bytes> decompress(ByteView data, std::size_t raw_size, ByteView base = {});

}  // namespace bygone::store
