// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/ledger.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

constexpr Nanoseconds kMinute = 60 * kSecond;
constexpr Nanoseconds kHour = 60 * kMinute;
constexpr Nanoseconds kMidnight = Nanoseconds{1'710'547'200} * kSecond;

SourceState state(const std::string& schedule, Nanoseconds good) {
  SourceState source;
  source.kind = store::SourceKind::container;
  source.host_id = "engine";
  source.name = "db";
  source.schedule = schedule;
  source.first_seen = kMidnight;
  source.good_instant = good;
  return source;
}

TEST(Ledger, ComesBackAsItWasWritten) {
  SourceState source = state("*/5 * * * *", kMidnight);
  source.kind = store::SourceKind::volume;
  source.zone = "Europe/Berlin";
  source.group = "shop";
  source.jitter = 7;
  source.gone_since = 8;
  source.next_run = 9;
  source.running = true;
  source.last_begun = 10;
  source.last_error = "a \"quoted\" reason";
  source.failures = 3;
  source.good_begun = 11;
  source.snapshot_id = "abcd";
  source.listed_name = "2024-03-16T00:00";
  source.consistency = "freeze";
  source.window = 12;
  source.bytes = 1ULL << 50U;
  source.added_bytes = 13;
  source.partial = true;
  source.live = true;
  Ledger ledger{.repository = "/srv/bygone",
                .engine_error = "gone",
                .written = 1,
                .last_forget = 2,
                .last_prune = 3,
                .sources = {source, state("@daily", 0)}};
  test::TempFolder folder;
  ASSERT_TRUE(write_ledger(folder / "state", ledger).ok());
  const auto read = read_ledger(folder / "state");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(encode_ledger(*read), encode_ledger(ledger));
  EXPECT_EQ(read->sources[0].last_error, source.last_error);
  EXPECT_EQ(read->sources[0].bytes, source.bytes);
  EXPECT_TRUE(read->sources[0].partial);
  EXPECT_TRUE(read->sources[0].live);
}

TEST(Ledger, CarriesWhatIsNoTextAsText) {
  SourceState source = state("@daily", 0);
  source.last_error = "bad \xff name\n\x1b[31m";
  const auto read = decode_ledger(encode_ledger({.sources = {source}}));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->sources[0].last_error, "bad \\xff name\\n\\x1b[31m");
}

TEST(Ledger, RefusesWhatIsNone) {
  for (const char* text : {"", "{", "[]", "{\"version\":1,\"sources\":[{\"kind\":\"x\"}]}",
                           "{\"version\":1,\"written\":\"now\"}"}) {
    const auto read = decode_ledger(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().code, Code::corrupt) << text;
  }
  const auto later = decode_ledger("{\"version\":2}");
  ASSERT_FALSE(later.ok());
  EXPECT_EQ(later.error().code, Code::unsupported);
}

TEST(Ledger, IsWholeWhateverStandsInItsWay) {
  test::TempFolder folder;
  ASSERT_TRUE(write_ledger(folder.path(), {.repository = "/one"}).ok());
  // What a killed writer left.
  std::ofstream(folder / "daemon/tmp/ledger.json") << "half";
  ASSERT_TRUE(write_ledger(folder.path(), {.repository = "/two"}).ok());
  EXPECT_EQ(read_ledger(folder.path())->repository, "/two");
}

TEST(Ledger, IsNotFoundBeforeTheFirstDaemon) {
  test::TempFolder folder;
  const auto read = read_ledger(folder.path());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, Code::not_found);
}

TEST(Ledger, OneDaemonAFolder) {
  test::TempFolder folder;
  EXPECT_FALSE(is_daemon_running(folder.path()));
  auto lock = lock_daemon(folder.path());
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(is_daemon_running(folder.path()));
  const auto second = lock_daemon(folder.path());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::busy);
  lock->reset();
  EXPECT_FALSE(is_daemon_running(folder.path()));
}

TEST(Overdue, IsWhatMissedTwoRuns) {
  const struct {
    const char* schedule;
    Nanoseconds good, jitter, since;
  } cases[] = {
      {"@hourly", kMidnight + kMinute, 0, kMidnight + 2 * kHour + kMinute},
      {"@hourly", kMidnight + kMinute, 10 * kMinute, kMidnight + 2 * kHour + 11 * kMinute},
      {"every 1m", kMidnight, 0, kMidnight + 10 * kMinute},
      {"every 2s", kMidnight, 0, kMidnight + 10 * kMinute},
      {"@daily", 0, 0, kMidnight + 48 * kHour},  // never backed up
      // Work days at nine, the 16th being a Saturday: the runs missed count, not the weekend.
      {"0 9 * * 1-5", kMidnight - 14 * kHour, 0, kMidnight + (5 * 24 + 10) * kHour},
  };
  for (const auto& one : cases) {
    SourceState source = state(one.schedule, one.good);
    source.jitter = one.jitter;
    EXPECT_EQ(overdue_at(source), one.since) << one.schedule;
    EXPECT_FALSE(is_overdue(source, one.since));
    EXPECT_TRUE(is_overdue(source, one.since + 1));
  }
}

TEST(Overdue, IsNothingThatIsGoneOrHasNoSchedule) {
  SourceState source = state("@hourly", kMidnight);
  source.gone_since = kMidnight + kHour;
  EXPECT_FALSE(is_overdue(source, kMidnight + 1000 * kHour));
  EXPECT_FALSE(is_overdue(state("", kMidnight), kMidnight + 1000 * kHour));
}

TEST(Ledger, TakesTheNewestGoodSnapshotWhoeverMadeIt) {
  SourceState source = state("@hourly", 0);
  store::Snapshot snapshot;
  snapshot.instant = kMidnight;
  snapshot.listed_name = "new";
  note_good(source, snapshot);
  snapshot.instant = kMidnight - 1;
  snapshot.listed_name = "old";
  note_good(source, snapshot);
  EXPECT_EQ(source.listed_name, "new");
  EXPECT_EQ(source.good_instant, kMidnight);
}

// Another repository is in its place.
TEST(Ledger, ForgetsASnapshotThatIsNoMore) {
  SourceState source = state("@monthly", kMidnight);
  source.name = "db";
  source.host_id = "h";
  source.last_begun = source.good_begun = kMidnight;
  source.snapshot_id = "1a2b";
  const Nanoseconds now = kMidnight + kHour;
  forget_good(source, now);
  EXPECT_EQ(source.name + "/" + source.host_id, "db/h");
  EXPECT_EQ(source.first_seen, now);
  EXPECT_EQ(source.good_instant, 0);
  EXPECT_EQ(source.good_begun, 0);
  EXPECT_EQ(source.last_begun, 0) << "or it would not be due";
  EXPECT_EQ(source.snapshot_id, "");
}

// A host whose clock was two years ahead for one backup must not be silent for two years.
TEST(Overdue, ComesAfterAClockThatWentBack) {
  const Nanoseconds now = 1'700'000'000 * kSecond;
  const Nanoseconds year = Nanoseconds{365} * kDay;
  SourceState source;
  source.schedule = "@hourly";
  source.first_seen = now - kDay;
  store::Snapshot ahead;
  ahead.id.bytes.fill(1);
  ahead.sequence = 7;
  ahead.instant = ahead.started = now + 2 * year;
  note_good(source, ahead);
  leave_future(source, now);
  EXPECT_EQ(source.good_instant, now);
  EXPECT_EQ(source.first_seen, now - kDay);
  // It is looked at again and again, and stays the newest.
  const Nanoseconds later = now + 3 * 3600 * kSecond;
  note_good(source, ahead);
  leave_future(source, later);
  EXPECT_TRUE(is_overdue(source, later));
  store::Snapshot next;
  next.id.bytes.fill(2);
  next.instant = next.started = later;
  note_good(source, next);
  EXPECT_EQ(source.good_instant, later);
  EXPECT_FALSE(is_overdue(source, later));
}

}  // namespace
}  // namespace bygone::ingest
