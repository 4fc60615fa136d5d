// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/report.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "store/base/log.h"

namespace bygone::ingest {
namespace {

// A source with a million of them shall not fill the journal.
constexpr std::size_t kMostUnreadable = 20;
// Nor a message.
constexpr std::size_t kMostTold = 3;

double in_milliseconds(Nanoseconds time) { return static_cast<double>(time) / 1e6; }

std::string unreadable_text(const std::vector<Unreadable>& unreadable) {
  std::string text =
      fmt::format("{} could not be read: ",
                  unreadable.size() == 1 ? "a file" : fmt::format("{} files", unreadable.size()));
  for (std::size_t i = 0; i < unreadable.size() && i < kMostTold; ++i) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : "; ", unreadable[i].path, unreadable[i].reason);
  }
  return unreadable.size() > kMostTold ? text + "; ..." : text;
}

// How many they are, and which, may differ from run to run.
std::string reasons_of(const std::vector<Unreadable>& unreadable) {
  std::set<std::string> reasons;
  for (const Unreadable& one : unreadable) {
    if (reasons.size() < kMostTold) reasons.insert(one.reason);
  }
  return fmt::format("{}", fmt::join(reasons, "; "));
}

}  // namespace

void log_report(const std::string& source, const BackupReport& report, Nanoseconds took,
                const std::vector<std::string>& said) {
  const store::Snapshot& snapshot = report.snapshot;
  std::string how = store::to_text(snapshot.consistency);
  if (snapshot.window > 0) how += fmt::format(" for {:.0f} ms", in_milliseconds(snapshot.window));
  log::info(fmt::format("{}@{} is saved ({}): {} files, {} bytes, {} added, in {:.1f} s", source,
                        snapshot.listed_name, how, snapshot.files, snapshot.bytes,
                        snapshot.added_bytes, in_milliseconds(took) / 1e3));
  for (const std::string& text : report.warnings) log::warning(text);
  for (const std::string& text : report.lasting) {
    if (std::find(said.begin(), said.end(), text) == said.end()) log::warning(source + ": " + text);
  }
  for (const std::string& text : report.failed) log::error(source + ": " + text);
  for (std::size_t i = 0; i < report.unreadable.size() && i < kMostUnreadable; ++i) {
    const Unreadable& one = report.unreadable[i];
    log::warning(source + ":" + one.path + ": " + one.reason);
  }
  if (report.unreadable.size() > kMostUnreadable) {
    log::warning(fmt::format("{}: and {} more names could not be read; bygone ls shows them",
                             source, report.unreadable.size() - kMostUnreadable));
  }
}

std::string failure_text(const BackupReport& report) {
  std::string text;
  for (const std::string& one : report.failed) text += (text.empty() ? "" : "; ") + one;
  return text;
}

void note_report(SourceState& state, Nanoseconds begun, const BackupReport& report) {
  state.last_begun = begun;
  state.last_error = failure_text(report);
  state.failures = state.last_error.empty() ? 0 : state.failures + 1;
  note_good(state, report.snapshot);
  if (state.snapshot_id == report.snapshot.id.hex()) state.live = !report.live_because.empty();
}

Notice notice_of(const std::string& source, const BackupReport& report) {
  Notice notice;
  notice.source = source;
  notice.snapshot = report.snapshot.id.hex();
  notice.message = "saved as " + source + "@" + report.snapshot.listed_name;
  if (!report.unreadable.empty()) {
    notice.event = Notice::Event::partial;
    notice.cause = reasons_of(report.unreadable);
    notice.message += ", but " + unreadable_text(report.unreadable);
  }
  if (!report.live_because.empty()) {
    notice.event = Notice::Event::partial;
    notice.cause = "captured live; " + notice.cause;
    notice.message += ", but captured live, of no one moment: " + report.live_because;
  }
  if (const std::string failure = failure_text(report); !failure.empty()) {
    notice.event = Notice::Event::failure;
    notice.cause = failure + "; " + notice.cause;
    notice.message = failure + "; " + notice.message;
  }
  return notice;
}

std::string overdue_text(const SourceState& state) {
  std::string text = state.good_instant == 0 ? "it was never backed up"
                                             : "its last good snapshot is of " + state.listed_name;
  if (!state.last_error.empty()) text += "; the last attempt: " + state.last_error;
  return text;
}

}  // namespace bygone::ingest
