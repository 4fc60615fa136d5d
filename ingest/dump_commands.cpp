// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_commands.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <sstream>

#include <fmt/core.h>

namespace bygone::ingest {
namespace {

// What a container was given in its environment.
class Environment {
 public:
  explicit Environment(const docker::Container& container) : environment_(container.environment) {}

  // Of the first of `names` that is there and not empty.
  [[nodiscard]] std::optional<std::string> first(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const std::string start = std::string(name) + "=";
      for (const std::string& each : environment_) {
        if (each.size() > start.size() && each.starts_with(start)) return each.substr(start.size());
      }
    }
    return std::nullopt;
  }

  // Puts a secret into the command's variable: a value, or the file that NAME_FILE names. False
  // when there is none of `names`.
  bool hand_over(std::initializer_list<const char*> names, const std::string& variable,
                 DumpCommand& command) const {
    for (const char* name : names) {
      if (const auto value = first({name})) {
        command.environment.push_back(variable + "=" + *value);
        return true;
      }
      const std::string file = std::string(name) + "_FILE";
      if (const auto path = first({file.c_str()})) {
        command.secrets.emplace_back(variable, *path);
        return true;
      }
    }
    return false;
  }

 private:
  const std::vector<std::string>& environment_;
};

DumpCommand postgres_command(const docker::Container& container, const char* program,
                             const std::string& database) {
  DumpCommand command;
  command.programs = {program};
  const Environment given(container);
  if (!given.hand_over({"POSTGRES_USER", "POSTGRESQL_USERNAME"}, "PGUSER", command)) {
    command.environment.emplace_back("PGUSER=postgres");
  }
  given.hand_over({"POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD"}, "PGPASSWORD", command);
  // As a variable it is a name whatever is in it; as an argument it could be a connection string.
  command.environment.push_back("PGDATABASE=" + database);
  command.environment.emplace_back("PGAPPNAME=bygone");
  command.environment.emplace_back("PGCONNECT_TIMEOUT=30");
  command.arguments = {"--no-password"};
  return command;
}

std::optional<std::string> after(const std::vector<std::string>& words, const std::string& word) {
  const auto at = std::find(words.begin(), words.end(), word);
  if (at == words.end() || std::next(at) == words.end()) return std::nullopt;
  return *std::next(at);
}

// The value of an option that Redis was started with: `--NAME value`, also inside `sh -c '...'`,
// where it may be a variable.
std::optional<std::string> redis_option(const docker::Container& container,
                                        const std::string& name) {
  std::vector<std::string> words;
  for (const auto* list : {&container.entrypoint, &container.command}) {
    if (auto value = after(*list, "--" + name)) return value;
    for (const std::string& argument : *list) {
      std::istringstream parts(argument);
      for (std::string word; parts >> word;) words.push_back(word);
    }
  }
  auto value = after(words, "--" + name);
  if (!value) return std::nullopt;
  std::erase_if(*value, [](char c) { return c == '"' || c == '\''; });
  if (!value->starts_with('$')) return value;
  std::erase_if(*value, [](char c) { return c == '$' || c == '{' || c == '}'; });
  return Environment(container).first({value->c_str()});
}

}  // namespace

std::vector<std::string> DumpCommand::argv(const std::string& program) const {
  std::vector<std::string> words;
  if (!secrets.empty()) {
    words = {
        "sh", "-c",
        "while [ \"$1\" != -- ]; do v=$(cat \"$2\") || exit 1; export \"$1=$v\"; shift 2; done; "
        "shift; exec \"$@\"",
        "sh"};
    for (const auto& [variable, path] : secrets) {
      words.push_back(variable);
      words.push_back(path);
    }
    words.emplace_back("--");
  }
  words.push_back(program);
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

DumpCommand list_postgres(const docker::Container& container) {
  // Of all databases template1 alone is sure to be there; pg_dumpall looks there, too.
  DumpCommand command = postgres_command(container, "psql", "template1");
  command.file = "postgres";
  const std::string query =
      "select datname from pg_catalog.pg_database where datallowconn and not datistemplate "
      "order by 1";
  command.arguments.insert(command.arguments.end(),
                           {"--no-psqlrc", "--no-align", "--tuples-only", "--record-separator-zero",
                            "--command", query});
  return command;
}

DumpCommand dump_postgres_globals(const docker::Container& container) {
  DumpCommand command = postgres_command(container, "pg_dumpall", "template1");
  command.file = "globals.sql";
  command.format = DumpFormat::postgres_globals;
  command.arguments.emplace_back("--globals-only");
  return command;
}

DumpCommand dump_postgres(const docker::Container& container, const std::string& database) {
  DumpCommand command = postgres_command(container, "pg_dump", database);
  // A database may be called globals.
  command.file = (database == "globals" ? "%67lobals" : as_file_name(database)) + ".sql";
  command.format = DumpFormat::postgres;
  // A migration that holds a table must not hold up the backup for ever.
  command.arguments.emplace_back("--lock-wait-timeout=60000");
  // The one that a new cluster has already.
  if (database != "postgres") command.arguments.emplace_back("--create");
  return command;
}

DumpCommand dump_mysql(const docker::Container& container, MysqlKind kind) {
  DumpCommand command;
  const bool maria = kind == MysqlKind::mariadb;
  command.file = maria ? "mariadb.sql" : "mysql.sql";
  command.format = DumpFormat::mysql;
  command.programs = {"mariadb-dump", "mysqldump"};
  if (!maria) std::swap(command.programs[0], command.programs[1]);
  // The date and the order of the rows as they lie would make every dump new to the deltas.
  command.arguments = {
      "--single-transaction", "--quick",    "--routines",       "--events",
      "--triggers",           "--hex-blob", "--skip-dump-date", "--order-by-primary"};
  // Else a dump of a server with GTIDs, as MySQL 9 has them by itself, is refused as a whole by any
  // server that has seen their transactions: by the one that it was made of, too. "loose", for
  // MariaDB's program, which may stand in, does not know the option.
  if (!maria) command.arguments.emplace_back("--loose-set-gtid-purged=OFF");
  const Environment given(container);
  const bool root_has_none =
      given
          .first({"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "MYSQL_ALLOW_EMPTY_ROOT_PASSWORD",
                  "MYSQL_ALLOW_EMPTY_PASSWORD"})
          .has_value();
  if (!given.hand_over({"MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD"}, "MYSQL_PWD", command) &&
      !root_has_none) {
    const auto user = given.first({"MARIADB_USER", "MYSQL_USER"});
    const auto database = given.first({"MARIADB_DATABASE", "MYSQL_DATABASE"});
    if (user && database &&
        given.hand_over({"MARIADB_PASSWORD", "MYSQL_PASSWORD"}, "MYSQL_PWD", command)) {
      // What a user of one database may not ask for, and what is of no database.
      command.arguments.emplace_back("--no-tablespaces");
      if (!maria) command.arguments.emplace_back("--loose-skip-masking-policies");
      command.arguments.push_back("--user=" + *user);
      command.arguments.insert(command.arguments.end(), {"--databases", *database});
      command.note = fmt::format(
          "the container knows no password of root: the dump has the database {} alone, and no "
          "users",
          *database);
      return command;
    }
  }
  command.arguments.insert(command.arguments.end(),
                           {"--user=root", "--all-databases", "--flush-privileges"});
  return command;
}

DumpCommand dump_redis(const docker::Container& container) {
  DumpCommand command;
  command.file = "redis.rdb";
  command.format = DumpFormat::rdb;
  command.programs = {"redis-cli", "valkey-cli"};
  if (const auto port = redis_option(container, "port")) command.arguments = {"-p", *port};
  command.arguments.insert(command.arguments.end(), {"--rdb", "-"});
  const Environment given(container);
  if (const auto password = redis_option(container, "requirepass")) {
    command.environment.push_back("REDISCLI_AUTH=" + *password);
  } else if (!given.first({"REDISCLI_AUTH"})) {
    given.hand_over({"REDIS_PASSWORD", "VALKEY_PASSWORD"}, "REDISCLI_AUTH", command);
  }
  return command;
}

DumpCommand dump_sqlite(const std::string& path, const std::string& name) {
  DumpCommand command;
  command.file = "sqlite/" + name + ".sql";
  command.format = DumpFormat::sqlite;
  command.programs = {"sqlite3"};
  // Read-only, so that no journal is rolled back and no WAL is folded in on our behalf.
  command.arguments = {"-batch", "-init",          "/dev/null", "-readonly",
                       "-cmd",   ".timeout 30000", path,        ".dump"};
  return command;
}

DumpCommand dump_mongo(const docker::Container& container) {
  DumpCommand command;
  command.file = "mongo.archive";
  command.format = DumpFormat::mongo;
  const Environment given(container);
  const bool locked =
      given.hand_over({"MONGO_INITDB_ROOT_PASSWORD", "MONGODB_ROOT_PASSWORD"}, "secret", command);
  if (!locked) {
    command.programs = {"mongodump"};
    command.arguments = {"--archive"};
    return command;
  }
  // mongodump takes a password by argument or by file alone: the file is a pipe.
  const std::string user =
      given.first({"MONGO_INITDB_ROOT_USERNAME", "MONGODB_ROOT_USER"}).value_or("root");
  command.programs = {"sh"};
  command.arguments = {
      "-c",
      "printf \"password: '%s'\\n\" \"$(printf %s \"$secret\" | sed \"s/'/''/g\")\" | "
      "mongodump --archive --config=/dev/stdin --username=\"$1\" "
      "--authenticationDatabase=admin",
      "sh", user};
  return command;
}

std::string as_file_name(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool hides = text.empty() && c == '.';
    if (byte < 0x20 || byte == 0x7f || c == '/' || c == '%' || hides) {
      text += fmt::format("%{:02X}", byte);
    } else {
      text += c;
    }
  }
  return text.empty() ? "%" : text;
}

}  // namespace bygone::ingest
