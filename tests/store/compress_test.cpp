// SPDX-License-Identifier: Apache-2.0
#include "store/compress.h"

#include <gtest/gtest.h>

#include "store/format.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

TEST(Compress, GivesTheBytesBackAtEveryLevelAndSize) {
  for (const Compression level :
       {Compression::fastest, Compression::standard, Compression::better, Compression::max}) {
    Compressor compressor(level);
    for (const std::size_t size : {100u, 4096u, 65'537u, 1u << 20}) {
      SCOPED_TRACE(size);
      const Bytes raw = test::prose(size, size);
      Bytes out;
      ASSERT_TRUE(test::value_of(compressor.compress(raw, out)));
      EXPECT_LT(out.size(), raw.size());
      EXPECT_EQ(test::value_of(decompress(kCodecZstd, out, raw.size())), raw);
    }
  }
}

// Little is what an hour changed: it is kept for long, and compressed better.
TEST(Compress, TakesMoreTimeForTheFirstBytesOfAllThatShareAnEffort) {
  const Bytes raw = test::prose(1u << 20, 1);
  const auto size = [&](Compressor& compressor) {
    Bytes stored;
    EXPECT_TRUE(test::value_of(compressor.compress(raw, stored)));
    EXPECT_EQ(test::value_of(decompress(kCodecZstd, stored, raw.size())), raw);
    return stored.size();
  };
  Compressor usual(Compression::standard, nullptr);
  const std::size_t plain = size(usual);
  const auto effort = std::make_shared<Effort>(5u << 19);
  Compressor one(Compression::standard, effort), two(Compression::standard, effort);
  const std::size_t thorough = size(one);
  EXPECT_LT(thorough, plain);
  EXPECT_EQ(size(two), thorough);
  EXPECT_EQ(size(one), thorough);  // half of it was left
  EXPECT_EQ(size(two), plain);
  EXPECT_EQ(size(one), plain);  // its context has forgotten
  Compressor fastest(Compression::fastest), without(Compression::fastest, nullptr);
  EXPECT_EQ(size(fastest), size(without));
  Compressor max(Compression::max, nullptr);
  EXPECT_LT(size(max), plain);
}

TEST(Compress, LeavesNoiseTinyInputAndEverythingAtLevelOffAlone) {
  Bytes out;
  Compressor standard(Compression::standard);
  EXPECT_FALSE(test::value_of(standard.compress(test::noise(100'000, 1), out)));
  EXPECT_FALSE(test::value_of(standard.compress(test::prose(3, 1), out)));
  Compressor off(Compression::off);
  EXPECT_FALSE(test::value_of(off.compress(test::prose(100'000, 1), out)));
}

TEST(Compress, MakesADeltaTheSizeOfTheChange) {
  struct Case {
    const char* name;
    std::size_t base_size, raw_size;
    std::uint8_t codec;
    std::size_t overhead;
  };
  const Case cases[] = {{"equal sizes", 256u << 10, 256u << 10, kCodecPatch, 200},
                        {"the largest chunks", 1u << 20, 1u << 20, kCodecPatch, 700},
                        {"grown", 250'000, 252'000, kCodecPatch, 200},
                        {"cut off", 1u << 20, 300'000, kCodecPatch, 200},
                        {"a short base", 5000, 300'000, kCodecZstd, 700},
                        {"a short chunk", 1u << 20, 3000, kCodecPatch, 50},
                        {"one byte", 1, 1, kCodecZstd, 20}};
  for (const Compression level :
       {Compression::fastest, Compression::standard, Compression::better, Compression::max}) {
    Compressor compressor(level);
    for (const Case& c : cases) {
      SCOPED_TRACE(c.name);
      // The far end of the base is what the chunk begins with: the window has to reach it.
      const Bytes base = test::noise(c.base_size, 1);
      Bytes raw(base.begin(),
                base.begin() + static_cast<std::ptrdiff_t>(std::min(c.base_size, c.raw_size)));
      const Bytes fresh = test::noise(c.raw_size - raw.size(), 2);
      raw.insert(raw.end(), fresh.begin(), fresh.end());
      for (std::size_t i = 0; i < raw.size(); i += 50'000) raw[i] ^= 1;
      Bytes out;
      const auto codec = test::value_of(compressor.compress_on(base, raw, raw.size() + 100, out));
      ASSERT_EQ(codec, c.codec);
      EXPECT_LT(out.size(), fresh.size() + c.overhead);
      EXPECT_EQ(test::value_of(decompress(*codec, out, raw.size(), base)), raw);
      EXPECT_OK(compressor.check(*codec, raw, out, base));
      Bytes fault = raw;
      fault.back() ^= 1;
      EXPECT_CODE(Code::corrupt, compressor.check(*codec, fault, out, base));
    }
    // A plain frame after a delta owes nothing to it.
    const Bytes raw = test::prose(100'000, 3);
    Bytes out;
    ASSERT_TRUE(test::value_of(compressor.compress(raw, out)));
    EXPECT_EQ(test::value_of(decompress(kCodecZstd, out, raw.size())), raw);
  }
}

TEST(Compress, MakesNoDeltaOverTheLimitNorAtLevelOff) {
  const Bytes base = test::noise(200'000, 1);
  const Bytes other = test::noise(200'000, 2);
  Bytes near = base;
  for (std::size_t i = 0; i < 640; i += 64) near[100'000 + i] ^= 1;
  Bytes out;
  Compressor standard(Compression::standard);
  EXPECT_FALSE(test::value_of(standard.compress_on(base, other, 100'000, out)));
  EXPECT_FALSE(test::value_of(standard.compress_on(base, near, 0, out)));
  EXPECT_FALSE(test::value_of(standard.compress_on(base, near, 10, out)));
  EXPECT_EQ(test::value_of(standard.compress_on(base, near, 1000, out)), kCodecPatch);
  EXPECT_EQ(test::value_of(decompress(kCodecPatch, out, near.size(), base)), near);
  Compressor off(Compression::off);
  EXPECT_FALSE(test::value_of(off.compress_on(base, near, 1000, out)));
}

TEST(Compress, TakesTheFormThatFitsTheChange) {
  Compressor compressor(Compression::standard);
  const Bytes base = test::noise(256u << 10, 1);
  const auto form = [&](const Bytes& raw, std::size_t at_most) {
    Bytes out;
    const auto codec = test::value_of(compressor.compress_on(base, raw, raw.size(), out));
    EXPECT_TRUE(codec);
    EXPECT_LE(out.size(), at_most);
    EXPECT_EQ(test::value_of(decompress(codec.value_or(0), out, raw.size(), base)), raw);
    return codec.value_or(0);
  };
  Bytes scattered = base;
  for (std::size_t i = 0; i < scattered.size(); i += 16'384) scattered[i] ^= 1;
  EXPECT_EQ(form(scattered, 150), kCodecPatch);
  // All that follows stands elsewhere.
  Bytes grown = base;
  grown.insert(grown.begin() + 1000, 17, 'x');
  EXPECT_EQ(form(grown, 100), kCodecZstd);
  // Little differs, but where it differs nothing is like it: as when a page is split.
  Bytes moved = base;
  std::copy_n(base.begin(), 32'768, moved.begin() + 131'072);
  EXPECT_EQ(form(moved, 200), kCodecZstd);
  // Cut off at the end of a unit, and within one.
  for (const std::size_t size : {std::size_t{128} << 10, std::size_t{100'001}}) {
    EXPECT_EQ(form(test::noise(size, 1), 3), kCodecPatch);
  }
}

TEST(Compress, RefusesDamagedDataAndWrongSizes) {
  Compressor compressor(Compression::standard);
  const Bytes raw = test::prose(10'000, 1);
  Bytes out;
  ASSERT_TRUE(test::value_of(compressor.compress(raw, out)));
  EXPECT_CODE(Code::corrupt, decompress(kCodecZstd, out, raw.size() - 1));
  EXPECT_CODE(Code::corrupt, decompress(kCodecZstd, out, raw.size() + 1));
  EXPECT_CODE(Code::corrupt, decompress(kCodecZstd, {}, raw.size()));
  EXPECT_CODE(Code::corrupt, decompress(kCodecZstd, test::noise(100, 1), raw.size()));
  EXPECT_CODE(Code::corrupt,
              decompress(kCodecZstd, ByteView(out).first(out.size() / 2), raw.size()));
  // Whatever a flipped bit does, it neither crashes nor writes past the end.
  for (std::size_t i = 0; i < out.size(); ++i) {
    Bytes damaged = out;
    damaged[i] ^= 1;
    const auto result = decompress(kCodecZstd, damaged, raw.size());
    EXPECT_TRUE(!result || result->size() == raw.size()) << i;
  }
  EXPECT_EQ(test::value_of(decompress(kCodecZstd, out, raw.size())), raw);
}

}  // namespace
}  // namespace bygone::store
