// SPDX-License-Identifier: Apache-2.0
#include "ingest/postgres_mode.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <sys/random.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kPatience{30'000};
// The checkpoint at the start writes all that is dirty in shared_buffers.
constexpr milliseconds kStartPatience{1'800'000};
// At the stop a server of 9.6 waits for its archiver; all others just switch to a new segment.
constexpr milliseconds kStopPatience{120'000};
constexpr milliseconds kGlance{100};  // how late a cancel is seen
constexpr std::size_t kKeptErrors = 2000;
constexpr std::size_t kMostOutput = 16U << 20U;

// Names and passwords are found in the container's own environment and stay there. A PGHOST that is
// no folder of sockets would lead to a server elsewhere. Settings of the role or database must not
// end the session while it waits.
constexpr const char* kPsql = R"(
case $PGHOST in /*) ;; *) unset PGHOST ;; esac
unset PGHOSTADDR PGSERVICE PGSERVICEFILE PGTARGETSESSIONATTRS
if [ -z "$PGPASSWORD" ]; then
  file=${POSTGRES_PASSWORD_FILE:-$POSTGRESQL_PASSWORD_FILE}
  PGPASSWORD=${POSTGRES_PASSWORD:-$POSTGRESQL_PASSWORD}
  if [ -r "$file" ]; then PGPASSWORD=$(cat "$file"); fi
  export PGPASSWORD
fi
PGOPTIONS='-c statement_timeout=0 -c lock_timeout=0 -c client_min_messages=warning'
PGAPPNAME=bygone
export PGOPTIONS PGAPPNAME
exec psql -X -q -A -t -w -v ON_ERROR_STOP=1 -d postgres \
  -U "${PGUSER:-${POSTGRES_USER:-${POSTGRESQL_USERNAME:-postgres}}}"
)";

// Text of any encoding, as something that no encoding changes.
std::string as_hex(const std::string& sql) {
  return "encode(convert_to(" + sql + ", getdatabaseencoding()), 'hex')";
}

std::optional<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string text;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    if (error != std::errc() || end != hex.data() + i + 2) return std::nullopt;
    text.push_back(static_cast<char>(value));
  }
  return text;
}

template <class T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> fields;
  for (std::size_t end = 0; (end = text.find(separator)) != std::string_view::npos;) {
    fields.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  fields.emplace_back(text);
  return fields;
}

// "16/B374D848".
std::optional<std::uint64_t> parse_lsn(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto high = number<std::uint32_t>(text.substr(0, slash), 16);
  const auto low = number<std::uint32_t>(text.substr(slash + 1), 16);
  if (!high || !low) return std::nullopt;
  return std::uint64_t{*high} << 32U | *low;
}

Error not_understood(const std::string& what) {
  return {Code::unsupported, 0, "PostgreSQL's answer to " + what + " is not understood"};
}

Result<std::string> new_marker() {
  std::uint8_t random[8];
  if (::getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    return os_error(errno, "asking for random bytes");
  }
  return "bygone_" + to_hex(random);
}

}  // namespace

Result<std::unique_ptr<PostgresMode>> PostgresMode::connect(docker::Engine& engine,
                                                            const std::string& container,
                                                            const std::atomic<bool>& cancel) {
  docker::ExecRequest request;
  request.container = container;
  request.command = {"sh", "-c", kPsql};
  request.input = true;
  std::optional<Error> failure;
  // A server that believes only the operating system's word lets its own user in.
  for (const char* user : {"", "postgres"}) {
    request.user = user;
    auto exec = engine.exec(request);
    if (!exec) {
      if (failure) return *failure;
      return std::move(exec).error();
    }
    std::unique_ptr<PostgresMode> mode(
        new PostgresMode(std::move(*exec), TRY(new_marker()), cancel));
    auto described = mode->describe();
    if (described) return mode;
    if (described.error().code == Code::cancelled) return std::move(described).error();
    if (!failure) failure = std::move(described).error();
  }
  return *failure;
}

// Why psql has gone.
Error PostgresMode::ended() {
  const auto code = exec_->exit_code();
  std::string text = errors_;
  if (text.empty()) text = output_;  // the engine's own complaint about a program that is missing
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const bool missing = code && (*code == 126 || *code == 127);
  if (missing) return {Code::unsupported, 0, "psql cannot be run in it: " + printable(text)};
  if (text.empty()) text = "the session ended";
  return {Code::denied, 0, "PostgreSQL's backup mode: " + printable(text)};
}

// Runs statements and returns the lines that they print.
Result<std::vector<std::string>> PostgresMode::ask(const std::string& statements,
                                                   milliseconds patience) {
  const Clock::time_point end = Clock::now() + patience;
  // When psql has ended, what it said last is worth more than that its input is closed.
  const auto sent = exec_->write(statements + "\n\\echo " + marker_ + "\n");
  const std::string last = marker_ + "\n";
  for (;;) {
    const std::size_t found = output_.find(last);
    if (found != std::string::npos && (found == 0 || output_[found - 1] == '\n')) {
      const std::string answer = output_.substr(0, found);
      output_.erase(0, found + last.size());
      std::vector<std::string> lines = split(answer, '\n');
      lines.pop_back();  // what follows the last newline
      return lines;
    }
    if (cancel_) return Error{Code::cancelled, 0, "cancelled"};
    if (Clock::now() >= end || output_.size() > kMostOutput) {
      return Error{Code::unavailable, 0,
                   fmt::format("PostgreSQL has not answered within {} s", patience.count() / 1000)};
    }
    const docker::ExecPiece piece = TRY(exec_->read(kGlance));
    if (piece.ended) return ended();
    if (piece.stream == docker::ExecStream::error) {
      errors_ += piece.bytes;
      if (errors_.size() > kKeptErrors) errors_.erase(0, errors_.size() - kKeptErrors);
    } else {
      output_ += piece.bytes;
    }
    if (!sent && piece.bytes.empty()) return sent.error();
  }
}

Result<void> PostgresMode::describe() {
  const auto lines =
      TRY(ask("SELECT current_setting('server_version_num'), pg_is_in_recovery(),"
              " (SELECT system_identifier FROM pg_control_system()), " +
                  as_hex("current_setting('data_directory')") + ";\nSELECT " +
                  as_hex("pg_tablespace_location(oid)") +
                  " FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '/%';",
              kPatience));
  if (lines.empty()) return not_understood("what it is");
  const auto fields = split(lines.front(), '|');
  if (fields.size() != 4) return not_understood("what it is");
  const auto version = number<int>(fields[0]);
  const auto system_id = number<std::int64_t>(fields[2]);
  const auto directory = from_hex(fields[3]);
  if (!version || !system_id || !directory) return not_understood("what it is");
  cluster_.version = *version;
  cluster_.in_recovery = fields[1] == "t";
  cluster_.system_id = static_cast<std::uint64_t>(*system_id);
  cluster_.data_directory = *directory;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto path = from_hex(lines[i]);
    if (!path) return not_understood("where its tablespaces are");
    cluster_.tablespaces.push_back(std::move(*path));
  }
  return {};
}

Result<void> PostgresMode::start() {
  errors_.clear();
  if (cluster_.version >= 140000) TRY(ask("SET idle_session_timeout = 0;", kPatience));
  if (cluster_.version >= 100000) {
    // Temporary: it goes with the session. Without one, a segment that is recycled too early is
    // found to be missing.
    TRY(ask("\\set ON_ERROR_STOP 0\nSELECT 1 FROM pg_create_physical_replication_slot('" + marker_ +
                "', true, true);\n\\set ON_ERROR_STOP 1",
            kPatience));
    errors_.clear();
  }
  const char* const start = cluster_.version >= 150000
                                ? "SELECT pg_backup_start('bygone', true);"
                                : "SELECT pg_start_backup('bygone', true, false);";
  const auto lines = TRY(ask(start, kStartPatience));
  if (lines.size() != 1 || !parse_lsn(lines[0])) return not_understood("the start of a backup");
  return {};
}

Result<PostgresBackup> PostgresMode::stop() {
  const char* function = "pg_stop_backup(false)";
  if (cluster_.version >= 100000) function = "pg_stop_backup(false, false)";
  if (cluster_.version >= 150000) function = "pg_backup_stop(false)";
  const auto lines = TRY(ask("SELECT lsn, " + as_hex("labelfile") + ", " +
                                 as_hex("coalesce(spcmapfile, '')") + " FROM " + function + ";",
                             kStopPatience));
  if (lines.size() != 1) return not_understood("the end of a backup");
  const auto fields = split(lines[0], '|');
  if (fields.size() != 3) return not_understood("the end of a backup");
  const auto lsn = parse_lsn(fields[0]);
  auto label = from_hex(fields[1]);
  auto map = from_hex(fields[2]);
  if (!lsn || !label || !map || label->empty()) return not_understood("the end of a backup");
  return PostgresBackup{*lsn, std::move(*label), std::move(*map)};
}

Result<std::string> first_wal_segment(const std::string& label) {
  // START WAL LOCATION: 0/9000028 (file 000000010000000000000009)
  constexpr std::string_view kStart = "START WAL LOCATION: ";
  constexpr std::string_view kFile = " (file ";
  constexpr std::size_t kName = 24;
  const std::size_t line = label.rfind(kStart, 0);
  const std::size_t file = label.find(kFile);
  if (line != 0 || file == std::string::npos || file > label.find('\n') ||
      label.size() < file + kFile.size() + kName) {
    return Error{Code::invalid, 0, "PostgreSQL's backup label does not tell where its WAL begins"};
  }
  std::string name = label.substr(file + kFile.size(), kName);
  if (name.find_first_not_of("0123456789ABCDEF") != std::string::npos) {
    return Error{Code::invalid, 0, "PostgreSQL's backup label names no segment of WAL"};
  }
  return name;
}

Result<std::vector<std::string>> wal_segments(const std::string& label, std::uint64_t stop_lsn,
                                              std::uint64_t segment_size) {
  const std::string first = TRY(first_wal_segment(label));
  constexpr std::uint64_t kLog = std::uint64_t{1} << 32U;  // bytes that share the middle number
  constexpr std::uint64_t kMost = 1'000'000;
  const bool power = segment_size != 0 && (segment_size & (segment_size - 1)) == 0;
  if (!power || segment_size < (1U << 20U) || segment_size > (1U << 30U)) {
    return Error{Code::invalid, 0, fmt::format("segments of WAL have {} bytes", segment_size)};
  }
  const std::uint64_t in_log = kLog / segment_size;
  const auto log = number<std::uint32_t>(std::string_view(first).substr(8, 8), 16);
  const auto segment = number<std::uint32_t>(std::string_view(first).substr(16, 8), 16);
  const std::uint64_t begin = log.value_or(0) * in_log + segment.value_or(0);
  // The last byte of the backup is the one before the stop.
  const std::uint64_t end = stop_lsn == 0 ? 0 : (stop_lsn - 1) / segment_size;
  if (end < begin || end - begin > kMost) {
    return Error{Code::invalid, 0, "PostgreSQL's backup ends before it begins, or far behind"};
  }
  std::vector<std::string> names;
  for (std::uint64_t i = begin; i <= end; ++i) {
    names.push_back(fmt::format("{}{:08X}{:08X}", first.substr(0, 8), i / in_log, i % in_log));
  }
  return names;
}

}  // namespace bygone::ingest
