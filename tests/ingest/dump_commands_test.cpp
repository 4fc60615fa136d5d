// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_commands.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace bygone::ingest {
namespace {

using Words = std::vector<std::string>;

docker::Container given(Words environment, Words command = {}) {
  docker::Container container;
  container.environment = std::move(environment);
  container.command = std::move(command);
  return container;
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The secret is in the environment, once, and in no argument.
void expect_hidden(const DumpCommand& command, const std::string& variable,
                   const std::string& secret) {
  EXPECT_TRUE(has(command.environment, variable + "=" + secret)) << variable;
  for (const std::string& word : command.argv(command.programs.front())) {
    EXPECT_EQ(word.find(secret), std::string::npos) << word;
  }
}

TEST(DumpCommands, GiveNoSecretAsAnArgument) {
  const docker::Container container =
      given({"POSTGRES_PASSWORD=hush-1", "MYSQL_ROOT_PASSWORD=hush-2", "REDIS_PASSWORD=hush-3",
             "MONGO_INITDB_ROOT_PASSWORD=hush-4", "MONGO_INITDB_ROOT_USERNAME=boss"});
  expect_hidden(dump_postgres(container, "app"), "PGPASSWORD", "hush-1");
  expect_hidden(dump_postgres_globals(container), "PGPASSWORD", "hush-1");
  expect_hidden(dump_mysql(container, MysqlKind::mysql), "MYSQL_PWD", "hush-2");
  expect_hidden(dump_mysql(container, MysqlKind::mariadb), "MYSQL_PWD", "hush-2");
  expect_hidden(dump_redis(container), "REDISCLI_AUTH", "hush-3");
  expect_hidden(dump_mongo(container), "secret", "hush-4");
  EXPECT_TRUE(has(dump_mongo(container).arguments, "boss"));
}

TEST(DumpCommands, ReadSecretFilesInTheContainer) {
  const DumpCommand command =
      dump_mysql(given({"MARIADB_ROOT_PASSWORD_FILE=/run/secrets/root pw"}), MysqlKind::mariadb);
  EXPECT_TRUE(command.environment.empty());
  const Words argv = command.argv("mariadb-dump");
  ASSERT_GT(argv.size(), 8u);
  EXPECT_EQ(argv[0], "sh");
  EXPECT_EQ(Words(argv.begin() + 3, argv.begin() + 8),
            (Words{"sh", "MYSQL_PWD", "/run/secrets/root pw", "--", "mariadb-dump"}));
}

TEST(DumpCommands, NameADatabaseWhateverItIsCalled) {
  const DumpCommand command = dump_postgres(given({"POSTGRES_USER=app"}), "host=evil/../x y");
  EXPECT_TRUE(has(command.environment, "PGDATABASE=host=evil/../x y"));
  EXPECT_TRUE(has(command.environment, "PGUSER=app"));
  EXPECT_EQ(command.file, "host=evil%2F..%2Fx y.sql");
  EXPECT_TRUE(has(command.arguments, "--create"));
  EXPECT_FALSE(has(dump_postgres(given({}), "postgres").arguments, "--create"));
  EXPECT_EQ(dump_postgres_globals(given({})).file, "globals.sql");
  EXPECT_NE(dump_postgres(given({}), "globals").file, "globals.sql");
}

TEST(DumpCommands, MakeFileNamesThatAreNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"app", "app"},     {"a/b", "a%2Fb"},  {"..", "%2E."}, {".x", "%2Ex"},
      {"50%", "50%25"},   {"a\nb", "a%0Ab"}, {"", "%"},      {"f\xc3\xbcr", "f\xc3\xbcr"},
      {"%2Fx", "%252Fx"},
  };
  for (const auto& [name, wanted] : cases) EXPECT_EQ(as_file_name(name), wanted);
}

TEST(DumpCommands, DumpAllOfMysqlAsRoot) {
  const DumpCommand command =
      dump_mysql(given({"MYSQL_ROOT_PASSWORD=x", "MYSQL_USER=app"}), MysqlKind::mysql);
  EXPECT_EQ(command.programs, (Words{"mysqldump", "mariadb-dump"}));
  EXPECT_EQ(command.file, "mysql.sql");
  for (const char* word : {"--all-databases", "--single-transaction", "--routines", "--events",
                           "--triggers", "--user=root"}) {
    EXPECT_TRUE(has(command.arguments, word)) << word;
  }
  EXPECT_TRUE(command.note.empty());
}

TEST(DumpCommands, SayWhatIsMissingWithoutAPasswordOfRoot) {
  const DumpCommand command =
      dump_mysql(given({"MARIADB_RANDOM_ROOT_PASSWORD=1", "MARIADB_USER=app", "MARIADB_PASSWORD=x",
                        "MARIADB_DATABASE=shop"}),
                 MysqlKind::mariadb);
  EXPECT_TRUE(has(command.arguments, "--user=app"));
  EXPECT_TRUE(has(command.arguments, "shop"));
  EXPECT_FALSE(has(command.arguments, "--all-databases"));
  EXPECT_NE(command.note.find("shop"), std::string::npos);
}

TEST(DumpCommands, AskForNothingThatAUserOfOneDatabaseMayNot) {
  const DumpCommand command = dump_mysql(given({"MYSQL_RANDOM_ROOT_PASSWORD=1", "MYSQL_USER=app",
                                                "MYSQL_PASSWORD=x", "MYSQL_DATABASE=shop"}),
                                         MysqlKind::mysql);
  for (const char* word :
       {"--user=app", "--no-tablespaces", "--loose-skip-masking-policies", "shop"}) {
    EXPECT_TRUE(has(command.arguments, word)) << word;
  }
}

TEST(DumpCommands, LeaveTheGtidsOfMysqlOut) {
  const char* const word = "--loose-set-gtid-purged=OFF";
  const auto container = given({"MYSQL_ROOT_PASSWORD=x"});
  EXPECT_TRUE(has(dump_mysql(container, MysqlKind::mysql).arguments, word));
  EXPECT_FALSE(has(dump_mysql(container, MysqlKind::mariadb).arguments, word));
}

TEST(DumpCommands, DumpAllAsARootWithoutAPassword) {
  for (const char* allowed :
       {"MYSQL_ALLOW_EMPTY_PASSWORD=yes", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1",
        "MYSQL_ALLOW_EMPTY_ROOT_PASSWORD=1"}) {
    const DumpCommand command =
        dump_mysql(given({allowed, "MYSQL_USER=app", "MYSQL_PASSWORD=x", "MYSQL_DATABASE=shop"}),
                   MysqlKind::mysql);
    EXPECT_TRUE(has(command.arguments, "--all-databases")) << allowed;
    EXPECT_TRUE(has(command.arguments, "--user=root")) << allowed;
    EXPECT_TRUE(command.environment.empty()) << allowed;
    EXPECT_TRUE(command.note.empty()) << allowed;
  }
}

TEST(DumpCommands, FindThePasswordThatRedisWasStartedWith) {
  struct Case {
    const char* name;
    docker::Container container;
    std::string wanted;  // empty: none
  };
  const Case cases[] = {
      {"an argument", given({}, {"redis-server", "--requirepass", "a b"}), "a b"},
      {"in a shell", given({}, {"sh", "-c", "exec redis-server --requirepass 'pw'"}), "pw"},
      {"a variable", given({"PW=pw"}, {"sh", "-c", "redis-server --requirepass \"${PW}\""}), "pw"},
      {"an unknown variable", given({}, {"sh", "-c", "redis-server --requirepass $PW"}), ""},
      {"the environment", given({"REDIS_PASSWORD=pw"}, {"redis-server"}), "pw"},
      {"redis-cli's own", given({"REDISCLI_AUTH=pw", "REDIS_PASSWORD=other"}), ""},
      {"none", given({}, {"redis-server"}), ""},
      {"an option without value", given({}, {"redis-server", "--requirepass"}), ""},
  };
  for (const Case& c : cases) {
    const Words environment = dump_redis(c.container).environment;
    EXPECT_EQ(environment, c.wanted.empty() ? Words{} : Words{"REDISCLI_AUTH=" + c.wanted})
        << c.name;
  }
  const DumpCommand other = dump_redis(given({}, {"redis-server", "--port", "7000"}));
  EXPECT_EQ(other.arguments, (Words{"-p", "7000", "--rdb", "-"}));
}

}  // namespace
}  // namespace bygone::ingest
