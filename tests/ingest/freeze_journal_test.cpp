// SPDX-License-Identifier: Apache-2.0
#include "ingest/freeze_journal.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

TEST(FreezeJournal, KeepsEveryByte) {
  const FreezeRecord record{
      "unix:///tmp/a b%\n/x.sock",
      -5,
      {{"id", "na me\xff", ""}, {"other", "", "2024-01-01T00:00:00Z"}, {"%20", "\n", " "}}};
  const auto decoded = decode_freeze_record(encode(record));
  ASSERT_TRUE(decoded.ok()) << encode(record);
  EXPECT_EQ(encode(*decoded), encode(record));
  EXPECT_EQ(decoded->engine, record.engine);
  EXPECT_EQ(decoded->time, record.time);
  ASSERT_EQ(decoded->containers.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(decoded->containers[i].id, record.containers[i].id);
    EXPECT_EQ(decoded->containers[i].name, record.containers[i].name);
    EXPECT_EQ(decoded->containers[i].started_at, record.containers[i].started_at);
  }
}

TEST(FreezeJournal, IsRejectedWhenCutAnywhereOrLengthened) {
  const std::string text = encode({"unix:///s", 7, {{"a", "b", "c"}, {"d", "e", "f"}}});
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(decode_freeze_record(text.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decode_freeze_record(text + "x").ok());
  EXPECT_FALSE(decode_freeze_record(text + text).ok());
}

}  // namespace
}  // namespace bygone::ingest
