// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_detect.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

namespace stdfs = std::filesystem;
using Kind = DumpWish::Kind;
using Kinds = std::vector<Kind>;

TEST(DumpDetect, BelievesADatabaseThatShowsItselfTwice) {
  struct Case {
    const char* name;
    DatabaseSigns signs;
    Kinds wanted;
  };
  const Case cases[] = {
      {"PostgreSQL by image",
       {{"postgres", "postgres: checkpointer "}, "postgres:15", {}, {}},
       {Kind::postgres}},
      {"by a derived image's variable",
       {{"/usr/lib/postgresql/15/bin/postgres -D /x"}, "shop/db", {"PG_MAJOR=15"}, {}},
       {Kind::postgres}},
      {"by its files", {{"postgres -D /x"}, "debian", {}, {Kind::postgres}}, {Kind::postgres}},
      {"in a registry",
       {{"postgres"}, "registry:5000/team/postgis@sha256:12", {}, {}},
       {Kind::postgres}},
      {"a process alone", {{"postgres"}, "debian", {}, {}}, {}},
      {"an image alone", {{"sleep infinity"}, "postgres:15", {"PG_MAJOR=15"}, {}}, {}},
      {"files alone", {{"sh"}, "debian", {}, {Kind::postgres, Kind::redis}}, {}},
      {"a client", {{"psql -U postgres", "pg_dump x"}, "postgres:15", {}, {}}, {}},
      {"a tag that is called so", {{"postgres"}, "debian:postgres", {}, {}}, {}},
      {"MariaDB", {{"mariadbd"}, "mariadb:11", {"MYSQL_ROOT_PASSWORD=x"}, {}}, {Kind::mariadb}},
      {"an old MariaDB", {{"mysqld"}, "mariadb:10.2", {}, {Kind::mysql}}, {Kind::mariadb}},
      {"MySQL", {{"mysqld"}, "mysql:8", {}, {Kind::mariadb, Kind::mysql}}, {Kind::mysql}},
      {"one of the two", {{"mysqld"}, "x", {}, {Kind::mariadb, Kind::mysql}}, {Kind::mariadb}},
      {"Redis", {{"redis-server *:6379"}, "redis:7", {}, {}}, {Kind::redis}},
      {"Valkey", {{"valkey-server *:6379"}, "valkey/valkey:8", {}, {}}, {Kind::redis}},
      {"MongoDB", {{"mongod --bind_ip_all"}, "mongo:7", {}, {}}, {Kind::mongo}},
      {"two in one container",
       {{"redis-server", "postgres"}, "all-in-one", {}, {Kind::redis, Kind::postgres}},
       {Kind::postgres, Kind::redis}},
      {"nothing", {{}, "", {}, {}}, {}},
      {"empty lines", {{"", " ", "/"}, "postgres", {}, {}}, {}},
  };
  for (const Case& c : cases) EXPECT_EQ(detect(c.signs), c.wanted) << c.name;
}

class DumpData : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& content = "x") {
    const stdfs::path whole = stdfs::path(folder_.path()) / path;
    stdfs::create_directories(whole.parent_path());
    std::ofstream(whole, std::ios::binary) << content;
  }
  DataFound look(const std::vector<std::string>& volumes = {""}) {
    Source source;
    for (const std::string& path : volumes) {
      VolumeSource volume;
      volume.name = "data";
      volume.host_path = folder_.path() + path;
      volume.access = access_;
      source.volumes.push_back(volume);
    }
    return look_for_data(source);
  }
  Access access_ = Access::host;
  const std::string sqlite_ = std::string("SQLite format 3\0", 16) + "rest";
  test::TempFolder folder_;
};

TEST_F(DumpData, KnowsTheFilesOfEach) {
  put("18/docker/PG_VERSION");
  put("mysql/ibdata1");
  put("appendonlydir/appendonly.aof.1.base.rdb");
  put("WiredTiger");
  put("app/state.sqlite3", sqlite_);
  EXPECT_EQ(look().kinds, (std::set<Kind>{Kind::postgres, Kind::mariadb, Kind::mysql, Kind::redis,
                                          Kind::mongo, Kind::sqlite}));
}

TEST_F(DumpData, FindsSqliteByNameAndFirstBytes) {
  put("a.db", sqlite_);
  put("deep/er/b.sqlite", sqlite_);
  put("other.db", "Berkeley, not SQLite");
  put("short.db", "SQL");
  put("unnamed", sqlite_);
  const DataFound found = look();
  ASSERT_EQ(found.sqlite.size(), 2u);
  EXPECT_EQ(found.sqlite[0].path, "a.db");
  EXPECT_EQ(found.sqlite[1].path, "deep/er/b.sqlite");
  EXPECT_TRUE(found.whole);
}

// The folder of an engine elsewhere may have a namesake on this host.
TEST_F(DumpData, LooksIntoNothingThatOnlyTheEngineSees) {
  put("PG_VERSION");
  put("a.db", sqlite_);
  access_ = Access::engine;
  const DataFound found = look();
  EXPECT_TRUE(found.kinds.empty());
  EXPECT_TRUE(found.sqlite.empty());
}

// A container that swaps a file for a link must not make us look elsewhere on the host.
TEST_F(DumpData, FollowsNoLinks) {
  const test::TempFolder elsewhere;
  std::ofstream(elsewhere.path() + "/x.db", std::ios::binary) << sqlite_;
  stdfs::create_symlink(elsewhere.path() + "/x.db", folder_.path() + "/x.db");
  stdfs::create_directory_symlink(elsewhere.path(), folder_.path() + "/sub");
  EXPECT_TRUE(look().sqlite.empty());
}

TEST_F(DumpData, DoesNotLookForEver) {
  for (int i = 0; i < 201; ++i) put("many/" + std::to_string(i) + ".db", sqlite_);
  const DataFound found = look();
  EXPECT_EQ(found.sqlite.size(), 200u);
  EXPECT_FALSE(found.whole);
}

TEST_F(DumpData, OfALargeVolumeHidesNothingInTheNext) {
  for (int i = 0; i < 20'001; ++i) put("cache/" + std::to_string(i), "");
  for (int i = 0; i < 201; ++i) put("chats/" + std::to_string(i) + ".db", sqlite_);
  put("config/app.db", sqlite_);
  const DataFound found = look({"/cache", "/chats", "/config"});
  ASSERT_EQ(found.sqlite.size(), 201u);
  EXPECT_EQ(found.sqlite.back().volume, 2u);
  EXPECT_EQ(found.sqlite.back().path, "app.db");
  EXPECT_FALSE(found.whole);
}

// Plex keeps its databases six folders deep.
TEST_F(DumpData, LooksAtHighFoldersFirstAndThenAtDeepOnes) {
  put("config/Library/Application Support/Plex/Plug-in Support/Databases/library.db", sqlite_);
  EXPECT_EQ(look().sqlite.size(), 1u);
  for (int i = 0; i < 20'000; ++i) put("a/b/" + std::to_string(i));
  put("z/near.db", sqlite_);
  const DataFound found = look();
  ASSERT_EQ(found.sqlite.size(), 1u);
  EXPECT_EQ(found.sqlite[0].path, "z/near.db");
  EXPECT_FALSE(found.whole);
}

}  // namespace
}  // namespace bygone::ingest
