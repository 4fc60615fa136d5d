// SPDX-License-Identifier: Apache-2.0
//
// Dumps in whole backups of a container.
#include <algorithm>

#include "tests/ingest/container_fixture.h"
#include "tests/support/torture.h"

namespace bygone::ingest {
namespace {

using Kind = DumpWish::Kind;
using Dumps = ContainerBackup;

const std::string kMysqlEnd = "\n-- Dump completed\n";

TEST_F(Dumps, AreMadeBesideTheVolumes) {
  write_file(source_dir() / "file", "x");
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  EXPECT_TRUE(report.failed.empty());
  EXPECT_TRUE(report.snapshot.failed.empty());
  EXPECT_EQ(dumped(report.snapshot, "globals.sql"), kGlobals);
  EXPECT_EQ(dumped(report.snapshot, "app.sql"), "rows" + kEnd);
  EXPECT_EQ(content(report.snapshot, "file"), "x");
}

TEST_F(Dumps, ArePacedLikeAllReads) {
  std::chrono::nanoseconds now{0}, slept{0};
  Surroundings surroundings;
  surroundings.now = [&] { return now; };
  surroundings.sleep = [&](std::chrono::nanoseconds time) {
    now += time;
    slept += time;
  };
  surroundings.pressure = [] { return std::nullopt; };
  surroundings.our_own_waits = [] { return std::chrono::nanoseconds(0); };
  surroundings.processors = [] { return std::nullopt; };
  Limiter limiter(*parse_read_limit("1M"), surroundings);
  programs_["pg_dump"] = {.output = std::string(1 << 18, 'x') + kEnd, .times = 5};
  BackupOptions options = dumping(Kind::postgres);
  options.limiter = &limiter;
  EXPECT_TRUE(must_back_up(options).failed.empty());
  EXPECT_GT(slept, std::chrono::milliseconds(900));
  EXPECT_LT(slept, std::chrono::milliseconds(1500));
}

TEST_F(Dumps, SayThatTheyMayLackADatabaseWhereNotAllWasLookedAt) {
  for (int i = 0; i < 20'001; ++i) write_file(source_dir() / std::to_string(i), "");
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  ASSERT_EQ(report.lasting.size(), 1u);
  EXPECT_NE(report.lasting[0].find("there may be more databases"), std::string::npos);
  EXPECT_TRUE(report.failed.empty());
}

TEST_F(Dumps, AreNotMadeUnlessAskedFor) {
  const BackupReport report = must_back_up({});
  EXPECT_TRUE(requests_.empty());
  EXPECT_FALSE(report.snapshot.extra.has_value());
}

// An engine refuses to run commands in a paused container.
TEST_F(Dumps, EndBeforeTheFreeze) {
  ASSERT_TRUE(must_back_up(dumping(Kind::postgres)).failed.empty());
  EXPECT_EQ(order_,
            (Words{"exec psql", "exec pg_dumpall", "exec pg_dump", "pause c1", "unpause c1"}));
}

TEST_F(Dumps, ThatFailAreSaidAndLeaveNoFile) {
  struct Case {
    const char* name;
    Said said;
    const char* reason;
  };
  const Case cases[] = {
      {"exit code 1 after good output",
       {.output = "rows" + kEnd, .error = "pg_dump: error: lost it", .exit_code = 1},
       "exit code 1: pg_dump: error: lost it"},
      {"cut off, with a good end", {.output = "rows and ro"}, "cut off"},
      {"cut off, broken",
       {.output = "rows" + kEnd, .breaks = Error{Code::unavailable, 0, "reset"}},
       "reset"},
      {"nothing said", {}, "cut off"},
      {"an error and a good end",
       {.output = "rows" + kEnd, .error = "pg_dump: error: one table is damaged"},
       "one table is damaged"},
      {"no program",
       {.output = "OCI runtime exec failed: pg_dump not found", .exit_code = 127},
       "pg_dump not found"},
      {"no right to run it", {.output = "permission denied", .exit_code = 126}, "126"},
  };
  write_file(source_dir() / "file", "x");
  for (const Case& c : cases) {
    programs_["pg_dump"] = c.said;
    const BackupReport report = must_back_up(dumping(Kind::postgres));
    ASSERT_EQ(report.failed.size(), 1u) << c.name;
    EXPECT_NE(report.failed[0].find(c.reason), std::string::npos) << c.name << report.failed[0];
    EXPECT_EQ(report.snapshot.failed, report.failed) << c.name;
    EXPECT_EQ(dumped(report.snapshot, "app.sql"), "absent") << c.name;
    EXPECT_NE(dumped(report.snapshot, "app.sql.failed").find(c.reason), std::string::npos);
    EXPECT_EQ(dumped(report.snapshot, "globals.sql"), kGlobals) << c.name;
    EXPECT_EQ(content(report.snapshot, "file"), "x") << c.name;
  }
}

TEST_F(Dumps, OfOneDatabaseThatFailLeaveTheOthers) {
  programs_["psql"].output = std::string("app\0bad\0", 8);
  say_ = [this](const docker::ExecRequest& request) {
    const auto& given = request.environment;
    if (std::find(given.begin(), given.end(), "PGDATABASE=bad") != given.end()) {
      return Said{.error = "pg_dump: error: no", .exit_code = 1};
    }
    return say(request);
  };
  const BackupReport report = must_back_up(dumping(Kind::postgres));
  EXPECT_EQ(report.failed.size(), 1u);
  EXPECT_EQ(dumped(report.snapshot, "app.sql"), "rows" + kEnd);
  EXPECT_EQ(dumped(report.snapshot, "bad.sql"), "absent");
}

TEST_F(Dumps, FailWhenTheListOfDatabasesDoes) {
  programs_["psql"] = {.error = "psql: error: password authentication failed", .exit_code = 2};
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  ASSERT_EQ(report.failed.size(), 1u);
  EXPECT_NE(dumped(report.snapshot, "postgres.failed").find("password"), std::string::npos);
}

TEST_F(Dumps, EndWithACancelAndCommitNothing) {
  programs_["pg_dump"] = {.output = "rows", .midway = [this] { cancel_ = true; }, .hangs = true};
  programs_["pg_dump"].times = 3;
  const auto report = back_up(dumping(Kind::postgres));
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_TRUE(repository_->snapshots()->empty());
  EXPECT_FALSE(engine_.is_paused("c1"));
}

TEST_F(Dumps, TakeWhatTheOtherProgramIsCalled) {
  programs_["mysqldump"] = {.output = "rows" + kMysqlEnd};
  const BackupReport report = must_back_up(dumping(Kind::mariadb));
  EXPECT_TRUE(report.failed.empty());
  EXPECT_EQ(dumped(report.snapshot, "mariadb.sql"), "rows" + kMysqlEnd);
}

TEST_F(Dumps, AreDeltasOfTheDumpBefore) {
  const std::string rows = random_text(4 << 20, 7);
  programs_["mysqldump"] = {.output = rows + kMysqlEnd};
  const BackupReport first = must_back_up(dumping(Kind::mysql));
  EXPECT_GT(first.snapshot.added_bytes, rows.size());
  must_back_up({});  // a snapshot without a dump, as most are
  std::string changed = rows;
  changed.replace(1'000'000, 10, "a new row, longer than before");
  programs_["mysqldump"] = {.output = changed + kMysqlEnd};
  const BackupReport second = must_back_up(dumping(Kind::mysql));
  EXPECT_LT(second.snapshot.added_bytes, 60'000u);
  EXPECT_TRUE(dumped(second.snapshot, "mysql.sql") == changed + kMysqlEnd);
}

TEST_F(Dumps, MayBeLargerThanMemory) {
  constexpr unsigned kTimes = 300 / test::kFewer;
  programs_["mysqldump"] = {.output = std::string(1 << 20, 'r'), .times = kTimes};
  programs_["mysqldump"].error = "warning: slow";
  const BackupReport cut = must_back_up(dumping(Kind::mysql));
  EXPECT_EQ(cut.failed.size(), 1u);  // without its end
  DumpWish wish{.kind = Kind::command, .command = {"mysqldump", "-x"}, .file = "big/one"};
  BackupOptions options;
  options.dump = wish;
  const BackupReport report = must_back_up(options);
  EXPECT_TRUE(report.failed.empty());
  const auto entry = extra(report.snapshot, "dumps/big%2Fone");
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->size, std::uint64_t{kTimes} << 20);
}

TEST_F(Dumps, OfAContainerThatDoesNotRunFailOnlyWhenInsistedOn) {
  engine_.shown["c1"].state.running = false;
  EXPECT_TRUE(must_back_up(dumping(Kind::automatic)).failed.empty());
  EXPECT_EQ(must_back_up(dumping(Kind::postgres)).failed.size(), 1u);
  EXPECT_TRUE(requests_.empty());
}

TEST_F(Dumps, OfSqliteAreLeftOutWithoutItsProgram) {
  engine_.processes["c1"] = {"app"};
  write_file(source_dir() / "x.db", std::string("SQLite format 3\0", 16));
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  EXPECT_TRUE(report.failed.empty());
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_NE(report.skipped[0].find("sqlite3"), std::string::npos);
  EXPECT_EQ(must_back_up(dumping(Kind::sqlite)).failed.size(), 1u);
}

}  // namespace
}  // namespace bygone::ingest
