// SPDX-License-Identifier: Apache-2.0
#include "ingest/hook_journal.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

HookRecord strange_hook() {
  HookRecord record{.engine = "unix:///tmp/a b%\n/x.sock",
                    .container = "id",
                    .name = "na me\xff",
                    .started_at = "",
                    .is_stopped = true,
                    .hook = {},
                    .failures = 1};
  record.hook.command = {"sh", "-c", "", "echo 'a b' >/x\n% \xff"};
  record.hook.user = "1:2";
  record.hook.timeout = std::chrono::milliseconds(12'345);
  return record;
}

TEST(HookJournal, KeepsEveryByte) {
  const HookRecord record = strange_hook();
  const auto decoded = decode_hook_record(encode(record));
  ASSERT_TRUE(decoded.ok()) << encode(record);
  EXPECT_EQ(decoded->engine, record.engine);
  EXPECT_EQ(decoded->container, record.container);
  EXPECT_EQ(decoded->name, record.name);
  EXPECT_EQ(decoded->started_at, record.started_at);
  EXPECT_TRUE(decoded->is_stopped);
  EXPECT_EQ(decoded->hook.command, record.hook.command);
  EXPECT_EQ(decoded->hook.user, record.hook.user);
  EXPECT_EQ(decoded->hook.timeout, record.hook.timeout);
  EXPECT_EQ(decoded->failures, 1U);
  EXPECT_EQ(encode(*decoded), encode(record));
}

TEST(HookJournal, IsRejectedWhenCutAnywhereOrLengthened) {
  const std::string text = encode(strange_hook());
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(decode_hook_record(text.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decode_hook_record(text + "x").ok());
  EXPECT_FALSE(decode_hook_record(text + text).ok());
}

// Nothing could be run.
TEST(HookJournal, IsRejectedWithoutACommand) {
  HookRecord record = strange_hook();
  record.hook.command.clear();
  EXPECT_EQ(decode_hook_record(encode(record)).error().code, Code::corrupt);
}

}  // namespace
}  // namespace bygone::ingest
