// SPDX-License-Identifier: Apache-2.0
#include "store/base/bytes.h"

#include <gtest/gtest.h>

namespace bygone {
namespace {

TEST(Bytes, ReadsOnlyExactLowerCaseHex) {
  std::array<std::uint8_t, 2> out{};
  EXPECT_TRUE(from_hex("00ff", out));
  EXPECT_EQ(out, (std::array<std::uint8_t, 2>{0, 255}));
  for (const char* bad : {"", "00f", "00ff0", "00FF", "0x0f", "00fg", "00f ", "-1ff"}) {
    EXPECT_FALSE(from_hex(bad, out)) << bad;
  }
  const auto id = PackId::from_hex_text("000102030405060708090a0b0c0d0e0f");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->hex(), "000102030405060708090a0b0c0d0e0f");
}

TEST(Bytes, EscapesWhatSteersATerminal) {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> cases[] = {
      {"plain name.txt", "plain name.txt"},
      {"stra\xc3\x9f"s + "e \xe2\x82\xac \xf0\x9f\x90\x98", "straße € 🐘"},
      {"a\nb\tc", "a\\nb\\tc"},
      {"back\\slash", "back\\\\slash"},
      {"\x1b[31mred", "\\x1b[31mred"},
      {"del\x7f", "del\\x7f"},
      {"nul\0end"s, "nul\\x00end"},
      {"c1 \xc2\x9b"s + "31m", "c1 \\xc2\\x9b31m"},
      {"latin1 \xe9", "latin1 \\xe9"},
      {"cut \xe2\x82", "cut \\xe2\\x82"},
      {"overlong \xc0\xaf", "overlong \\xc0\\xaf"},
      {"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
      {"", ""},
  };
  for (const auto& [raw, shown] : cases) EXPECT_EQ(printable(raw), shown);
}

TEST(Bytes, PrintsNoControlByteWhateverTheInput) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string raw{static_cast<char>(a), static_cast<char>(b)};
      const std::string shown = printable(raw);
      EXPECT_TRUE(is_utf8(shown));
      for (const char c : shown) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
  }
}

TEST(Bytes, KnowsUtf8AsRfc3629DefinesIt) {
  const std::pair<const char*, bool> cases[] = {
      {"", true},
      {"ascii", true},
      {"\xc2\x80", true},
      {"\xdf\xbf", true},
      {"\xe0\xa0\x80", true},
      {"\xef\xbf\xbf", true},
      {"\xf0\x90\x80\x80", true},
      {"\xf4\x8f\xbf\xbf", true},
      {"\x80", false},
      {"\xc1\xbf", false},
      {"\xe0\x9f\xbf", false},
      {"\xed\xa0\x80", false},
      {"\xf0\x8f\xbf\xbf", false},
      {"\xf4\x90\x80\x80", false},
      {"\xf5\x80\x80\x80", false},
      {"\xff", false},
      {"ok\xe2\x82", false},
  };
  for (const auto& [text, valid] : cases) EXPECT_EQ(is_utf8(text), valid) << printable(text);
}

}  // namespace
}  // namespace bygone
