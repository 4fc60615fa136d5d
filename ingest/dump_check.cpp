// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_check.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kHead = 32;
constexpr std::size_t kTail = 512;
constexpr std::size_t kShown = 1000;          // bytes of standard error in a reason
constexpr std::size_t kReplicationMark = 40;  // Redis adds it when it streams from memory

constexpr std::array<std::uint64_t, 256> make_crc_table() {
  std::array<std::uint64_t, 256> table{};
  for (std::uint64_t i = 0; i < table.size(); ++i) {
    std::uint64_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x95ac9329ac4bc9b5U : 0U);
    }
    table[i] = crc;
  }
  return table;
}

// What a line of standard error begins with, or has in it, when the tool has given up on something:
// some end with 0 all the same.
struct Fatal {
  DumpFormat format;
  std::string_view text;
};
constexpr Fatal kFatal[] = {
    {DumpFormat::postgres, "pg_dump: error:"}, {DumpFormat::postgres_globals, "pg_dumpall: error:"},
    {DumpFormat::mysql, "dump: Got error"},    {DumpFormat::mysql, "dump: Error"},
    {DumpFormat::mysql, "dump: Couldn't"},     {DumpFormat::sqlite, "Error:"},
    {DumpFormat::sqlite, "error near"},        {DumpFormat::mongo, "Failed:"},
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  return text;
}

Error failed(const std::string& why, std::string_view said) {
  said = trimmed(said);
  if (said.size() > kShown) said.remove_prefix(said.size() - kShown);
  return Error{Code::hook, 0, said.empty() ? why : why + ": " + printable(std::string(said))};
}

// redis-cli and valkey-cli hear no reason when the server breaks off: Valkey 9.1 does so at once
// when a field of a hash can expire, for its own valkey-cli asks for a format that has no such
// fields.
bool server_gave_up(std::string_view said) {
  return said.find("reading RDB payload") != std::string_view::npos ||
         said.find("Error reading bulk length") != std::string_view::npos;
}

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return value;
}

}  // namespace

std::uint64_t rdb_crc64(std::uint64_t crc, std::string_view bytes) {
  static constexpr std::array<std::uint64_t, 256> kTable = make_crc_table();
  for (const char c : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffU] ^ (crc >> 8U);
  }
  return crc;
}

void DumpCheck::take(std::string_view bytes, const Sink& sink) {
  if (head_.size() < kHead) head_.append(bytes.substr(0, kHead - head_.size()));
  tail_.append(bytes);
  if (tail_.size() <= kTail) return;
  const std::string_view sure = std::string_view(tail_).substr(0, tail_.size() - kTail);
  if (format_ == DumpFormat::rdb) crc_ = rdb_crc64(crc_, sure);
  sink(sure);
  tail_.erase(0, sure.size());
}

// Whether a line begins with `mark`, and nothing but comments, empty lines and psql's \unrestrict
// comes behind it.
bool DumpCheck::ends_with_line(std::string_view mark) const {
  const std::string_view tail = tail_;
  const std::size_t at = tail.rfind(mark);
  if (at == std::string_view::npos || (at > 0 && tail[at - 1] != '\n')) return false;
  std::string_view rest = tail.substr(at);
  if (rest.find('\n') == std::string_view::npos) return false;  // cut in the line itself
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (!line.empty() && !line.starts_with("--") && !line.starts_with("\\unrestrict") &&
        line != mark) {
      return false;
    }
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return true;
}

// An RDB ends with 0xff and the checksum of all before it, zero where the server has them off. When
// Redis streamed it from memory, the mark of its replication protocol comes behind.
Result<std::size_t> DumpCheck::judge_rdb() {
  const std::string_view tail = tail_;
  for (const std::size_t extra : {std::size_t{0}, kReplicationMark}) {
    if (tail.size() < extra + 9) continue;
    const std::size_t end = tail.size() - extra;
    if (tail[end - 9] != '\xff') continue;
    const std::uint64_t wanted = little_endian(tail.substr(end - 8, 8));
    if (wanted == 0 || wanted == rdb_crc64(crc_, tail.substr(0, end - 8))) return end;
  }
  return Error{Code::hook, 0, "it does not end as a whole RDB does, or its checksum is wrong"};
}

// How much of tail_ belongs to the dump.
Result<std::size_t> DumpCheck::judge() {
  const auto needs = [&](bool begins, bool ends) -> Result<std::size_t> {
    if (!begins) return Error{Code::hook, 0, "what was printed does not begin as a dump does"};
    if (!ends) return Error{Code::hook, 0, "it was cut off: the mark of its end is missing"};
    return tail_.size();
  };
  switch (format_) {
    case DumpFormat::plain:
      return tail_.size();
    case DumpFormat::postgres:
      return needs(true, ends_with_line("-- PostgreSQL database dump complete"));
    case DumpFormat::postgres_globals:
      return needs(true, ends_with_line("-- PostgreSQL database cluster dump complete"));
    case DumpFormat::mysql:
      return needs(true, ends_with_line("-- Dump completed"));
    case DumpFormat::sqlite:
      // On damage the shell rolls back instead, and ends with 0.
      return needs(head_.starts_with("PRAGMA foreign_keys=OFF;"), ends_with_line("COMMIT;"));
    case DumpFormat::mongo:
      return needs(head_.starts_with("\x6d\xe2\x99\x81"), tail_.ends_with("\xff\xff\xff\xff"));
    case DumpFormat::rdb:
      TRY(needs(head_.starts_with("REDIS") || head_.starts_with("VALKEY"), true));
      return judge_rdb();
  }
  return tail_.size();
}

Result<void> DumpCheck::finish(const docker::ExecOutcome& outcome, const Sink& sink) {
  const auto whole = judge();
  if (outcome.exit_code != 0) {
    // redis-cli before 6.2.7 cannot sync a pipe, and ends with 1 for that; the checksum tells.
    const bool harmless = format_ == DumpFormat::rdb && whole.ok() &&
                          outcome.error_text.find("Fail to fsync") != std::string::npos;
    // Why a program could not be started comes as its output.
    const bool not_started = outcome.exit_code == 126 || outcome.exit_code == 127;
    const std::string& said =
        outcome.error_text.empty() && not_started ? tail_ : outcome.error_text;
    if (!harmless) {
      Error error = failed(fmt::format("exit code {}", outcome.exit_code), said);
      if (format_ == DumpFormat::rdb && server_gave_up(said)) {
        error.message += "; hint: the server's log says why (docker logs)";
      }
      return error;
    }
  }
  for (const Fatal& fatal : kFatal) {
    if (fatal.format != format_ || outcome.error_text.find(fatal.text) == std::string::npos)
      continue;
    return failed("it reported an error", outcome.error_text);
  }
  if (!whole) return failed(whole.error().message, outcome.error_text);
  const std::string_view last = std::string_view(tail_).substr(0, *whole);
  if (!last.empty()) sink(last);
  return {};
}

}  // namespace bygone::ingest
