// SPDX-License-Identifier: Apache-2.0
//
// Dumps of the databases in a container, made by its own programs through the engine's exec and
// shown in `.bygone/dumps/`: what runs there is found out (dump_detect.h), the commands are built
// (dump_commands.h), run, and judged by how they end (dump_check.h).
#pragma once

#include <string>
#include <vector>

namespace bygone::ingest {

// What a person wants to be dumped (label bygone.dump).
struct DumpWish {
  enum class Kind {
    automatic,  // of what runs and shows itself twice: by its process, and by image or data
    postgres,
    mariadb,
    mysql,
    redis,
    sqlite,
    mongo,
    command,  // `command`, whose output is the dump
    none,
  };
  Kind kind = Kind::automatic;
  std::vector<std::string> command = {};  // argv, for Kind::command
  std::string file = {};                  // name of the command's dump; empty: "dump"
  std::string user = {};                  // that runs it; empty: the container's own
};

}  // namespace bygone::ingest
