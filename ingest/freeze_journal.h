// SPDX-License-Identifier: Apache-2.0
//
// The intent journal of a freeze: a small text file that names the containers about to be paused
// or stopped.
// Its writer holds a flock on it for life, so that a journal whose lock is free is that of a dead
// process. Knows no engine; freeze.h decides what is written and what a dead one means.
// A FreezeJournal is used by one thread at a time; several processes may use one folder.
//
//   bygone freeze journal 1                 2 when there are lines `stopped`
//   engine <address>
//   time <nanoseconds since 1970>
//   container <id> <name> <started at>      one line each; `stopped` for one that is to be stopped
//   end <number of containers>
//
// Spaces, control bytes, bytes above 0x7e and '%' in a field are written as %XX.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/base/clock.h"
#include "store/base/files.h"
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

class FreezeJournal {
 public:
  FreezeJournal() = default;
  // Writes a new journal into `state_folder`/freeze, making the folders (mode 0700). When this
  // returns, the journal is durable. Errors: io, no_space, denied.
  static Result<FreezeJournal> create(const std::string& state_folder, const FreezeRecord& record);
  // Takes over the journal at `path` of a process that died. An unopened one when its writer
  // lives or somebody else takes it over now, or when it is gone. Errors: io, denied.
  static Result<FreezeJournal> adopt(const std::string& path);

  [[nodiscard]] bool is_open() const { return fd_.is_open(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Errors: those of decode_freeze_record(); io.
  Result<FreezeRecord> read() const;
  // Puts `record` in the place of the old one: at any time one of the two is there, whole and
  // locked. Errors: io, no_space; either may be the one then.
  Result<void> replace(const FreezeRecord& record);
  // Removes it for good. Errors: io; it may be there again after a power cut.
  Result<void> remove();

 private:
  std::string path_;
  Fd fd_;  // locked
};

// Paths of all journals, of the living and the dead. None without the folder. Errors: io, denied.
Result<std::vector<std::string>> freeze_journals(const std::string& state_folder);
// Whether the process that wrote the journal has died. Errors: io, denied.
Result<bool> is_dead_journal(const std::string& path);
// Removes unfinished journals of processes that died before they paused anything.
Result<void> remove_unfinished_journals(const std::string& state_folder);

}  // namespace bygone::ingest
