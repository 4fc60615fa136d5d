// SPDX-License-Identifier: Apache-2.0
#include "store/record.h"

#include <gtest/gtest.h>

#include "store/base/codec.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

using test::value_of;

ChunkId id_of(std::uint8_t fill) {
  ChunkId id;
  id.bytes.fill(fill);
  return id;
}

std::vector<Record> some_records() {
  Record plain{
      .id = id_of(1), .volume_tag = 7, .offset = 128, .raw_size = 1000, .stored_size = 400};
  plain.codec = kCodecZstd;
  Record raw{.id = id_of(2), .volume_tag = 8, .raw_size = 50, .stored_size = 50};
  raw.offset = align_record(plain.offset + plain.pack_bytes());
  Record delta{.id = id_of(3), .volume_tag = 7, .raw_size = 1000, .stored_size = 40};
  delta.base = id_of(1);
  delta.depth = 1;
  delta.n = 300;
  delta.codec = kCodecZstd;
  delta.offset = align_record(raw.offset + raw.pack_bytes()) + 64;  // a gap, as repair may leave
  return {plain, raw, delta};
}

TEST(Record, HeadsAndTablesGiveEveryFieldBack) {
  const std::vector<Record> records = some_records();
  for (const Record& record : records) {
    Record again = value_of(decode_head(encode_head(record)));
    again.offset = record.offset;
    EXPECT_EQ(again, record);
  }
  const Bytes table = encode_record_table(records);
  EXPECT_EQ(value_of(decode_record_table(table, 10'000)), records);
  EXPECT_EQ(encode_record_table(value_of(decode_record_table(table, 10'000))), table);
}

TEST(Record, TablesAreRefusedWhenCutExtendedOrPastTheFooter) {
  const Bytes table = encode_record_table(some_records());
  for (std::size_t size = 0; size < table.size(); ++size) {
    EXPECT_FALSE(decode_record_table(ByteView(table).first(size), 10'000).ok()) << size;
  }
  Bytes longer = table;
  longer.push_back(0);
  EXPECT_CODE(Code::corrupt, decode_record_table(longer, 10'000));
  EXPECT_CODE(Code::corrupt, decode_record_table(table, 900));
}

TEST(Record, TablesOfRandomBytesNeitherCrashNorAllocateMuch) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    Bytes bytes = test::noise(1 + seed % 200, seed);
    ignore(decode_record_table(bytes, 1u << 30), "only that it returns");
    bytes = encode_record_table(some_records());
    bytes[seed % bytes.size()] ^= static_cast<std::uint8_t>(1 + seed % 255);
    const auto decoded = decode_record_table(bytes, 10'000);
    EXPECT_TRUE(!decoded || decoded->size() <= 4);
  }
}

TEST(Record, ImpossibleHeadsAreRefused) {
  struct Case {
    const char* name;
    void (*change)(Record&);
  };
  const Case cases[] = {
      {"an unknown codec", [](Record& r) { r.codec = 2; }},
      {"no bytes", [](Record& r) { r.raw_size = 0; }},
      {"more bytes than a page has", [](Record& r) { r.raw_size = kMaxPage + 1; }},
      {"a stored size past the limit", [](Record& r) { r.stored_size = 2 * kMaxPage; }},
      {"a raw record of another size", [](Record& r) { r.codec = kCodecRaw; }},
      {"depth without base", [](Record& r) { r.depth = 1; }},
      {"base without depth", [](Record& r) { r.base = id_of(9); }},
      {"a depth of eight",
       [](Record& r) {
         r.base = id_of(9);
         r.depth = 8;
       }},
      {"a raw delta",
       [](Record& r) {
         r.base = id_of(9);
         r.depth = 1;
         r.codec = kCodecRaw;
         r.stored_size = r.raw_size;
       }},
  };
  for (const Case& c : cases) {
    Record record = some_records()[0];
    c.change(record);
    EXPECT_CODE(Code::corrupt, decode_head(encode_head(record))) << c.name;
    if (!record.base && record.depth > 0) continue;  // a table has no place for it
    EXPECT_CODE(Code::corrupt,
                decode_record_table(encode_record_table({record}), std::uint64_t{1} << 31))
        << c.name;
  }
}

TEST(Record, ATableWithUnknownFlagsIsNotGuessedAt) {
  Bytes table = encode_record_table({some_records()[0]});
  // 1 tag count, 8 tag, 1 record count, 1 offset, 32 id, then the flags.
  const std::size_t flags = 1 + 8 + 1 + 1 + 32;
  ASSERT_EQ(table[flags], kCodecZstd << 4);
  for (const unsigned bit : {2u, 4u, 8u}) {
    Bytes changed = table;
    changed[flags] = static_cast<std::uint8_t>(changed[flags] | bit);
    EXPECT_CODE(Code::corrupt, decode_record_table(changed, 10'000));
  }
}

TEST(Record, PackHeadersTellForeignAndNewerPacksApart) {
  const PackHeader header{.kind = ChunkKind::page, .epoch = 3, .repository = {}, .pack = {}};
  const Bytes bytes = encode_pack_header(header);
  ASSERT_EQ(bytes.size(), kPackHeaderBytes);
  const PackHeader again = value_of(decode_pack_header(bytes));
  EXPECT_EQ(again.kind, ChunkKind::page);
  EXPECT_EQ(again.epoch, 3u);
  struct Case {
    const char* name;
    std::size_t at;
    std::uint8_t byte;
    Code code;
  };
  for (const Case& c :
       {Case{"magic", 0, 'X', Code::corrupt}, Case{"version", 8, 2, Code::unsupported},
        Case{"kind", 10, 3, Code::corrupt}, Case{"key wrap", 11, 1, Code::unsupported}}) {
    Bytes changed = bytes;
    changed[c.at] = c.byte;
    EXPECT_CODE(c.code, decode_pack_header(changed)) << c.name;
  }
}

TEST(Record, TrailersCarryTheirMark) {
  const PackTrailer trailer{.footer_offset = 1 << 20, .footer_size = 900, .records = 12};
  auto bytes = encode_trailer(trailer);
  const PackTrailer again = value_of(decode_trailer(bytes));
  EXPECT_EQ(again.footer_offset, trailer.footer_offset);
  EXPECT_EQ(again.footer_size, trailer.footer_size);
  EXPECT_EQ(again.records, trailer.records);
  bytes[0] ^= 1;
  EXPECT_CODE(Code::corrupt, decode_trailer(bytes));
}

TEST(Record, PaddingGrowsNoFileByMoreThanTwelvePercentAndHidesLowBits) {
  std::uint64_t last = 0;
  for (std::uint64_t size = 1; size < (1u << 22); size += 1 + size / 97) {
    const std::uint64_t padded = padded_size(size);
    EXPECT_GE(padded, size);
    EXPECT_LE(padded, size + size * 12 / 100 + 1) << size;
    EXPECT_GE(padded, last);
    EXPECT_EQ(padded_size(padded), padded);
    last = padded;
  }
  EXPECT_EQ(padded_size(1'000'000), padded_size(999'999));
}

}  // namespace
}  // namespace bygone::store
