// SPDX-License-Identifier: Apache-2.0
//
// PostgreSQL's backup mode, held in one session of psql in the database's own container. Between
// start() and stop() the data directory may be read while the database runs: what was read, with
// the WAL from the start to the stop and the label that stop() returns, is a base backup
// (https://www.postgresql.org/docs/current/continuous-archiving.html, "Making a Base Backup Using
// the Low Level API"). The mode is of the non-exclusive kind: a server whose session ends, because
// we were killed, say, ends the backup by itself. Versions 9.6 and later. One thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct PostgresCluster {
  int version = 0;                       // as server_version_num: 150004
  bool in_recovery = false;              // a standby, or a server that recovers
  std::uint64_t system_id = 0;           // also the first eight bytes of global/pg_control
  std::string data_directory;            // path in the container
  std::vector<std::string> tablespaces;  // absolute paths in the container
};

struct PostgresBackup {
  std::uint64_t stop_lsn = 0;
  std::string label;           // content of backup_label
  std::string tablespace_map;  // content of the file of that name; empty: there is none
};

class PostgresMode {
 public:
  // Opens the session, as the superuser that the container's environment names, over the server's
  // local socket, never to another host; asks what cluster it is. `engine` and `cancel` must
  // outlive it. Errors: unsupported when psql is missing, the server cannot be reached, or its
  // answers are not understood; denied when it refuses; cancelled; those of Engine::exec().
  static Result<std::unique_ptr<PostgresMode>> connect(docker::Engine& engine,
                                                       const std::string& container,
                                                       const std::atomic<bool>& cancel);

  [[nodiscard]] const PostgresCluster& cluster() const { return cluster_; }
  // Enters backup mode with a checkpoint at full speed. From version 10 on a temporary replication
  // slot keeps the WAL for as long as this object lives, if the server has one to spare. Errors: as
  // connect(); what the server says.
  Result<void> start();
  // Leaves backup mode. The session stays, and with it the WAL. Errors: as start(); when the
  // session was lost meanwhile there is no backup.
  Result<PostgresBackup> stop();

 private:
  PostgresMode(std::unique_ptr<docker::Exec> exec, std::string marker,
               const std::atomic<bool>& cancel)
      : exec_(std::move(exec)), marker_(std::move(marker)), cancel_(cancel) {}
  Result<void> describe();
  Result<std::vector<std::string>> ask(const std::string& statements,
                                       std::chrono::milliseconds patience);
  [[nodiscard]] Error ended();

  std::unique_ptr<docker::Exec> exec_;
  std::string marker_;  // a line that ends each answer
  const std::atomic<bool>& cancel_;
  PostgresCluster cluster_;
  std::string output_;  // received and not yet taken
  std::string errors_;  // the end of what psql complained of
};

// The names of the WAL segments from the start that `label` (of backup_label) tells of to the stop.
// Errors: invalid for a label that is none, a `stop_lsn` before it, or a `segment_size` that
// PostgreSQL does not have.
[[nodiscard]] Result<std::vector<std::string>> wal_segments(const std::string& label,
                                                            std::uint64_t stop_lsn,
                                                            std::uint64_t segment_size);
// The name of the segment where the WAL of the backup begins. Errors: invalid.
[[nodiscard]] Result<std::string> first_wal_segment(const std::string& label);

}  // namespace bygone::ingest
