// SPDX-License-Identifier: Apache-2.0
#include "store/compress.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <new>

#include <zstd.h>

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
  Bytes check;
  Contexts() {
    if (compress == nullptr) throw std::bad_alloc();
  }
  ~Contexts() { ZSTD_freeCCtx(compress); }
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
};

Compressor::Compressor(Compression compression)
    : contexts_(std::make_unique<Contexts>()), compression_(compression) {
  ZSTD_CCtx_setParameter(contexts_->compress, ZSTD_c_compressionLevel, level_of(compression));
  // The AEAD proves the bytes and the head holds the size: neither is wanted a second time.
  ZSTD_CCtx_setParameter(contexts_->compress, ZSTD_c_contentSizeFlag, 0);
  ZSTD_CCtx_setParameter(contexts_->compress, ZSTD_c_checksumFlag, 0);
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
  contexts_->check.resize(raw.size());
  const std::size_t back = ZSTD_decompressDCtx(thread_decompressor(), contexts_->check.data(),
                                               contexts_->check.size(), out.data(), out.size());
  if (back != raw.size() || std::memcmp(contexts_->check.data(), raw.data(), raw.size()) != 0) {
    return Error{Code::corrupt, 0,
                 "a compressed chunk does not decompress to what it was; "
                 "hint: test this machine's memory"};
  }
  return true;
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
