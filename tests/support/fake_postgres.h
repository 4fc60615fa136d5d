// SPDX-License-Identifier: Apache-2.0
//
// A PostgreSQL behind psql in a container, as far as its backup mode goes: what it answers is
// written down in members, and it can fail at any statement. One thread, but for its members after
// the session's end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ingest/docker/exec.h"
#include "store/base/bytes.h"

namespace bygone::test {

class FakePostgres {
 public:
  std::string version = "150004";
  bool in_recovery = false;
  std::int64_t system_id = 7'000'000'000'000'000'001;
  std::string data_directory = "/var/lib/postgresql/data";
  std::vector<std::string> tablespaces;
  std::string label =
      "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
      "CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nLABEL: bygone\n";
  std::string map;
  std::string stop_lsn = "0/4000100";

  // Statements that contain the key end psql with this complaint and exit code 3.
  std::map<std::string, std::string> complaints;
  std::string rude;  // a statement that contains it ends psql without a word
  // psql ends at once so; 0: it runs.
  int exit_code = 0;
  std::string last_words;          // on standard error; on output with code 127
  std::string only_user;           // of the system who may; empty: everybody
  std::function<void()> on_start;  // before the answer
  std::function<void()> on_stop;

  std::vector<std::string> users;       // of the sessions
  std::vector<std::string> statements;  // in order, with the commands of psql
  int open = 0;                         // sessions that were not ended
  bool in_backup = false;

  std::unique_ptr<docker::Exec> exec(const docker::ExecRequest& request) {
    users.push_back(request.user);
    ++open;
    return std::make_unique<Session>(*this, request.user);
  }

 private:
  class Session final : public docker::Exec {
   public:
    Session(FakePostgres& server, const std::string& user) : server_(server) {
      if (server.exit_code != 0) end(server.exit_code, server.last_words);
      if (!server.only_user.empty() && user != server.only_user) {
        end(2, "psql: error: FATAL:  Peer authentication failed for user \"postgres\"\n");
      }
    }
    ~Session() override {
      --server_.open;
      server_.in_backup = false;  // it is of the non-exclusive kind
    }
    Result<docker::ExecPiece> read(std::chrono::milliseconds) override {
      docker::ExecPiece piece;
      if (!errors_.empty()) {
        piece.stream = docker::ExecStream::error;
        piece.bytes = std::exchange(errors_, "");
      } else if (!output_.empty()) {
        // In pieces, as they come.
        piece.bytes = output_.substr(0, 7);
        output_.erase(0, 7);
      } else {
        piece.ended = ended_;
      }
      return piece;
    }
    Result<void> write(std::string_view bytes) override {
      if (ended_) return Error{Code::unavailable, 0, "broken pipe"};
      input_ += bytes;
      for (std::size_t end = 0; !ended_ && (end = input_.find('\n')) != std::string::npos;) {
        const std::string line = input_.substr(0, end);
        input_.erase(0, end + 1);
        take(line);
      }
      return {};
    }
    Result<void> close_input() override { return {}; }
    Result<int> exit_code() override { return code_; }

   private:
    void end(int code, const std::string& words) {
      (code == 127 ? output_ : errors_) = words;
      code_ = code;
      ended_ = true;
    }
    void take(const std::string& line) {
      if (line.starts_with("\\echo ")) {
        output_ += line.substr(6) + "\n";
        return;
      }
      server_.statements.push_back(line);
      for (const auto& [part, words] : server_.complaints) {
        if (line.find(part) == std::string::npos) continue;
        const std::size_t said = server_.statements.size();
        if (said < 2 || server_.statements[said - 2] != "\\set ON_ERROR_STOP 0") {
          return end(3, words + "\n");
        }
        errors_ += words + "\n";
        return;
      }
      if (!server_.rude.empty() && line.find(server_.rude) != std::string::npos) return end(0, "");
      output_ += server_.answer(line);
    }

    FakePostgres& server_;
    std::string input_;
    std::string output_;
    std::string errors_;
    int code_ = 0;
    bool ended_ = false;
  };

  static std::string hex(const std::string& text) { return to_hex(as_bytes(text)); }

  std::string answer(const std::string& line) {
    const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
    if (has("server_version_num")) {
      return version + (in_recovery ? "|t|" : "|f|") + std::to_string(system_id) + "|" +
             hex(data_directory) + "\n";
    }
    if (has("pg_tablespace")) {
      std::string rows;
      for (const std::string& path : tablespaces) rows += hex(path) + "\n";
      return rows;
    }
    if (has("pg_create_physical_replication_slot")) return "1\n";
    if (has("pg_backup_start") || has("pg_start_backup")) {
      in_backup = true;
      if (on_start) on_start();
      return "0/2000028\n";
    }
    if (has("pg_backup_stop") || has("pg_stop_backup")) {
      in_backup = false;
      if (on_stop) on_stop();
      return stop_lsn + "|" + hex(label) + "|" + hex(map) + "\n";
    }
    return "";
  }
};

}  // namespace bygone::test
