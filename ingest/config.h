// SPDX-License-Identifier: Apache-2.0
//
// The configuration file, /etc/bygone/config.yaml, as values: where the repository is, which
// engine, what is told to whom, and what applies to sources (settings.h). What is wrong in it is
// named with file and line, and concerns that value alone. Read on any thread, but not beside
// setenv(); const afterwards.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/limiter.h"
#include "ingest/policy.h"
#include "ingest/schedule.h"
#include "ingest/settings.h"
#include "store/base/result.h"

namespace bygone::ingest {

inline constexpr const char* kDefaultConfigPath = "/etc/bygone/config.yaml";

// Who is told how a backup ended.
struct Notifier {
  enum class Kind {
    ping,     // GET `url`, as healthchecks.io wants it
    webhook,  // POST to `url`
    command,  // on this host: the one place where something of the user runs here
  };
  Kind kind = Kind::ping;
  std::string url;                   // http:// or https://
  std::vector<std::string> command;  // argv
  bool on_success = true, on_partial = true, on_failure = true, on_overdue = true;
};

struct Config {
  std::string path;  // of the file; empty when there was none

  std::string repository;  // absolute; empty: not named, as all of these
  // At most one of them.
  std::string password_file;     // absolute
  std::string key_file;          // absolute
  std::string password_command;  // for /bin/sh
  std::string engine_host;       // unix://PATH or tcp://HOST[:PORT]
  std::string engine_cert_path;

  bool opt_in = false;  // only what is enabled by name or label is backed up
  std::string opt_in_origin;
  bool thin_gone = false;    // snapshots of containers that are gone go by the rules, too
  std::string zone = "UTC";  // of schedules; load_config() begins with this host's
  unsigned at_once = 2;      // sources (or groups) that are backed up at the same time
  ReadLimit limit_read{ReadLimit::Kind::automatic, 0};
  std::optional<Schedule> prune_schedule;  // nothing: not by the daemon; by default daily
  Nanoseconds prune_jitter = 0;            // by default an hour
  std::vector<Notifier> notify;
  std::string metrics;  // unix:/PATH or ADDRESS:PORT of the loopback; empty: none

  // What applies to sources, every value checked already.
  Values defaults;
  std::map<std::string, Values> tiers;  // critical, standard and relaxed always
  std::map<std::string, Values> containers, volumes, folder_values;  // by the source's name
  std::map<std::string, std::string> folders;                        // name to path, absolute
  Values environment;  // BYGONE_KEEP_DAILY for keep-daily, and so on
};

// The file at `path` and the environment. A missing file is an empty configuration when `path` is
// kDefaultConfigPath, and not_found otherwise. Errors: invalid for what is no YAML, "PATH: line 3,
// column 7: ..."; denied for a file that somebody else than its reader and root can write, for it
// names commands; those of reading it. `problems` are added: wrong values and unknown keys, whose
// place keeps the value that it would have without them.
[[nodiscard]] Result<Config> load_config(const std::string& path, std::vector<Problem>& problems);

// The same of a text, without the environment. `path` is for messages. Schedules go by `zone`
// unless the text names another.
[[nodiscard]] Result<Config> parse_config(std::string_view text, const std::string& path,
                                          const std::string& zone, std::vector<Problem>& problems);

// --config's file when it is not empty, else that of BYGONE_CONFIG, else kDefaultConfigPath.
[[nodiscard]] std::string config_path(const std::string& option);

// How to reach the engine: DOCKER_HOST and its kin where they are set, else the file. Not safe
// beside setenv() in another thread.
[[nodiscard]] docker::ConnectOptions engine_options(const Config& config);

}  // namespace bygone::ingest
