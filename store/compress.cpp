// SPDX-License-Identifier: Apache-2.0
#include "store/compress.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <algorithm>
#include <bit>
#include <new>

#include <zstd.h>
#include <zstd_errors.h>

#include "store/format.h"
#include "store/patch.h"

namespace bygone::store {
namespace {

constexpr std::size_t kPatchShare = 4;  // a patch is tried when a quarter differs at most
constexpr std::size_t kLongPatch = 64;  // and a frame beside one of more than so much of the chunk

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

// The search of zstd's levels from 16 on, whose parser weighs what each match costs, with fewer
// candidates: WAL and rows come out a seventh smaller than at level 8 or 15, at 13 MB/s and core.
// Zeros leave everything to the level.
void set_search(ZSTD_CCtx* context, bool thorough) {
  const std::pair<ZSTD_cParameter, int> search[] = {
      {ZSTD_c_strategy, ZSTD_btopt}, {ZSTD_c_hashLog, 18}, {ZSTD_c_chainLog, 18},
      {ZSTD_c_searchLog, 2},         {ZSTD_c_minMatch, 4}, {ZSTD_c_targetLength, 16}};
  for (const auto& [parameter, value] : search) {
    ZSTD_CCtx_setParameter(context, parameter, thorough ? value : 0);
  }
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

// Both as large as kMaxPage at most.
Result<bool> compress_with_prefix(ZSTD_CCtx* context, ByteView prefix, ByteView raw,
                                  std::size_t limit, Bytes& out) {
  // The window spans both, or the far end of the prefix could not be referred to.
  const int window_log =
      std::max(10, static_cast<int>(std::bit_width(prefix.size() + raw.size() - 1)));
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  if (!prefix.empty()) ZSTD_CCtx_refPrefix(context, prefix.data(), prefix.size());
  out.resize(std::min(limit, ZSTD_compressBound(raw.size())));
  const std::size_t size = ZSTD_compress2(context, out.data(), out.size(), raw.data(), raw.size());
  if (ZSTD_isError(size) != 0) {
    ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
    if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) return false;
    return Error{Code::io, 0, std::string("compressing a delta: ") + ZSTD_getErrorName(size)};
  }
  out.resize(size);
  return true;
}

Result<void> decode_frame(ByteView frame, ByteView prefix, MutableByteView out) {
  ZSTD_DCtx* context = thread_decompressor();
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  if (!prefix.empty()) ZSTD_DCtx_refPrefix(context, prefix.data(), prefix.size());
  const std::size_t size =
      ZSTD_decompressDCtx(context, out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(size) != 0 || size != out.size()) {
    return Error{Code::corrupt, 0, "a compressed chunk does not decompress"};
  }
  return {};
}

Result<void> decode_patch(ByteView stored, ByteView base, MutableByteView out) {
  Reader reader(stored);
  const Runs runs = TRY(decode_runs(reader, base.size(), out.size()));
  const ByteView frame = TRY(reader.bytes(reader.remaining()));
  std::size_t changed = 0;
  for (const Run& run : runs) changed += run.end - run.begin;
  Bytes after(changed);
  if (!runs.empty()) {
    TRY(decode_frame(frame, gather(runs, base), after));
  } else if (!frame.empty()) {
    return Error{Code::corrupt, 0, "a patch that changes nothing is longer than that"};
  }
  std::copy_n(base.begin(), std::min(base.size(), out.size()), out.begin());
  scatter(runs, after, out);
  return {};
}

Result<void> decode(std::uint8_t codec, ByteView stored, ByteView base, MutableByteView out) {
  return codec == kCodecPatch ? decode_patch(stored, base, out) : decode_frame(stored, base, out);
}

}  // namespace

struct Compressor::Contexts {
  ZSTD_CCtx* compress = ZSTD_createCCtx();
  // Apart: their windows would make plain frames slower.
  ZSTD_CCtx* prefix = ZSTD_createCCtx();
  ZSTD_CCtx* patch = ZSTD_createCCtx();
  Bytes frame, check;
  Contexts() {
    if (compress == nullptr || prefix == nullptr || patch == nullptr) throw std::bad_alloc();
  }
  ~Contexts() {
    for (ZSTD_CCtx* context : {compress, prefix, patch}) ZSTD_freeCCtx(context);
  }
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
};

bool Effort::take(std::size_t bytes) {
  std::size_t left = left_.load();
  while (left > 0 && !left_.compare_exchange_weak(left, left - std::min(left, bytes))) {
  }
  return left > 0;
}

Compressor::Compressor(Compression compression, std::shared_ptr<Effort> effort)
    : contexts_(std::make_unique<Contexts>()),
      compression_(compression),
      effort_(compression == Compression::fastest ? nullptr : std::move(effort)) {
  const int level = level_of(compression);
  ZSTD_CCtx_setParameter(contexts_->compress, ZSTD_c_compressionLevel, level);
  // Level 1 takes too few positions of the prefix into its table: ten times the bytes on data that
  // does not compress by itself, and no time saved.
  ZSTD_CCtx_setParameter(contexts_->prefix, ZSTD_c_compressionLevel, std::max(level, 2));
  // Some hundred bytes: they cost nothing at a level that makes them a tenth smaller.
  ZSTD_CCtx_setParameter(contexts_->patch, ZSTD_c_compressionLevel, std::max(level, 6));
  for (ZSTD_CCtx* context : {contexts_->compress, contexts_->prefix, contexts_->patch}) {
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
  set_search(contexts_->compress, effort_ && effort_->take(raw.size()));
  const std::size_t size =
      ZSTD_compress2(contexts_->compress, out.data(), out.size(), raw.data(), raw.size());
  if (ZSTD_isError(size) != 0) {
    return Error{Code::io, 0, std::string("compressing: ") + ZSTD_getErrorName(size)};
  }
  if (size >= limit) return false;
  out.resize(size);
  TRY(check(kCodecZstd, raw, out, {}));
  return true;
}

Result<bool> Compressor::patch(ByteView base, ByteView raw, std::size_t limit, Bytes& out) {
  const auto runs = differences(base, raw, raw.size() / kPatchShare);
  if (!runs) return false;
  Writer writer;
  encode_runs(*runs, raw.size(), writer);
  if (writer.size() > limit) return false;
  if (!runs->empty()) {
    Bytes& frame = contexts_->frame;
    if (!TRY(compress_with_prefix(contexts_->patch, gather(*runs, base), gather(*runs, raw),
                                  limit - writer.size(), frame))) {
      return false;
    }
    writer.bytes(frame);
  }
  out.assign(writer.buffer().begin(), writer.buffer().end());  // which keeps its room
  return true;
}

Result<std::optional<std::uint8_t>> Compressor::compress_on(ByteView base, ByteView raw,
                                                            std::size_t limit, Bytes& out) {
  std::optional<std::uint8_t> codec;
  if (compression_ == Compression::off) return codec;
  if (TRY(patch(base, raw, limit, out))) {
    codec = kCodecPatch;
    // What moved within the chunk stands in the whole base, but not in these places of it.
    if (out.size() <= raw.size() / kLongPatch) return codec;
    limit = out.size() - 1;
  }
  Bytes& frame = contexts_->frame;
  if (TRY(compress_with_prefix(contexts_->prefix, base, raw, limit, frame))) {
    codec = kCodecZstd;
    out.swap(frame);
  }
  return codec;
}

Result<void> Compressor::check(std::uint8_t codec, ByteView raw, ByteView stored, ByteView base) {
  Bytes& back = contexts_->check;
  back.resize(raw.size());
  if (!decode(codec, stored, base, back) || std::memcmp(back.data(), raw.data(), raw.size()) != 0) {
    return Error{Code::corrupt, 0,
                 "a compressed chunk does not decompress to what it was; "
                 "hint: test this machine's memory"};
  }
  return {};
}

Result<Bytes> decompress(std::uint8_t codec, ByteView stored, std::size_t raw_size, ByteView base) {
  Bytes out(raw_size);
  TRY(decode(codec, stored, base, out));
  return out;
}

}  // namespace bygone::store
