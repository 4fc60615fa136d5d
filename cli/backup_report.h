// SPDX-License-Identifier: Apache-2.0
//
// What a backup says about one source: progress, what could not be read, the summary. One object
// a source; update() from any thread, the rest from the one that made it.
#pragma once

#include <string>

#include "cli/progress.h"
#include "ingest/backup.h"

namespace bygone::cli {

class BackupReporter {
 public:
  BackupReporter(Output& output, const ingest::Source& source);
  void update(const ingest::BackupProgress& now);
  void finish(const ingest::BackupReport& report);
  // Takes the progress line away; the error that follows says the rest.
  void abandon() { output_.progress_line(""); }
  // Of the source, as it is spelled on the command line.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  void print_notes(const ingest::BackupReport& report);
  void print_summary(const ingest::BackupReport& report);
  void print_json(const ingest::BackupReport& report);

  Output& output_;
  std::string name_;
  Progress progress_;
};

}  // namespace bygone::cli
