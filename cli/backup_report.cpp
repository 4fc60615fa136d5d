// SPDX-License-Identifier: Apache-2.0
#include "cli/backup_report.h"

#include <algorithm>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/text.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

std::string capture_text(const store::Snapshot& snapshot) {
  switch (snapshot.consistency) {
    case store::Consistency::freeze:
      return ", frozen for " + duration_text(static_cast<double>(snapshot.window) / 1e9);
    case store::Consistency::snapshot:
      return ", a snapshot of the file system, frozen for " +
             duration_text(static_cast<double>(snapshot.window) / 1e9);
    case store::Consistency::stop:
      return ", stopped for " + duration_text(static_cast<double>(snapshot.window) / 1e9);
    case store::Consistency::native:
      return ", in the database's backup mode";
    case store::Consistency::live:
      return ", live";
    default:
      return "";
  }
}

// Read again or not: what is as it was.
std::uint64_t unmodified(const ingest::BackupReport& report) {
  const std::uint64_t touched = report.new_files + report.changed_files;
  return report.snapshot.files - std::min(touched, report.snapshot.files);
}

}  // namespace

BackupReporter::BackupReporter(Output& output, const ingest::Source& source)
    : output_(output),
      name_((source.kind == store::SourceKind::volume ? "volume:" : "") + source.name),
      progress_(output) {}

void BackupReporter::update(const ingest::BackupProgress& now) {
  ProgressState state;
  state.phase = printable(name_) + (now.phase.empty() ? "" : " " + now.phase) + ":";
  state.files_done = now.files_done;
  state.files_total = now.files_seen;
  state.bytes_done = now.bytes_done;
  state.bytes_total = now.bytes_seen;
  state.totals_known = now.walk_finished;
  progress_.update(state);
}

void BackupReporter::print_notes(const ingest::BackupReport& report) {
  for (const ingest::Unreadable& one : report.unreadable) {
    output_.error(one.reason, name_ + ":" + one.path);
  }
  for (const std::string& text : report.failed) output_.error(printable(text), name_);
  for (const auto* list : {&report.warnings, &report.lasting}) {
    for (const std::string& text : *list) output_.warning(printable(text));
  }
  for (const std::string& text : report.skipped) {
    output_.info(printable(name_) + ": not captured: " + printable(text));
  }
}

void BackupReporter::print_json(const ingest::BackupReport& report) {
  const store::Snapshot& snapshot = report.snapshot;
  Json object{{"message_type", "summary"}};
  put_raw(object, "source", snapshot.display_name);
  object.update(Json{
      {"snapshot_id", snapshot.id.hex()},
      {"instant", snapshot.listed_name},
      {"time", store::to_rfc3339(snapshot.zone, snapshot.instant)},
      {"consistency", store::to_text(snapshot.consistency)},
      {"window_ms", static_cast<double>(snapshot.window) / 1e6},
      {"partial", snapshot.partial},
      {"failed", report.failed.size()},
      {"files_new", report.new_files},
      {"files_changed", report.changed_files},
      {"files_unmodified", unmodified(report)},
      {"files_unreadable", report.unreadable.size()},
      {"bytes_read", report.bytes_read},
      {"data_added", snapshot.added_bytes},
      {"total_files_processed", snapshot.files},
      {"total_bytes_processed", snapshot.bytes},
      {"total_duration", progress_.elapsed_seconds()},
  });
  output_.object(object);
}

void BackupReporter::print_summary(const ingest::BackupReport& report) {
  const store::Snapshot& snapshot = report.snapshot;
  output_.info(fmt::format("{}: saved as {}@{} ({}){}", printable(name_), printable(name_),
                           snapshot.listed_name, snapshot.id.hex().substr(0, 8),
                           capture_text(snapshot)));
  output_.info(fmt::format(
      "  {} new, {} changed, {} unchanged; {} in all, {} read, {} added, in {}",
      count_text(report.new_files), count_text(report.changed_files),
      count_text(unmodified(report)), size_text(snapshot.bytes), size_text(report.bytes_read),
      size_text(snapshot.added_bytes), duration_text(progress_.elapsed_seconds())));
  if (!report.failed.empty()) {
    output_.info("  what failed of its hooks and dumps: " + count_text(report.failed.size()) +
                 "; the volumes are saved");
  }
  if (!report.unreadable.empty()) {
    output_.info("  " + counted(report.unreadable.size(), "name") +
                 " could not be read; the rest is saved");
  }
}

void BackupReporter::finish(const ingest::BackupReport& report) {
  ProgressState state;
  state.phase = printable(name_) + ":";
  state.files_done = state.files_total = report.snapshot.files;
  state.bytes_done = state.bytes_total = report.snapshot.bytes;
  progress_.finish(state);
  print_notes(report);
  if (output_.json()) return print_json(report);
  print_summary(report);
}

}  // namespace bygone::cli
