// SPDX-License-Identifier: Apache-2.0
//
// Which databases run in a container. One is believed only when it shows itself twice: by a
// process, and by the image or by the files of its data; a client in some image, or old files that
// nothing serves, are no database. SQLite has no process: its files show themselves by name and
// first bytes. detect() is pure; look_for_data() reads folders of this host, and follows no links.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ingest/dump.h"
#include "ingest/source.h"

namespace bygone::ingest {

struct DatabaseSigns {
  std::vector<std::string> processes;    // command lines
  std::string image;                     // reference
  std::vector<std::string> environment;  // NAME=VALUE of the container
  std::set<DumpWish::Kind> data;         // whose files are in a volume
};
// PostgreSQL, MariaDB, MySQL, Redis, MongoDB; in that order.
[[nodiscard]] std::vector<DumpWish::Kind> detect(const DatabaseSigns& signs);

struct SqliteFile {
  std::size_t volume = 0;  // in Source::volumes
  std::string path;        // below the volume's root; empty for a volume that is the file
};
struct DataFound {
  std::set<DumpWish::Kind> kinds;
  std::vector<SqliteFile> sqlite;  // by volume; of one what lies near its root comes first
  bool whole = true;               // false: there was more than is looked at
};
// Looks into the volumes that this host sees, at 20,000 names of each and for 200 SQLite databases
// in each at most. What cannot be read is passed by: the backup itself names it.
[[nodiscard]] DataFound look_for_data(const Source& source);

}  // namespace bygone::ingest
