// SPDX-License-Identifier: Apache-2.0
#include "store/record.h"

#include <bit>
#include <map>

#include "store/base/codec.h"

namespace bygone::store {
namespace {

constexpr std::uint8_t kHasBase = 1;
constexpr std::uint32_t kTrailerMark = 0x4e475942;  // "BYGN"

Error damaged(const char* what) { return Error{Code::corrupt, 0, what}; }

Result<void> check_record(const Record& record) {
  if (record.codec > kCodecPatch) return damaged("a record of unknown codec");
  if (record.raw_size == 0 || record.raw_size > kMaxPage) return damaged("a record of odd size");
  if (record.stored_size > kMaxPage + kMaxPage / 128 + 1024) {
    return damaged("a record larger than it can be");
  }
  if (record.depth > kMaxDeltaDepth || (record.depth > 0) != record.base.has_value()) {
    return damaged("a delta of impossible depth");
  }
  if (record.codec == kCodecRaw && (record.stored_size != record.raw_size || record.base)) {
    return damaged("a raw record that is none");
  }
  if (record.codec == kCodecPatch && !record.base) return damaged("a patch of nothing");
  return {};
}

}  // namespace

std::uint64_t padded_size(std::uint64_t size) {
  if (size < 2) return size;
  const unsigned e = static_cast<unsigned>(std::bit_width(size)) - 1;
  const unsigned s = static_cast<unsigned>(std::bit_width(e));
  const std::uint64_t mask = (std::uint64_t{1} << (e - std::min(e, s))) - 1;
  return (size + mask) & ~mask;
}

Bytes encode_pack_header(const PackHeader& header) {
  Writer w;
  w.bytes(as_bytes(kPackMagic));
  w.u16(kPackVersion);
  w.u8(static_cast<std::uint8_t>(header.kind));
  w.u8(0);  // key wrap: derived from the epoch's subkey
  w.u32(header.epoch);
  w.bytes(header.repository.view());
  w.bytes(header.pack.view());
  w.zeros(kPackHeaderBytes - w.size());
  return w.take();
}

Result<PackHeader> decode_pack_header(ByteView data) {
  Reader r(data);
  if (as_text(TRY(r.bytes(8))) != kPackMagic) return damaged("not a pack");
  const std::uint16_t version = TRY(r.u16());
  const std::uint8_t kind = TRY(r.u8());
  const std::uint8_t wrap = TRY(r.u8());
  if (version != kPackVersion || wrap != 0) {
    return Error{Code::unsupported, 0, "a pack of a newer format; hint: a newer bygone wrote it"};
  }
  if (kind != 1 && kind != 2) return damaged("a pack of unknown kind");
  PackHeader header;
  header.kind = static_cast<ChunkKind>(kind);
  header.epoch = TRY(r.u32());
  header.repository = TRY(r.id<RepositoryId>());
  header.pack = TRY(r.id<PackId>());
  return header;
}

std::array<std::uint8_t, kRecordHeadBytes> encode_head(const Record& record) {
  Writer w;
  w.bytes(record.id.view());
  w.bytes(record.base.value_or(ChunkId{}).view());
  w.u64(record.volume_tag);
  w.u32(record.raw_size);
  w.u32(record.stored_size);
  w.u16(record.n);
  w.u8(record.depth);
  w.u8(record.codec);
  w.zeros(kRecordHeadBytes - w.size());
  std::array<std::uint8_t, kRecordHeadBytes> head{};
  std::copy(w.buffer().begin(), w.buffer().end(), head.begin());
  return head;
}

Result<Record> decode_head(ByteView data) {
  Reader r(data);
  Record record;
  record.id = TRY(r.id<ChunkId>());
  const ChunkId base = TRY(r.id<ChunkId>());
  record.volume_tag = TRY(r.u64());
  record.raw_size = TRY(r.u32());
  record.stored_size = TRY(r.u32());
  record.n = TRY(r.u16());
  record.depth = TRY(r.u8());
  record.codec = TRY(r.u8());
  if (!base.is_zero()) record.base = base;
  TRY(check_record(record));
  return record;
}

Bytes encode_record_table(const std::vector<Record>& records) {
  std::map<std::uint64_t, std::uint64_t> tags;
  std::vector<std::uint64_t> order;
  for (const Record& record : records) {
    if (tags.try_emplace(record.volume_tag, order.size()).second) {
      order.push_back(record.volume_tag);
    }
  }
  Writer w;
  w.varint(order.size());
  for (const std::uint64_t tag : order) w.u64(tag);
  w.varint(records.size());
  std::uint64_t end = kPackHeaderBytes;
  for (const Record& record : records) {
    w.varint((record.offset - end) / kRecordAlign);
    end = align_record(record.offset + record.pack_bytes());
    w.bytes(record.id.view());
    w.u8(static_cast<std::uint8_t>((record.base ? kHasBase : 0) | record.codec << 4));
    w.varint(tags[record.volume_tag]);
    w.varint(record.raw_size);
    w.varint(record.stored_size);
    if (!record.base) continue;
    w.bytes(record.base->view());
    w.u8(record.depth);
    w.varint(record.n);
  }
  return w.take();
}

Result<std::vector<Record>> decode_record_table(ByteView data, std::uint64_t footer_offset) {
  Reader r(data);
  std::vector<std::uint64_t> tags(TRY(r.varint_at_most(r.remaining() / 8)));
  for (std::uint64_t& tag : tags) tag = TRY(r.u64());
  const std::uint64_t count = TRY(r.varint_at_most(
      std::min<std::uint64_t>(kMaxPackRecords, r.remaining() / (ChunkId::kSize + 4))));
  std::vector<Record> records(count);
  std::uint64_t end = kPackHeaderBytes;
  for (Record& record : records) {
    record.offset = end + kRecordAlign * TRY(r.varint_at_most(kMaxPackBytes / kRecordAlign));
    record.id = TRY(r.id<ChunkId>());
    const std::uint8_t flags = TRY(r.u8());
    if ((flags & 0x0f & ~kHasBase) != 0) return damaged("a record of unknown form");
    record.codec = flags >> 4;
    const std::uint64_t tag = TRY(r.varint());
    if (tag >= tags.size()) return damaged("a record of an unlisted volume");
    record.volume_tag = tags[tag];
    record.raw_size = static_cast<std::uint32_t>(TRY(r.varint_at_most(kMaxPage)));
    record.stored_size = static_cast<std::uint32_t>(TRY(r.varint_at_most(2 * kMaxPage)));
    if ((flags & kHasBase) != 0) {
      record.base = TRY(r.id<ChunkId>());
      record.depth = TRY(r.u8());
      record.n = static_cast<std::uint16_t>(TRY(r.varint_at_most(UINT16_MAX)));
    }
    TRY(check_record(record));
    if (record.offset > footer_offset || record.pack_bytes() > footer_offset - record.offset) {
      return damaged("a record outside its pack");
    }
    end = align_record(record.offset + record.pack_bytes());
  }
  TRY(r.finish());
  return records;
}

std::vector<ChunkId> chunk_ids(const std::vector<Record>& records) {
  std::vector<ChunkId> ids;
  ids.reserve(records.size());
  for (const Record& record : records) ids.push_back(record.id);
  return ids;
}

std::array<std::uint8_t, kTrailerPlainBytes> encode_trailer(const PackTrailer& t) {
  Writer w;
  w.u32(kTrailerMark);
  w.u32(t.records);
  w.u64(t.footer_offset);
  w.u64(t.footer_size);
  w.zeros(kTrailerPlainBytes - w.size());
  std::array<std::uint8_t, kTrailerPlainBytes> out{};
  std::copy(w.buffer().begin(), w.buffer().end(), out.begin());
  return out;
}

Result<PackTrailer> decode_trailer(ByteView data) {
  Reader r(data);
  if (TRY(r.u32()) != kTrailerMark) return damaged("a trailer that is none");
  PackTrailer t;
  t.records = TRY(r.u32());
  t.footer_offset = TRY(r.u64());
  t.footer_size = TRY(r.u64());
  return t;
}

Bytes pack_associated(const PackHeader& header, char piece, ByteView more) {
  Writer w;
  w.bytes(header.repository.view());
  w.u8(static_cast<std::uint8_t>(header.kind));
  w.bytes(header.pack.view());
  w.u8(static_cast<std::uint8_t>(piece));
  w.bytes(more);
  return w.take();
}

std::string pack_path(const std::string& repository, const PackId& pack) {
  const std::string hex = pack.hex();
  return repository + "/packs/" + hex.substr(0, 2) + "/" + hex;
}

}  // namespace bygone::store
