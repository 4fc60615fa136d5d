// SPDX-License-Identifier: Apache-2.0
//
// zstd, bounded: compress a chunk, decompress to an exact size, and deltas on an older chunk: the
// frame has that as prefix, or both hold only what differs. The only includer of <zstd.h>. One
// Compressor per thread; the functions are callable from any thread. FORMAT.md section 5.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::store {

// --compression: what zstd level new records get. From `standard` on, as many bytes as an Effort
// holds get the better search: what changed within an hour is little, and is kept for long.
enum class Compression { off, fastest, standard, better, max };

// A stock of bytes that may cost more time, shared by the Compressors of one backup. Callable from
// any thread.
class Effort {
 public:
  explicit Effort(std::size_t bytes = 16u << 20) : left_(bytes) {}
  // Whether any of it was left; takes `bytes`, or what there is.
  bool take(std::size_t bytes);

 private:
  std::atomic<std::size_t> left_;
};

// Reusable zstd contexts; about 3 MiB, 1.5 without an effort, and 3 more once there are deltas.
// Move-only, one thread at a time.
class Compressor {
 public:
  // Without an effort nothing gets the better search.
  explicit Compressor(Compression compression,
                      std::shared_ptr<Effort> effort = std::make_shared<Effort>());
  ~Compressor();
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;

  // Compresses `raw` into `out` (replaced) and compares what comes back with `raw`. False when it
  // does not shrink by at least 1/32, or compression is off: then `raw` is to be stored as it is.
  // Errors: corrupt when the decompressed bytes differ (a fault of memory or compressor).
  Result<bool> compress(ByteView raw, Bytes& out);
  // Makes a delta of `raw` on `base` (1 byte to kMaxPage) and returns its codec; what comes back is
  // to be compared with check(). A patch where little differs, else, or where that is smaller, a
  // frame with `base` as prefix. Nothing when it takes more than `limit` bytes or compression is
  // off. Errors: io.
  Result<std::optional<std::uint8_t>> compress_on(ByteView base, ByteView raw, std::size_t limit,
                                                  Bytes& out);
  // Whether `stored` decodes to `raw`, on `base` unless that is empty. What cannot be read back is
  // not to be written. Errors: corrupt (a fault of memory or compressor).
  Result<void> check(std::uint8_t codec, ByteView raw, ByteView stored, ByteView base);

 private:
  struct Contexts;
  Result<bool> patch(ByteView base, ByteView raw, std::size_t limit, Bytes& out);
  std::unique_ptr<Contexts> contexts_;
  Compression compression_;
  std::shared_ptr<Effort> effort_;
};

// Decodes the stored bytes of a record, of any codec but raw, into exactly `raw_size` bytes; `base`
// is that of a delta, empty for a plain record. Errors: corrupt when they do not give that.
[[nodiscard]] Result<Bytes> decompress(std::uint8_t codec, ByteView stored, std::size_t raw_size,
                                       ByteView base = {});

}  // namespace bygone::store
