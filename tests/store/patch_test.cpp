// SPDX-License-Identifier: Apache-2.0
#include "store/patch.h"

#include <random>

#include <gtest/gtest.h>

#include "store/compress.h"
#include "store/format.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

using test::value_of;

Runs decoded(ByteView bytes, std::size_t base_size, std::size_t raw_size) {
  Reader reader(bytes);
  Runs runs = value_of(decode_runs(reader, base_size, raw_size));
  EXPECT_OK(reader.finish());
  return runs;
}

TEST(Patch, FindsTheUnitsThatDiffer) {
  const Bytes base = test::noise(10'000, 1);
  struct Case {
    const char* name;
    std::size_t size;                  // of the chunk
    std::vector<std::size_t> touched;  // bytes that differ
    Runs runs;
  };
  const Case cases[] = {
      {"nothing", 10'000, {}, {}},
      {"the first byte and the last", 10'000, {0, 9'999}, {{0, 64}, {9'984, 10'000}}},
      {"neighbours join", 10'000, {64, 191}, {{64, 192}}},
      {"across a glance", 10'000, {4'095, 4'096}, {{4'032, 4'160}}},
      {"one unit between", 10'000, {0, 128}, {{0, 64}, {128, 192}}},
      {"shorter than its base", 9'990, {}, {}},
      // 10,000 is no multiple of the unit: the unit in which the base ends is not wholly in it.
      {"longer than its base", 10'100, {}, {{9'984, 10'100}}},
      {"longer, and changed before that", 10'100, {9'970}, {{9'920, 10'100}}},
      {"one byte of it", 1, {0}, {{0, 1}}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Bytes raw = base;
    raw.resize(c.size, 7);
    for (const std::size_t i : c.touched) raw[i] ^= 1;
    const auto runs = differences(base, raw, raw.size());
    ASSERT_TRUE(runs);
    EXPECT_EQ(*runs, c.runs);
    Writer writer;
    encode_runs(*runs, raw.size(), writer);
    EXPECT_EQ(decoded(writer.buffer(), base.size(), raw.size()), c.runs);
    Bytes back = base;
    back.resize(c.size);
    scatter(*runs, gather(*runs, raw), back);
    EXPECT_EQ(back, raw);
  }
}

TEST(Patch, GivesUpWhereTooMuchDiffers) {
  const Bytes base = test::noise(10'000, 1);
  Bytes raw = base;
  for (std::size_t i = 0; i < 640; i += 64) raw[i] ^= 1;
  EXPECT_FALSE(differences(base, raw, 639));
  EXPECT_TRUE(differences(base, raw, 640));
}

TEST(Patch, HoldsForAnyTwoChunks) {
  std::mt19937_64 random(5);
  Compressor compressor(Compression::standard);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    const Bytes base = test::noise(1 + random() % 20'000, random());
    Bytes raw = base;
    raw.resize(1 + random() % (base.size() + base.size() / 8));
    for (std::size_t edits = random() % 12; edits > 0; --edits) {
      const std::size_t at = random() % raw.size();
      const std::size_t size = std::min(raw.size() - at, std::size_t{1} + random() % 100);
      const Bytes fresh = test::noise(size, random());
      std::copy(fresh.begin(), fresh.end(), raw.begin() + static_cast<std::ptrdiff_t>(at));
    }
    Bytes out;
    const auto codec = value_of(compressor.compress_on(base, raw, raw.size() + 100, out));
    ASSERT_TRUE(codec);
    EXPECT_EQ(value_of(decompress(*codec, out, raw.size(), base)), raw);
  }
}

TEST(Patch, RefusesRunsThatCannotBe) {
  struct Case {
    const char* name;
    Bytes bytes;
    std::size_t base_size, raw_size;
  };
  const Case cases[] = {
      {"no runs at all", {}, 640, 640},
      {"cut off after the equal units", {5}, 640, 640},
      {"more equal units than the chunk has", {11}, 640, 640},
      {"more changed units than are left", {5, 6}, 640, 640},
      {"a run of nothing", {5, 0, 5}, 640, 640},
      {"two runs that touch", {2, 3, 0, 5}, 640, 640},
      {"equal units behind the base's end", {10}, 639, 640},
      {"equal units behind it after a run", {2, 3, 5}, 500, 640},
      {"a number longer than it must be", {0x8a, 0x00}, 640, 640},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Reader reader(c.bytes);
    EXPECT_CODE(Code::corrupt, decode_runs(reader, c.base_size, c.raw_size));
    EXPECT_CODE(Code::corrupt,
                decompress(kCodecPatch, c.bytes, c.raw_size, test::noise(c.base_size, 1)));
  }
}

TEST(Patch, SurvivesDamageAndAWrongBase) {
  Compressor compressor(Compression::standard);
  const Bytes base = test::prose(20'000, 1);
  Bytes raw = base;
  for (std::size_t i = 0; i < raw.size(); i += 1000) raw[i] ^= 1;
  Bytes out;
  ASSERT_EQ(value_of(compressor.compress_on(base, raw, raw.size(), out)), kCodecPatch);
  for (std::size_t i = 0; i < 8 * out.size(); ++i) {
    Bytes damaged = out;
    damaged[i / 8] ^= static_cast<std::uint8_t>(1u << i % 8);
    const auto result = decompress(kCodecPatch, damaged, raw.size(), base);
    EXPECT_TRUE(!result || result->size() == raw.size()) << i;
  }
  for (std::size_t size = 0; size < out.size(); ++size) {
    EXPECT_CODE(Code::corrupt,
                decompress(kCodecPatch, ByteView(out).first(size), raw.size(), base));
  }
  EXPECT_CODE(Code::corrupt, decompress(kCodecPatch, out, raw.size(), {}));
  EXPECT_CODE(Code::corrupt, decompress(kCodecPatch, out, raw.size() + 64, base));
  EXPECT_CODE(Code::corrupt, decompress(kCodecPatch, out, raw.size(), ByteView(base).first(9000)));
}

}  // namespace
}  // namespace bygone::store
