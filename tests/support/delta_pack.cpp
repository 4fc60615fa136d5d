// SPDX-License-Identifier: Apache-2.0
#include "tests/support/delta_pack.h"

#include <zstd.h>

#include "store/compress.h"
#include "store/pack_writer.h"
#include "tests/support/expect.h"

namespace bygone::test {

using namespace store;

Bytes compress_on(ByteView raw, ByteView base) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 22);
  ZSTD_CCtx_refPrefix(context, base.data(), base.size());
  Bytes out(ZSTD_compressBound(raw.size()));
  const std::size_t size = ZSTD_compress2(context, out.data(), out.size(), raw.data(), raw.size());
  ZSTD_freeCCtx(context);
  if (ZSTD_isError(size) != 0) throw std::runtime_error(ZSTD_getErrorName(size));
  out.resize(size);
  return out;
}

PackId write_pack(Repository& repository, const std::vector<TestRecord>& records, ChunkKind kind) {
  const KeyRing& keys = repository.keys();
  auto writer = value_of(PackWriter::create(repository.files(), keys, repository.path(), kind));
  for (const TestRecord& each : records) {
    Record record{.id = keys.chunk_id(kind, each.raw), .volume_tag = 5};
    record.raw_size = static_cast<std::uint32_t>(each.raw.size());
    Bytes stored = each.raw;
    if (each.base) {
      record.codec = kCodecZstd;
      stored = compress_on(each.raw, *each.base);
      if (each.patch) {
        Compressor compressor(Compression::standard);
        record.codec =
            *value_of(compressor.compress_on(*each.base, each.raw, each.raw.size(), stored));
        CHECK(record.codec == kCodecPatch);
      }
      record.base = keys.chunk_id(kind, *each.base);
      record.depth = each.depth;
      record.n = 1;
    }
    record.stored_size = static_cast<std::uint32_t>(stored.size());
    writer->reserve(record);
    value_of(writer->write(record, stored));
  }
  value_of(writer->finish());
  return writer->id();
}

}  // namespace bygone::test
