// SPDX-License-Identifier: Apache-2.0
//
// The commands that dump a database from within its container: programs, arguments, and where the
// credentials are, by what the container was given itself (POSTGRES_USER, MARIADB_ROOT_PASSWORD,
// REDIS_PASSWORD, ..., and their _FILE forms). A secret travels in the environment of the command,
// a secret file is read in the container; neither is ever an argument. Pure, any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/dump_check.h"

namespace bygone::ingest {

struct DumpCommand {
  std::string file;                   // below `dumps/`
  std::vector<std::string> programs;  // the first one that the container has
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=VALUE
  std::vector<std::pair<std::string, std::string>>
      secrets;  // variable, and a file in the container
  DumpFormat format = DumpFormat::plain;
  std::string note;  // what the dump lacks by design, for people; empty: nothing

  // The argv with one of `programs`: its own, or a shell's that reads the secret files first.
  [[nodiscard]] std::vector<std::string> argv(const std::string& program) const;
};

// Prints the names of all databases but templates, each followed by a zero byte.
[[nodiscard]] DumpCommand list_postgres(const docker::Container& container);
// Roles and tablespaces: `globals.sql`.
[[nodiscard]] DumpCommand dump_postgres_globals(const docker::Container& container);
// One database, for `psql`: `NAME.sql`. It creates the database, but for `postgres`.
[[nodiscard]] DumpCommand dump_postgres(const docker::Container& container,
                                        const std::string& database);
enum class MysqlKind { mariadb, mysql };
// All databases with users, routines, events and triggers, as root; without a password of root the
// one database of the container's user. `mariadb.sql` or `mysql.sql`.
[[nodiscard]] DumpCommand dump_mysql(const docker::Container& container, MysqlKind kind);
// `redis.rdb`, of the whole server, whatever it keeps itself (RDB, AOF, nothing).
[[nodiscard]] DumpCommand dump_redis(const docker::Container& container);
// The database file at `path` in the container, as `sqlite/NAME.sql`.
[[nodiscard]] DumpCommand dump_sqlite(const std::string& path, const std::string& name);
// `mongo.archive`, for `mongorestore --archive`.
[[nodiscard]] DumpCommand dump_mongo(const docker::Container& container);

// `name` as the name of one file: what cannot stand there, and what could hide, becomes %XX.
[[nodiscard]] std::string as_file_name(std::string_view name);

}  // namespace bygone::ingest
