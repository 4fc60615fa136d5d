// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_detect.h"

#include <algorithm>
#include <array>
#include <deque>
#include <string_view>

#include <unistd.h>

#include "ingest/source_tree.h"

namespace bygone::ingest {
namespace {

using Kind = DumpWish::Kind;

// Of each volume: a large one must not hide what lies in the next.
constexpr std::size_t kMostNames = 20'000;
constexpr std::size_t kMostSqlite = 200;
constexpr std::string_view kSqliteMagic("SQLite format 3\0", 16);

struct Family {
  Kind kind;
  std::vector<std::string_view> programs;   // the name of the process
  std::vector<std::string_view> images;     // part of the image's name
  std::vector<std::string_view> variables;  // that its images set
};

const std::vector<Family>& families() {
  static const std::vector<Family> list = {
      {Kind::postgres,
       {"postgres", "postmaster"},
       {"postgres", "postgis", "timescale", "pgvector"},
       {"PG_MAJOR", "PGDATA", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"}},
      // An old MariaDB calls itself mysqld: what it is then, its image says.
      {Kind::mariadb,
       {"mariadbd", "mysqld"},
       {"mariadb"},
       {"MARIADB_VERSION", "MARIADB_MAJOR", "MARIADB_ROOT_PASSWORD"}},
      {Kind::mysql,
       {"mysqld"},
       {"mysql", "percona"},
       {"MYSQL_VERSION", "MYSQL_MAJOR", "MYSQL_ROOT_PASSWORD"}},
      {Kind::redis,
       {"redis-server", "valkey-server"},
       {"redis", "valkey"},
       {"REDIS_VERSION", "VALKEY_VERSION"}},
      {Kind::mongo, {"mongod"}, {"mongo"}, {"MONGO_VERSION", "MONGO_MAJOR"}},
  };
  return list;
}

// "postgres: checkpointer", "/usr/sbin/mariadbd --user=mysql", "redis-server *:6379".
std::string_view program_of(std::string_view line) {
  line = line.substr(0, line.find(' '));
  line = line.substr(line.rfind('/') + 1);
  if (line.ends_with(':')) line.remove_suffix(1);
  return line;
}

// "registry:5000/team/postgres:15@sha256:..." is called postgres.
std::string_view name_of(std::string_view image) {
  image = image.substr(0, image.find('@'));
  image = image.substr(image.rfind('/') + 1);
  return image.substr(0, image.find(':'));
}

bool has(const std::vector<std::string_view>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool runs(const Family& family, const DatabaseSigns& signs) {
  return std::any_of(signs.processes.begin(), signs.processes.end(), [&](const std::string& line) {
    return has(family.programs, program_of(line));
  });
}

bool is_image_of(const Family& family, const DatabaseSigns& signs) {
  const std::string_view name = name_of(signs.image);
  if (std::any_of(family.images.begin(), family.images.end(), [&](std::string_view part) {
        return name.find(part) != std::string_view::npos;
      })) {
    return true;
  }
  return std::any_of(
      signs.environment.begin(), signs.environment.end(), [&](const std::string& each) {
        return has(family.variables, std::string_view(each).substr(0, each.find('=')));
      });
}

class DataSearch {
 public:
  DataFound run(const Source& source) {
    for (volume_ = 0; volume_ < source.volumes.size(); ++volume_) {
      // What lies at the same path of this host is somebody else's.
      if (source.volumes[volume_].access == Access::engine) continue;
      auto root = open_root(source.volumes[volume_].host_path);
      if (!root) continue;
      auto self = look_at(*root);
      if (!self) continue;
      names_ = 0;
      databases_ = 0;
      if (self->entry.is_directory()) {
        search(*root);
      } else if (self->entry.type == store::FileType::regular) {
        add_if_sqlite(*root, "");
      }
    }
    return std::move(found_);
  }

 private:
  void add_if_sqlite(const Fd& file, const std::string& path) {
    std::array<char, kSqliteMagic.size()> first{};
    if (::pread(file.get(), first.data(), first.size(), 0) != static_cast<ssize_t>(first.size()) ||
        std::string_view(first.data(), first.size()) != kSqliteMagic) {
      return;
    }
    if (databases_ == kMostSqlite) {
      found_.whole = false;
      return;
    }
    ++databases_;
    found_.kinds.insert(Kind::sqlite);
    found_.sqlite.push_back({volume_, path});
  }

  void look_at_name(std::string_view name) {
    if (name == "PG_VERSION") found_.kinds.insert(Kind::postgres);
    if (name == "ibdata1") found_.kinds.insert({Kind::mariadb, Kind::mysql});
    if (name == "dump.rdb" || name == "appendonly.aof" || name == "appendonlydir") {
      found_.kinds.insert(Kind::redis);
    }
    if (name == "WiredTiger") found_.kinds.insert(Kind::mongo);
  }

  static bool may_be_sqlite(std::string_view name) {
    constexpr std::string_view kEnds[] = {".db", ".db3", ".sqlite", ".sqlite3", ".s3db"};
    return std::any_of(std::begin(kEnds), std::end(kEnds),
                       [&](std::string_view end) { return name.ends_with(end); });
  }

  // Level by level: what lies near the root is found, however much there is below.
  void search(const Fd& root) {
    std::deque<std::string> folders{""};
    for (; !folders.empty(); folders.pop_front()) {
      const std::string& folder = folders.front();
      const auto below = folder.empty() ? Result<Fd>(Fd()) : open_folder(root, folder);
      if (!below) continue;
      const auto listing = list_folder(folder.empty() ? root : *below);
      if (!listing) continue;
      for (const Listed& listed : listing->entries) {
        if (++names_ > kMostNames) {
          found_.whole = false;
          return;
        }
        look_at_name(listed.entry.name);
        const std::string path = join_path(folder, listed.entry.name);
        if (listed.entry.is_directory()) {
          folders.push_back(path);
        } else if (listed.entry.type == store::FileType::regular && may_be_sqlite(path)) {
          if (auto file = open_file(root, path)) add_if_sqlite(*file, path);
        }
      }
    }
  }

  DataFound found_;
  std::size_t volume_ = 0;
  std::size_t names_ = 0;      // looked at in this volume, and
  std::size_t databases_ = 0;  // found there
};

}  // namespace

std::vector<Kind> detect(const DatabaseSigns& signs) {
  std::vector<Kind> by_image, by_data;
  for (const Family& family : families()) {
    if (!runs(family, signs)) continue;
    if (is_image_of(family, signs)) {
      by_image.push_back(family.kind);
    } else if (signs.data.count(family.kind) != 0) {
      by_data.push_back(family.kind);
    }
  }
  // mysqld may be either of two, whose files look alike: it is one server, and the image knows
  // best.
  const auto is_one = [](Kind kind) { return kind == Kind::mariadb || kind == Kind::mysql; };
  std::vector<Kind> kinds;
  for (const auto* list : {&by_image, &by_data}) {
    for (const Kind kind : *list) {
      if (is_one(kind) && std::any_of(kinds.begin(), kinds.end(), is_one)) continue;
      kinds.push_back(kind);
    }
  }
  std::sort(kinds.begin(), kinds.end());
  return kinds;
}

DataFound look_for_data(const Source& source) { return DataSearch().run(source); }

}  // namespace bygone::ingest
