// SPDX-License-Identifier: Apache-2.0
#include "store/compress.h"

#include <gtest/gtest.h>

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
      EXPECT_EQ(test::value_of(decompress(out, raw.size())), raw);
    }
  }
}

TEST(Compress, LeavesNoiseTinyInputAndEverythingAtLevelOffAlone) {
  Bytes out;
  Compressor standard(Compression::standard);
  EXPECT_FALSE(test::value_of(standard.compress(test::noise(100'000, 1), out)));
  EXPECT_FALSE(test::value_of(standard.compress(test::prose(3, 1), out)));
  Compressor off(Compression::off);
  EXPECT_FALSE(test::value_of(off.compress(test::prose(100'000, 1), out)));
}

TEST(Compress, RefusesDamagedDataAndWrongSizes) {
  Compressor compressor(Compression::standard);
  const Bytes raw = test::prose(10'000, 1);
  Bytes out;
  ASSERT_TRUE(test::value_of(compressor.compress(raw, out)));
  EXPECT_CODE(Code::corrupt, decompress(out, raw.size() - 1));
  EXPECT_CODE(Code::corrupt, decompress(out, raw.size() + 1));
  EXPECT_CODE(Code::corrupt, decompress({}, raw.size()));
  EXPECT_CODE(Code::corrupt, decompress(test::noise(100, 1), raw.size()));
  EXPECT_CODE(Code::corrupt, decompress(ByteView(out).first(out.size() / 2), raw.size()));
  // Whatever a flipped bit does, it neither crashes nor writes past the end.
  for (std::size_t i = 0; i < out.size(); ++i) {
    Bytes damaged = out;
    damaged[i] ^= 1;
    const auto result = decompress(damaged, raw.size());
    EXPECT_TRUE(!result || result->size() == raw.size()) << i;
  }
  EXPECT_EQ(test::value_of(decompress(out, raw.size())), raw);
}

}  // namespace
}  // namespace bygone::store
