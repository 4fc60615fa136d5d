// SPDX-License-Identifier: Apache-2.0
#include "ingest/postgres_mode.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/support/bare_engine.h"
#include "tests/support/fake_postgres.h"

namespace bygone::ingest {
namespace {

using Strings = std::vector<std::string>;

class OneServer final : public test::BareEngine {
 public:
  test::FakePostgres server;
  Result<std::unique_ptr<docker::Exec>> exec(const docker::ExecRequest& request) override {
    return server.exec(request);
  }
};

class Postgres : public testing::Test {
 protected:
  Result<std::unique_ptr<PostgresMode>> connect() {
    return PostgresMode::connect(engine_, "db", cancel_);
  }
  bool was_asked(const std::string& text) {
    return std::any_of(server_.statements.begin(), server_.statements.end(),
                       [&](const auto& line) { return line.find(text) != std::string::npos; });
  }

  std::atomic<bool> cancel_{false};
  OneServer engine_;
  test::FakePostgres& server_ = engine_.server;
};

TEST_F(Postgres, TellsWhatItIs) {
  server_.tablespaces = {"/srv/fast", "/srv/a|b\nc"};
  server_.system_id = -5;  // PostgreSQL shows it with a sign
  const auto mode = connect();
  ASSERT_TRUE(mode.ok()) << mode.error().message;
  const PostgresCluster& cluster = (*mode)->cluster();
  EXPECT_EQ(cluster.version, 150004);
  EXPECT_FALSE(cluster.in_recovery);
  EXPECT_EQ(cluster.system_id, static_cast<std::uint64_t>(-5));
  EXPECT_EQ(cluster.data_directory, "/var/lib/postgresql/data");
  EXPECT_EQ(cluster.tablespaces, server_.tablespaces);
}

TEST_F(Postgres, HoldsOneSessionFromStartToStop) {
  server_.map = "16385 /srv/fast\n";
  auto mode = connect();
  ASSERT_TRUE(mode.ok());
  ASSERT_TRUE((*mode)->start().ok());
  EXPECT_TRUE(server_.in_backup);
  const auto done = (*mode)->stop();
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->stop_lsn, 0x4000100u);
  EXPECT_EQ(done->label, server_.label);
  EXPECT_EQ(done->tablespace_map, server_.map);
  EXPECT_EQ(server_.users, Strings{""});
  EXPECT_EQ(server_.open, 1) << "the WAL is kept for as long as somebody wants it";
  mode->reset();
  EXPECT_EQ(server_.open, 0);
}

TEST_F(Postgres, SpeaksAsEachVersionUnderstands) {
  struct Case {
    const char* version;
    const char* start;
    const char* stop;
    bool slot;
    bool idle;
  };
  for (const Case& each :
       {Case{"90624", "pg_start_backup('bygone', true, false)", "pg_stop_backup(false);", false,
             false},
        Case{"100023", "pg_start_backup('bygone', true, false)", "pg_stop_backup(false, false)",
             true, false},
        Case{"140011", "pg_start_backup('bygone', true, false)", "pg_stop_backup(false, false)",
             true, true},
        Case{"170002", "pg_backup_start('bygone', true)", "pg_backup_stop(false)", true, true}}) {
    SCOPED_TRACE(each.version);
    server_.version = each.version;
    server_.statements.clear();
    auto mode = connect();
    ASSERT_TRUE(mode.ok());
    ASSERT_TRUE((*mode)->start().ok());
    ASSERT_TRUE((*mode)->stop().ok());
    EXPECT_TRUE(was_asked(each.start));
    EXPECT_TRUE(was_asked(each.stop));
    EXPECT_EQ(was_asked("pg_create_physical_replication_slot"), each.slot);
    EXPECT_EQ(was_asked("idle_session_timeout"), each.idle);
  }
}

TEST_F(Postgres, AsksAsItsOwnUserWhenThatIsWhomTheServerBelieves) {
  server_.only_user = "postgres";
  ASSERT_TRUE(connect().ok());
  EXPECT_EQ(server_.users, (Strings{"", "postgres"}));
  EXPECT_EQ(server_.open, 0);
}

TEST_F(Postgres, SaysWhyItCannotBeAsked) {
  server_.exit_code = 127;
  server_.last_words = "exec: psql: not found\n";
  auto mode = connect();
  ASSERT_FALSE(mode.ok());
  EXPECT_EQ(mode.error().code, Code::unsupported);
  EXPECT_NE(mode.error().message.find("psql: not found"), std::string::npos);

  server_.exit_code = 2;
  server_.last_words = "psql: error: FATAL:  password authentication failed\n";
  mode = connect();
  ASSERT_FALSE(mode.ok());
  EXPECT_EQ(mode.error().code, Code::denied);
  EXPECT_NE(mode.error().message.find("password authentication failed"), std::string::npos);
  EXPECT_EQ(server_.open, 0);
}

TEST_F(Postgres, DoesWithoutASlotOfTheServer) {
  server_.complaints["pg_create_physical"] = "ERROR:  all replication slots are in use";
  auto mode = connect();
  ASSERT_TRUE(mode.ok());
  EXPECT_TRUE((*mode)->start().ok());
  EXPECT_TRUE((*mode)->stop().ok());
}

TEST_F(Postgres, PassesOnWhatTheServerSays) {
  for (const char* statement : {"data_directory", "pg_backup_start", "pg_backup_stop"}) {
    SCOPED_TRACE(statement);
    server_.complaints = {{statement, "ERROR:  permission denied"}};
    auto mode = connect();
    Result<void> result;
    if (!mode) {
      result = mode.error();
    } else if (result = (*mode)->start(); result) {
      auto stopped = (*mode)->stop();
      if (!stopped) result = stopped.error();
    }
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, Code::denied);
    EXPECT_NE(result.error().message.find("permission denied"), std::string::npos);
  }
}

TEST_F(Postgres, KnowsOfNoBackupWhenTheSessionIsLost) {
  server_.rude = "pg_backup_stop";
  auto mode = connect();
  ASSERT_TRUE(mode.ok());
  ASSERT_TRUE((*mode)->start().ok());
  const auto done = (*mode)->stop();
  ASSERT_FALSE(done.ok());
  EXPECT_NE(done.error().message.find("ended"), std::string::npos);
  EXPECT_FALSE((*mode)->stop().ok());
}

TEST_F(Postgres, BelievesNoOddAnswer) {
  auto mode = connect();
  ASSERT_TRUE(mode.ok());
  for (const char* lsn : {"", "0", "0/", "/1", "0/G", "0/1/2", "0/1 ", "0/112345678"}) {
    SCOPED_TRACE(lsn);
    server_.stop_lsn = lsn;
    EXPECT_FALSE((*mode)->stop().ok());
  }
  server_.stop_lsn = "1/0";
  server_.label = "";
  EXPECT_FALSE((*mode)->stop().ok());
  for (const char* version : {"", "15.4", "x|f|1|00"}) {
    server_.version = version;
    EXPECT_FALSE(connect().ok()) << version;
  }
}

TEST_F(Postgres, StopsWaitingOnceCancelled) {
  auto mode = connect();
  ASSERT_TRUE(mode.ok());
  server_.on_start = [&] { cancel_ = true; };
  server_.label = std::string(1000, 'x');
  EXPECT_EQ((*mode)->start().error().code, Code::cancelled);
  mode->reset();
  EXPECT_FALSE(server_.in_backup);
}

constexpr std::uint64_t kMebibyte = 1 << 20;

TEST(WalSegments, AreThoseFromTheStartToTheStop) {
  const std::string label = test::FakePostgres().label;
  EXPECT_EQ(*wal_segments(label, 0x4000100, 16 * kMebibyte),
            (Strings{"000000010000000000000002", "000000010000000000000003",
                     "000000010000000000000004"}));
  // The stop is behind the last byte.
  EXPECT_EQ(wal_segments(label, 0x3000000, 16 * kMebibyte)->size(), 1u);
  EXPECT_EQ(wal_segments(label, 0x3000001, 16 * kMebibyte)->size(), 2u);
}

TEST(WalSegments, CountOnInTheNextLog) {
  const std::string label =
      "START WAL LOCATION: 5/FF000028 (file 0000000A00000005000000FF)\nCHECKPOINT LOCATION: x\n";
  EXPECT_EQ(*wal_segments(label, 0x6'00000100, 16 * kMebibyte),
            (Strings{"0000000A00000005000000FF", "0000000A0000000600000000"}));
  const std::string large =
      "START WAL LOCATION: 5/C0000028 (file 0000000A0000000500000003)\nCHECKPOINT LOCATION: x\n";
  EXPECT_EQ(*wal_segments(large, 0x6'00000100, 1024 * kMebibyte),
            (Strings{"0000000A0000000500000003", "0000000A0000000600000000"}));
}

TEST(WalSegments, AreNoneOfWhatMakesNoSense) {
  const std::string label = test::FakePostgres().label;
  EXPECT_FALSE(wal_segments(label, 0x1000000, 16 * kMebibyte).ok());
  EXPECT_FALSE(wal_segments(label, 0, 16 * kMebibyte).ok());
  EXPECT_FALSE(wal_segments(label, ~std::uint64_t{0}, 16 * kMebibyte).ok());
  for (const std::uint64_t size :
       {std::uint64_t{0}, kMebibyte / 2, 3 * kMebibyte, 2048 * kMebibyte}) {
    EXPECT_FALSE(wal_segments(label, 0x4000100, size).ok()) << size;
  }
  for (const char* text :
       {"", "START WAL LOCATION: 0/2000028\n", "START WAL LOCATION: 0/2 (file 00000001)\n",
        "START WAL LOCATION: 0/2 (file ../../../../../../etc/pw)\n",
        "LABEL: x\nSTART WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"}) {
    EXPECT_FALSE(first_wal_segment(text).ok()) << text;
  }
}

}  // namespace
}  // namespace bygone::ingest
