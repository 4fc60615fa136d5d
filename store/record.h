// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a pack's parts: header, record heads, record table, trailer (FORMAT.md section 6).
// Encoding and decoding only; pack_writer.h and pack_reader.h do the I/O. Values, any thread.
#pragma once

#include <optional>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/crypto.h"
#include "store/format.h"
#include "store/keys.h"

namespace bygone::store {

inline constexpr std::size_t kSealedHeadBytes = kRecordHeadBytes + kTagBytes;
inline constexpr std::size_t kSealedTrailerBytes = kTrailerPlainBytes + kTagBytes;

// One record, as its head and the record table tell it.
struct Record {
  ChunkId id;
  std::optional<ChunkId> base;    // of a delta
  std::uint64_t volume_tag = 0;   // keyed: bases never cross volumes
  std::uint64_t offset = 0;       // of the sealed head in the pack
  std::uint32_t raw_size = 0;     // decoded bytes
  std::uint32_t stored_size = 0;  // encoded bytes, without the tag
  std::uint16_t n = 0;            // which delta on its base, from 1; 0 for plain
  std::uint8_t depth = 0;         // 0 plain, 1 on a plain record, ...
  std::uint8_t codec = kCodecRaw;
  friend bool operator==(const Record&, const Record&) = default;

  // Bytes in the pack: sealed head and sealed body, without alignment.
  [[nodiscard]] std::uint64_t pack_bytes() const {
    return kSealedHeadBytes + stored_size + kTagBytes;
  }
};

// A pack that gives back what stands in it, finished or not. Callable from any thread.
class RecordReader {
 public:
  virtual ~RecordReader() = default;
  // The decoded record in a slot; `base` is the decoded base of a delta, else empty.
  // Errors: corrupt, io.
  [[nodiscard]] virtual Result<Bytes> read(std::uint32_t slot, ByteView base) const = 0;
};

struct PackHeader {
  ChunkKind kind = ChunkKind::data;
  std::uint32_t epoch = 1;
  RepositoryId repository;
  PackId pack;
  friend bool operator==(const PackHeader&, const PackHeader&) = default;
};

struct PackTrailer {
  std::uint64_t footer_offset = 0;
  std::uint64_t footer_size = 0;
  std::uint32_t records = 0;
};

// The ids of `records`, in their order.
[[nodiscard]] std::vector<ChunkId> chunk_ids(const std::vector<Record>& records);

[[nodiscard]] constexpr std::uint64_t align_record(std::uint64_t offset) {
  return (offset + kRecordAlign - 1) / kRecordAlign * kRecordAlign;
}
// The PADMÉ size for `size`: hides all but the leading bits of a length, for under 12 %.
[[nodiscard]] std::uint64_t padded_size(std::uint64_t size);

[[nodiscard]] Bytes encode_pack_header(const PackHeader& header);
// Errors: corrupt for a wrong magic, size or repository; unsupported for a newer version or wrap.
[[nodiscard]] Result<PackHeader> decode_pack_header(ByteView data);

[[nodiscard]] std::array<std::uint8_t, kRecordHeadBytes> encode_head(const Record& record);
// Does not know the offset: the caller sets it. Errors: corrupt.
[[nodiscard]] Result<Record> decode_head(ByteView data);

// `records` in slot order, which is the order of their offsets.
[[nodiscard]] Bytes encode_record_table(const std::vector<Record>& records);
// Errors: corrupt when records pass `footer_offset` or break a limit.
[[nodiscard]] Result<std::vector<Record>> decode_record_table(ByteView data,
                                                              std::uint64_t footer_offset);

[[nodiscard]] std::array<std::uint8_t, kTrailerPlainBytes> encode_trailer(const PackTrailer& t);
[[nodiscard]] Result<PackTrailer> decode_trailer(ByteView data);

// Associated data of every sealed piece of one pack: what it is, and in which pack of which
// repository. `piece` is 'h' head, 'b' body (followed by the plain head), 's' section head,
// 'c' section content, 't' trailer.
[[nodiscard]] Bytes pack_associated(const PackHeader& header, char piece, ByteView more = {});

// `packs/<first two digits>/<id>` below the repository.
[[nodiscard]] std::string pack_path(const std::string& repository, const PackId& pack);

}  // namespace bygone::store
