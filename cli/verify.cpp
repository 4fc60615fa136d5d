// SPDX-License-Identifier: Apache-2.0
#include "store/verify.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/alarm.h"
#include "cli/cancel.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace bygone::cli {
namespace {

double read_data_from(const std::string& text) {
  if (text.empty()) return 100;
  const auto percent = parse_percent(text);
  if (!percent || *percent == 0) {
    throw CLI::ValidationError(
        "--read-data takes a share such as 10%, up to 100%, and not " + printable(text),
        CLI::ExitCodes::ValidationError);
  }
  return *percent;
}

ProgressState state_of(const store::VerifyProgress& progress) {
  return phase_state(progress.phase, progress.done, progress.total);
}

void print_report(Output& out, const store::VerifyReport& report, double seconds) {
  for (const std::string& line : report.damage) out.error(line);
  for (const std::string& line : report.spare_damage) out.info(line);
  if (out.json()) {
    return out.object(Json{{"message_type", "summary"},
                           {"num_errors", report.damage.size()},
                           {"num_spare_damage", report.spare_damage.size()},
                           {"snapshots", report.snapshots},
                           {"forgotten_snapshots", report.trashed},
                           {"packs", report.packs},
                           {"records", report.records},
                           {"records_read", report.records_read},
                           {"bytes_read", report.bytes_read},
                           {"total_duration", seconds}});
  }
  const std::string trashed =
      report.trashed == 0 ? "" : fmt::format(" ({} more in the trash)", report.trashed);
  std::string text =
      fmt::format("verified {}{} and {} in {}", counted(report.snapshots, "snapshot"), trashed,
                  counted(report.packs, "pack"), duration_text(seconds));
  if (report.records_read > 0) {
    text += fmt::format("; read {} of {} ({})", count_text(report.records_read),
                        counted(report.records, "record"), size_text(report.bytes_read));
  }
  out.info(text + (report.damage.empty()
                       ? "; no damage found"
                       : "; " + counted(report.damage.size(), "damage") + " found"));
  if (!report.spare_damage.empty()) {
    out.info(fmt::format("{} damaged, and whole elsewhere; hint: bygone repair packs clears up",
                         counted(report.spare_damage.size(), "record")));
  }
}

Exit verify(Context& context, double read_data_percent) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const CancelOnSignal cancel;
  Progress progress(context.out);
  store::VerifyProgress last;
  auto report = store::verify(
      *repository, {.read_data_percent = read_data_percent},
      [&](const store::VerifyProgress& now) {
        last = now;
        progress.update(state_of(now));
      },
      cancel.flag());
  if (!report.ok()) {
    context.out.progress_line("");
    return context.fail(report.error());
  }
  last.done = last.total;
  progress.finish(state_of(last));
  // What was taken away without a trace is damage too.
  const auto alarms = rollback_alarms(context, *repository);
  report->damage.insert(report->damage.end(), alarms.begin(), alarms.end());
  print_report(context.out, *report, progress.elapsed_seconds());
  if (!report->damage.empty()) return Exit::damage;
  remember_newest(context, *repository);
  return Exit::done;
}

}  // namespace

Action add_verify(CLI::App& app) {
  const auto percent = std::make_shared<double>(0);
  app.add_option_function<std::string>(
         "--read-data", [percent](const std::string& text) { *percent = read_data_from(text); },
         "decode and check every record, or a share of them: --read-data=10%")
      ->expected(0, 1)
      ->type_name("[=PERCENT]");
  app.footer(
      "Proves that every snapshot is whole: its folders decode, and every piece of every file\n"
      "stands in a pack. With --read-data the pieces themselves are read. Ends with exit code 20\n"
      "when something is damaged, and says what that costs.\n\n"
      "Examples:\n"
      "  bygone verify\n"
      "  bygone verify --read-data\n"
      "  bygone verify --read-data=5%");
  return [percent](Context& context) { return verify(context, *percent); };
}

}  // namespace bygone::cli
