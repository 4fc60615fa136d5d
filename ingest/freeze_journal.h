// SPDX-License-Identifier: Apache-2.0
//
// The intent journal of a freeze: a small text file that names the containers about to be paused
// or stopped. Knows no engine; freeze.h decides what is written and what a dead one means.
// A FreezeJournal is used by one thread at a time; several processes may use one folder.
//
//   bygone freeze journal 1                 2 when there are lines `stopped`
//   engine <address>
//   time <nanoseconds since 1970>
//   container <id> <name> <started at>      one line each; `stopped` for one that is to be stopped
//   end <number of containers>
//
// Fields are written by escape_field().
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/intent_journal.h"
#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct FreezeRecord {
  struct Container {
    std::string id;
    std::string name;
    std::string started_at;  // of the run that is to be held; empty when unknown
    bool stopped = false;    // it is to be stopped, not paused
  };
  std::string engine;  // address
  Nanoseconds time = 0;
  std::vector<Container> containers;
};

[[nodiscard]] std::string encode(const FreezeRecord& record);
// Errors: unsupported for another version; corrupt for anything else that encode() does not make.
Result<FreezeRecord> decode_freeze_record(std::string_view text);

// Whether two addresses are of one engine: a socket may have several names, /var/run being a link.
[[nodiscard]] bool is_same_engine(const std::string& a, const std::string& b);

// Where the journals are.
[[nodiscard]] std::string freeze_folder(const std::string& state_folder);

class FreezeJournal {
 public:
  FreezeJournal() = default;
  // Writes a new one, and adopts that of a process that died, as IntentJournal does.
  static Result<FreezeJournal> create(const std::string& state_folder, const FreezeRecord& record);
  static Result<FreezeJournal> adopt(const std::string& path);

  [[nodiscard]] bool is_open() const { return file_.is_open(); }
  // Errors: those of decode_freeze_record(); io.
  [[nodiscard]] Result<FreezeRecord> read() const;
  Result<void> replace(const FreezeRecord& record) { return file_.replace(encode(record)); }
  Result<void> remove() { return file_.remove(); }

 private:
  explicit FreezeJournal(IntentJournal file) : file_(std::move(file)) {}

  IntentJournal file_;
};

}  // namespace bygone::ingest
