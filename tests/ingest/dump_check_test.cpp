// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_check.h"

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

struct Judged {
  std::string kept;
  Result<void> verdict;
};

// The output comes in pieces of `piece` bytes.
Judged judge(DumpFormat format, const std::string& output, docker::ExecOutcome outcome = {},
             std::size_t piece = 100) {
  Judged judged;
  DumpCheck check(format);
  const auto sink = [&](std::string_view bytes) { judged.kept.append(bytes); };
  for (std::size_t at = 0; at < output.size(); at += piece) {
    check.take(std::string_view(output).substr(at, piece), sink);
  }
  judged.verdict = check.finish(outcome, sink);
  return judged;
}

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string rdb(std::size_t size) {
  std::string bytes = "REDIS0010" + std::string(size, 'x') + '\xff';
  return bytes + little_endian(rdb_crc64(0, bytes));
}

const std::string kRows(5000, 'r');
const std::string kPostgres =
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n" + kRows +
    "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";
const std::string kMysql = "-- MariaDB dump\n" + kRows + "\n-- Dump completed\n";
const std::string kSqlite =
    "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n" + kRows + "\nCOMMIT;\n";
const std::string kMongo = "\x6d\xe2\x99\x81" + kRows + "\xff\xff\xff\xff";

TEST(DumpCheck, KnowsTheChecksumOfRedis) {
  EXPECT_EQ(rdb_crc64(0, "123456789"), 0xe9c6d914c4b8d9caU);
  EXPECT_EQ(rdb_crc64(rdb_crc64(0, "12345"), "6789"), 0xe9c6d914c4b8d9caU);
}

TEST(DumpCheck, TakesWholeDumpsByteForByte) {
  struct Case {
    const char* name;
    DumpFormat format;
    std::string output;
  };
  const Case cases[] = {
      {"anything", DumpFormat::plain, kRows},
      {"nothing", DumpFormat::plain, ""},
      {"pg_dump", DumpFormat::postgres, kPostgres},
      {"pg_dump before 2025", DumpFormat::postgres,
       kRows + "\n--\n-- PostgreSQL database dump complete\n--\n\n"},
      {"pg_dumpall", DumpFormat::postgres_globals,
       "--\n-- PostgreSQL database cluster dump complete\n--\n\n"},
      {"mariadb-dump", DumpFormat::mysql, kMysql},
      {"mysqldump with a date", DumpFormat::mysql, "x\n-- Dump completed on 2024-03-09 16:00:00\n"},
      {"sqlite", DumpFormat::sqlite, kSqlite},
      {"mongo", DumpFormat::mongo, kMongo},
      {"an empty RDB", DumpFormat::rdb, rdb(0)},
      {"an RDB", DumpFormat::rdb, rdb(3000)},
  };
  for (const Case& c : cases) {
    for (const std::size_t piece : {1u, 7u, 100u, 100'000u}) {
      const Judged judged = judge(c.format, c.output, {}, piece);
      EXPECT_TRUE(judged.verdict.ok()) << c.name << ": " << judged.verdict.error().message;
      EXPECT_TRUE(judged.kept == c.output) << c.name;
    }
  }
}

TEST(DumpCheck, RefusesADumpThatIsCutAnywhere) {
  const std::pair<DumpFormat, std::string> dumps[] = {
      {DumpFormat::postgres, kPostgres}, {DumpFormat::mysql, kMysql},
      {DumpFormat::sqlite, kSqlite},     {DumpFormat::mongo, kMongo},
      {DumpFormat::rdb, rdb(1000)},
  };
  for (const auto& [format, whole] : dumps) {
    // What is cut may end in the comments behind the mark: all rows are there then.
    const std::size_t slack = format == DumpFormat::postgres ? 25 : 0;
    for (std::size_t size = 0; size + slack < whole.size(); ++size) {
      const Judged judged = judge(format, whole.substr(0, size), {}, 4096);
      ASSERT_FALSE(judged.verdict.ok()) << static_cast<int>(format) << " cut at " << size;
      ASSERT_EQ(judged.verdict.error().code, Code::hook);
    }
  }
}

TEST(DumpCheck, CutsOffTheMarkOfReplication) {
  const std::string whole = rdb(3000);
  const Judged judged = judge(DumpFormat::rdb, whole + std::string(40, 'a'));
  ASSERT_TRUE(judged.verdict.ok()) << judged.verdict.error().message;
  EXPECT_TRUE(judged.kept == whole);
  EXPECT_FALSE(judge(DumpFormat::rdb, whole + std::string(39, 'a')).verdict.ok());
}

TEST(DumpCheck, FindsAFlippedBitInAnRdb) {
  std::string bytes = rdb(1000);
  bytes[500] = static_cast<char>(bytes[500] ^ 1);
  EXPECT_FALSE(judge(DumpFormat::rdb, bytes).verdict.ok());
}

TEST(DumpCheck, BelievesTheExitCodeMoreThanTheOutput) {
  const Judged judged = judge(DumpFormat::postgres, kPostgres,
                              {.exit_code = 1, .error_text = "pg_dump: error: connection lost\n"});
  ASSERT_FALSE(judged.verdict.ok());
  EXPECT_EQ(judged.verdict.error().message, "exit code 1: pg_dump: error: connection lost");
}

TEST(DumpCheck, NeverShowsRowsInAReason) {
  const Judged judged =
      judge(DumpFormat::mysql, "secret rows\n", {.exit_code = 2, .error_text = ""});
  ASSERT_FALSE(judged.verdict.ok());
  EXPECT_EQ(judged.verdict.error().message, "exit code 2");
}

TEST(DumpCheck, RefusesWhatReportedAnErrorAndEndedWell) {
  const std::pair<DumpFormat, std::pair<std::string, const char*>> cases[] = {
      {DumpFormat::mysql, {kMysql, "mysqldump: Got error: 1045: Access denied"}},
      {DumpFormat::mysql, {kMysql, "mariadb-dump: Couldn't execute 'SHOW'"}},
      {DumpFormat::postgres, {kPostgres, "pg_dump: error: something"}},
      {DumpFormat::sqlite, {kSqlite, "Error: database disk image is malformed"}},
      {DumpFormat::mongo, {kMongo, "2024-03-09T16:00 Failed: error dumping"}},
  };
  for (const auto& [format, text] : cases) {
    const auto& [output, error] = text;
    EXPECT_FALSE(judge(format, output, {.exit_code = 0, .error_text = error}).verdict.ok())
        << error;
  }
  EXPECT_TRUE(judge(DumpFormat::postgres, kPostgres,
                    {.exit_code = 0, .error_text = "pg_dump: warning: circular foreign keys"})
                  .verdict.ok());
}

TEST(DumpCheck, KnowsThatSomeRedisCannotSyncAPipe) {
  const docker::ExecOutcome outcome{.exit_code = 1,
                                    .error_text = "Fail to fsync '-': Invalid argument"};
  EXPECT_TRUE(judge(DumpFormat::rdb, rdb(1000), outcome).verdict.ok());
  EXPECT_FALSE(judge(DumpFormat::rdb, rdb(1000).substr(0, 900), outcome).verdict.ok());
}

// Its client does not know why.
TEST(DumpCheck, NamesTheLogOfAServerThatBrokeOff) {
  for (const char* said :
       {"SYNC sent to primary\nI/O Error reading RDB payload from socket",
        "sending REPLCONF rdb-only 1\nError reading bulk length while SYNCing"}) {
    const Judged judged = judge(DumpFormat::rdb, "", {.exit_code = 1, .error_text = said});
    ASSERT_FALSE(judged.verdict.ok());
    EXPECT_NE(judged.verdict.error().message.find("hint: the server's log"), std::string::npos);
  }
  const Judged judged = judge(DumpFormat::rdb, "", {.exit_code = 1, .error_text = "NOAUTH"});
  ASSERT_FALSE(judged.verdict.ok());
  EXPECT_EQ(judged.verdict.error().message, "exit code 1: NOAUTH");
}

TEST(DumpCheck, SaysWhyAProgramCouldNotBeStarted) {
  const Judged judged = judge(DumpFormat::mysql, "OCI runtime exec failed: not found in $PATH",
                              {.exit_code = 127, .error_text = ""});
  ASSERT_FALSE(judged.verdict.ok());
  EXPECT_EQ(judged.verdict.error().message,
            "exit code 127: OCI runtime exec failed: not found in $PATH");
}

// The shell writes this and ends with 0.
TEST(DumpCheck, RefusesWhatSqliteRolledBack) {
  EXPECT_FALSE(judge(DumpFormat::sqlite,
                     "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nROLLBACK; -- due to errors\n")
                   .verdict.ok());
}

}  // namespace
}  // namespace bygone::ingest
