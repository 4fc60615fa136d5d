// SPDX-License-Identifier: Apache-2.0
#include "store/compress.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <algorithm>
#include <bit>
#include <new>

#include <zstd.h>
#include <zstd_errors.h>

namespace bygone::store {
namespace {

int level_of(Compression compression) {
  switch (compression) {
    case Compression::off:
      return 0;
    case Compression::fastest:
      return 1;
    case Compression::standard:
      return 3;
    case Compression::better:
      return 6;
    case Compression::max:
      return 9;
  }
  return 3;
}

struct DecompressContext {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  DecompressContext() {
    if (context == nullptr) throw std::bad_alloc();
  }
  ~DecompressContext() { ZSTD_freeDCtx(context); }
  DecompressContext(const DecompressContext&) = delete;
  DecompressContext& operator=(const DecompressContext&) = delete;
};

ZSTD_DCtx* thread_decompressor() {
  thread_local DecompressContext holder;
  return holder.context;
}

}  // namespace

struct Compressor::Contexts {
  ZSTD_CCtx* compress = ZSTD_createCCtx();
  ZSTD_CCtx* delta = ZSTD_createCCtx();  // apart: its window would make plain frames slower
  Bytes check;
  Contexts() {
    if (compress == nullptr || delta == nullptr) throw std::bad_alloc();
  }
  ~Contexts() {
    ZSTD_freeCCtx(compress);
    ZSTD_freeCCtx(delta);
  }
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
};

Compressor::Compressor(Compression compression)
    : contexts_(std::make_unique<Contexts>()), compression_(compression) {
  const int level = level_of(compression);
  ZSTD_CCtx_setParameter(contexts_->compress, ZSTD_c_compressionLevel, level);
  // Level 1 takes too few positions of the prefix into its table: ten times the bytes on data that
  // does not compress by itself, and no time saved.
  ZSTD_CCtx_setParameter(contexts_->delta, ZSTD_c_compressionLevel, std::max(level, 2));
  for (ZSTD_CCtx* context : {contexts_->compress, contexts_->delta}) {
    // The AEAD proves the bytes and the head holds the size: neither is wanted a second time.
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0);
  }
}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor& Compressor::operator=(Compressor&&) noexcept = default;

Result<bool> Compressor::compress(ByteView raw, Bytes& out) {
  if (compression_ == Compression::off) return false;
  const std::size_t limit = raw.size() - raw.size() / 32;
  out.resize(ZSTD_compressBound(raw.size()));
  const std::size_t size =
      ZSTD_compress2(contexts_->compress, out.data(), out.size(), raw.data(), raw.size());
  if (ZSTD_isError(size) != 0) {
    return Error{Code::io, 0, std::string("compressing: ") + ZSTD_getErrorName(size)};
  }
  if (size >= limit) return false;
  out.resize(size);
  TRY(check(raw, out, {}));
  return true;
}

Result<bool> Compressor::compress_on(ByteView base, ByteView raw, std::size_t limit, Bytes& out) {
  if (compression_ == Compression::off) return false;
  // The window spans both, or the far end of the base could not be referred to.
  const int window_log =
      std::max(10, static_cast<int>(std::bit_width(base.size() + raw.size() - 1)));
  ZSTD_CCtx_setParameter(contexts_->delta, ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_refPrefix(contexts_->delta, base.data(), base.size());
  out.resize(std::min(limit, ZSTD_compressBound(raw.size())));
  const std::size_t size =
      ZSTD_compress2(contexts_->delta, out.data(), out.size(), raw.data(), raw.size());
  if (ZSTD_isError(size) != 0) {
    ZSTD_CCtx_reset(contexts_->delta, ZSTD_reset_session_only);
    if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) return false;
    return Error{Code::io, 0, std::string("compressing a delta: ") + ZSTD_getErrorName(size)};
  }
  out.resize(size);
  return true;
}

Result<void> Compressor::check(ByteView raw, ByteView stored, ByteView base) {
  ZSTD_DCtx* context = thread_decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  if (!base.empty()) ZSTD_DCtx_refPrefix(context, base.data(), base.size());
  Bytes& back = contexts_->check;
  back.resize(raw.size());
  const std::size_t size =
      ZSTD_decompressDCtx(context, back.data(), back.size(), stored.data(), stored.size());
  if (size != raw.size() || std::memcmp(back.data(), raw.data(), raw.size()) != 0) {
    return Error{Code::corrupt, 0,
                 "a compressed chunk does not decompress to what it was; "
                 "hint: test this machine's memory"};
  }
  return {};
}

Result<Bytes> decompress(ByteView data, std::size_t raw_size, ByteView base) {
  ZSTD_DCtx* context = thread_decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  if (!base.empty()) ZSTD_DCtx_refPrefix(context, base.data(), base.size());
  Bytes out(raw_size);
  const std::size_t size =
      ZSTD_decompressDCtx(context, out.data(), out.size(), data.data(), data.size());
  if (ZSTD_isError(size) != 0 || size != raw_size) {
    return Error{Code::corrupt, 0, "a compressed chunk does not decompress"};
  }
  return out;
}

}  // namespace bygone::store
