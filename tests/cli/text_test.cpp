// SPDX-License-Identifier: Apache-2.0
#include "cli/text.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/output.h"

namespace bygone::cli {
namespace {

using store::FileType;

TEST(Text, SizesAreIec) {
  const std::pair<std::uint64_t, const char*> cases[] = {
      {0, "0 B"},
      {999, "999 B"},
      {1023, "1023 B"},
      {1024, "1.0 KiB"},
      {1536, "1.5 KiB"},
      {102'350, "100 KiB"},
      {1'048'575, "1.0 MiB"},
      {1'048'576, "1.0 MiB"},
      {123'456'789, "118 MiB"},
      {1ULL << 40, "1.0 TiB"},
      {UINT64_MAX, "16.0 EiB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(size_text(bytes), text);
}

TEST(Text, CountsHaveCommasAndPlurals) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(1'234'567), "1,234,567");
  EXPECT_EQ(counted(1, "file"), "1 file");
  EXPECT_EQ(counted(0, "file"), "0 files");
}

TEST(Text, SharesArePercentagesFromNoneToAll) {
  const std::pair<const char*, double> cases[] = {{"0", 0},    {"0%", 0},    {"0.5", 0.5},
                                                  {"10%", 10}, {"100", 100}, {"100%", 100}};
  for (const auto& [text, percent] : cases) EXPECT_EQ(parse_percent(text), percent) << text;
  for (const char* text : {"", "%", "-1", "100.1", "10 %", "10%%", "ten", "nan", "inf", "1e999"}) {
    EXPECT_EQ(parse_percent(text), std::nullopt) << text;
  }
}

TEST(Text, DurationsFitTheirLength) {
  EXPECT_EQ(duration_text(0.052), "52 ms");
  EXPECT_EQ(duration_text(0.9999), "999 ms");
  EXPECT_EQ(duration_text(12.4), "12 s");
  EXPECT_EQ(duration_text(59.7), "1:00");
  EXPECT_EQ(duration_text(3723), "1:02:03");
  EXPECT_EQ(duration_text(-1), "0 ms");
}

TEST(Text, ModesAreAsLsShowsThem) {
  EXPECT_EQ(mode_text(FileType::regular, 0644), "-rw-r--r--");
  EXPECT_EQ(mode_text(FileType::directory, 01777), "drwxrwxrwt");
  EXPECT_EQ(mode_text(FileType::regular, 06755), "-rwsr-sr-x");
  EXPECT_EQ(mode_text(FileType::regular, 07000), "---S--S--T");
  EXPECT_EQ(mode_text(FileType::char_device, 0600), "crw-------");
  EXPECT_EQ(mode_text(FileType::symlink, 0777), "lrwxrwxrwx");
}

TEST(Text, TimesAreRfc3339EvenFarAway) {
  EXPECT_EQ(time_text("UTC", {1'710'565'032, 0}), "2024-03-16T04:57:12+00:00");
  EXPECT_EQ(time_text("Europe/Berlin", {1'710'565'032, 120'000'000}),
            "2024-03-16T05:57:12.120000000+01:00");
  EXPECT_EQ(time_text("UTC", {-1, 999'999'999}), "1969-12-31T23:59:59.999999999+00:00");
  EXPECT_EQ(time_text("UTC", {7'258'118'400, 0}), "2200-01-01T00:00:00+00:00");
  EXPECT_EQ(time_text("UTC", {INT64_MAX, 5}), "@9223372036854775807.000000005");
}

TEST(Text, Base64IsTheUsualOne) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
  for (const auto& [raw, text] : cases) EXPECT_EQ(base64(as_bytes(raw)), text);
  EXPECT_EQ(base64(as_bytes("\xff\xfe\xfd")), "//79");
}

TEST(Text, NamesThatAreNotUtf8StandInJsonTwice) {
  Json object;
  put_raw(object, "path", "caf\xc3\xa9");
  put_raw(object, "item", "bad\xff\n");
  EXPECT_EQ(object.dump(),
            "{\"path\":\"caf\xc3\xa9\",\"item\":\"bad\xef\xbf\xbd\\n\","
            "\"item_b64\":\"YmFk/wo=\"}");
}

TEST(Text, TablesAlignByColumnsOnTheScreen) {
  Table table({{"NAME"}, {"SIZE", true}, {"TAGS"}});
  table.add({"caf\xc3\xa9", "1 B", ""});
  table.add({"a", "100 B", "x"});
  const std::vector<std::string> wanted = {"NAME   SIZE  TAGS", "caf\xc3\xa9    1 B",
                                           "a     100 B  x"};
  EXPECT_EQ(table.lines(), wanted);
}

}  // namespace
}  // namespace bygone::cli
