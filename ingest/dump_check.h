// SPDX-License-Identifier: Apache-2.0
//
// Whether what a dump's command printed is a whole dump: by its exit code, by what it said on
// standard error, and by the marks that the format has at its begin and end. The end is held back
// until that is known. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ingest/docker/exec.h"
#include "store/base/result.h"

namespace bygone::ingest {

enum class DumpFormat {
  plain,             // anything: the exit code alone counts
  postgres,          // pg_dump, plain
  postgres_globals,  // pg_dumpall
  mysql,             // mariadb-dump, mysqldump
  rdb,               // Redis: checksum over all
  sqlite,            // the shell's .dump
  mongo,             // mongodump --archive
};

// CRC-64 as in RDB files (polynomial of Jones, reflected; Redis's src/crc64.c). `crc` is 0 at
// first.
[[nodiscard]] std::uint64_t rdb_crc64(std::uint64_t crc, std::string_view bytes);

class DumpCheck {
 public:
  using Sink = std::function<void(std::string_view)>;
  explicit DumpCheck(DumpFormat format) : format_(format) {}

  // The next bytes of the output; what is sure to belong to the dump goes to `sink`.
  void take(std::string_view bytes, const Sink& sink);
  // After the end: the rest goes to `sink`, without what the transport added to it. Errors: hook,
  // with the reason; what went to `sink` is no dump then.
  Result<void> finish(const docker::ExecOutcome& outcome, const Sink& sink);

 private:
  Result<std::size_t> judge();
  Result<std::size_t> judge_rdb();
  [[nodiscard]] bool ends_with_line(std::string_view mark) const;

  DumpFormat format_;
  std::string head_;       // the first bytes
  std::string tail_;       // the last ones, held back
  std::uint64_t crc_ = 0;  // of all before tail_
};

}  // namespace bygone::ingest
