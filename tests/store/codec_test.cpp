// SPDX-License-Identifier: Apache-2.0
#include "store/base/codec.h"

#include <limits>

#include <gtest/gtest.h>

#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone {
namespace {

TEST(Codec, WritesVarintsInTheirShortestForm) {
  struct Case {
    std::uint64_t value;
    Bytes encoded;
  };
  const Case cases[] = {
      {0, {0}},
      {1, {1}},
      {127, {0x7f}},
      {128, {0x80, 0x01}},
      {300, {0xac, 0x02}},
      {16384, {0x80, 0x80, 0x01}},
      {UINT64_MAX, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
  };
  for (const Case& c : cases) {
    Writer w;
    w.varint(c.value);
    EXPECT_EQ(w.buffer(), c.encoded) << c.value;
    Reader r(c.encoded);
    EXPECT_EQ(*r.varint(), c.value);
    EXPECT_OK(r.finish());
  }
}

TEST(Codec, RefusesVarintsThatAreLongerThanNeededOrTooLarge) {
  const std::pair<const char*, Bytes> cases[] = {
      {"zero in two bytes", {0x80, 0x00}},
      {"one in three bytes", {0x81, 0x80, 0x00}},
      {"65 bits", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}},
      {"eleven bytes", {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}},
      {"cut off", {0x80}},
      {"empty", {}},
  };
  for (const auto& [name, bytes] : cases) {
    Reader r(bytes);
    EXPECT_CODE(Code::corrupt, r.varint()) << name;
  }
}

TEST(Codec, GivesEveryIntegerBackAtItsWidth) {
  Writer w;
  w.u8(0xab);
  w.u16(0x1234);
  w.u32(0xdeadbeef);
  w.u64(0x0123456789abcdef);
  EXPECT_EQ(to_hex(w.buffer()), "ab3412efbeaddeefcdab8967452301");
  Reader r(w.buffer());
  EXPECT_EQ(*r.u8(), 0xab);
  EXPECT_EQ(*r.u16(), 0x1234);
  EXPECT_EQ(*r.u32(), 0xdeadbeef);
  EXPECT_EQ(*r.u64(), 0x0123456789abcdefu);
  EXPECT_OK(r.finish());
  EXPECT_CODE(Code::corrupt, r.u8());
}

TEST(Codec, KeepsSmallNegativeNumbersShort) {
  struct Case {
    std::int64_t value;
    std::size_t size;
  };
  for (const Case c : {Case{0, 1}, Case{-1, 1}, Case{63, 1}, Case{-64, 1}, Case{64, 2},
                       Case{std::numeric_limits<std::int64_t>::min(), 10},
                       Case{std::numeric_limits<std::int64_t>::max(), 10}}) {
    Writer w;
    w.svarint(c.value);
    EXPECT_EQ(w.size(), c.size) << c.value;
    Reader r(w.buffer());
    EXPECT_EQ(*r.svarint(), c.value);
  }
}

TEST(Codec, ChecksLengthsBeforeItReads) {
  Writer w;
  w.string("abc");
  Reader within(w.buffer());
  EXPECT_EQ(as_text(*within.string(3)), "abc");
  Reader beyond(w.buffer());
  EXPECT_CODE(Code::corrupt, beyond.string(2));
  const Bytes lying = {200, 1, 'a'};
  Reader cut(lying);
  EXPECT_CODE(Code::corrupt, cut.string(1000));
  Reader left(w.buffer());
  EXPECT_CODE(Code::corrupt, left.finish());
}

TEST(Codec, ReadsRandomBytesOnlyAsWhatWouldBeWrittenSo) {
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    const Bytes bytes = test::noise(12, seed);
    Reader r(bytes);
    const auto value = r.varint();
    if (!value) continue;
    Writer w;
    w.varint(*value);
    const std::size_t used = bytes.size() - r.remaining();
    EXPECT_TRUE(std::equal(w.buffer().begin(), w.buffer().end(), bytes.begin(),
                           bytes.begin() + static_cast<std::ptrdiff_t>(used)));
  }
}

}  // namespace
}  // namespace bygone
