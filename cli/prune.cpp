// SPDX-License-Identifier: Apache-2.0
#include "store/prune.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/alarm.h"
#include "cli/cancel.h"
#include "cli/duration.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/prune.h"
#include "cli/text.h"
#include "ingest/backup.h"
#include "store/memory.h"

namespace bygone::cli {
namespace {

ProgressState state_of(const store::PruneProgress& progress) {
  ProgressState state = phase_state(progress.phase, progress.done, progress.total);
  state.bytes_done = progress.bytes_done;
  state.bytes_total = progress.bytes_total;
  return state;
}

std::int64_t net_bytes(const store::PruneReport& report) {
  return static_cast<std::int64_t>(report.bytes_deleted) -
         static_cast<std::int64_t>(report.bytes_written);
}

Json to_json(const store::PruneReport& report, bool dry_run) {
  return Json{{"message_type", "summary"},
              {"dry_run", dry_run},
              {"packs_before", report.packs_before},
              {"bytes_before", report.bytes_before},
              {"packs_deleted", report.packs_deleted},
              {"bytes_deleted", report.bytes_deleted},
              {"packs_rewritten", report.packs_rewritten},
              {"packs_written", report.packs_written},
              {"bytes_written", report.bytes_written},
              {"records_copied", report.records_copied},
              {"freed_bytes", net_bytes(report)},
              {"trash_removed", report.trash_removed},
              {"trash_kept", report.trash_kept},
              {"trash_bytes", report.trash_bytes},
              {"waiting_packs", report.waiting_packs},
              {"waiting_bytes", report.waiting_bytes},
              {"waiting_for", report.waiting_for},
              {"spared_packs", report.spared_packs},
              {"spared_bytes", report.spared_bytes},
              {"taken_back", report.taken_back},
              {"out_of_space", report.out_of_space}};
}

std::string processes(const std::vector<int>& pids) {
  if (pids.empty()) return "a session that began before ends";
  std::string text = pids.size() == 1 ? "the session of pid " : "the sessions of pids ";
  for (std::size_t i = 0; i < pids.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(pids[i]);
  return text + (pids.size() == 1 ? " ends" : " end");
}

std::string now_text(const store::PruneReport& report, bool dry_run) {
  const std::int64_t net = net_bytes(report);
  if (net < 0) {
    return fmt::format("{} {}", dry_run ? "would write" : "wrote",
                       size_text(static_cast<std::uint64_t>(-net)));
  }
  return fmt::format("{} {} now", dry_run ? "would free" : "freed",
                     size_text(static_cast<std::uint64_t>(net)));
}

void print_report(Output& out, const store::PruneReport& report, bool dry_run) {
  for (const std::string& line : report.warnings) {
    out.warning(line);
  }
  if (out.json()) return out.object(to_json(report, dry_run));
  std::string text = now_text(report, dry_run);
  if (report.packs_deleted > 0) {
    text +=
        fmt::format(" ({} of {}; {} copied)", count_text(report.packs_deleted),
                    counted(report.packs_before, "pack"), counted(report.records_copied, "record"));
  }
  if (report.trash_bytes > 0) {
    text += fmt::format(", {} when the trash expires", size_text(report.trash_bytes));
  }
  if (report.waiting_packs > 0) {
    text += fmt::format(", {} when {}: with the next bygone prune", size_text(report.waiting_bytes),
                        processes(report.waiting_for));
  }
  out.info(text);
  if (report.spared_packs > 0) {
    out.info(fmt::format(
        "spared {} in {} that no snapshot needs: an unfinished backup may go on with them; after "
        "seven days they go, with --empty-trash --now at once",
        size_text(report.spared_bytes), counted(report.spared_packs, "young pack")));
  }
  if (report.out_of_space) {
    out.warning(
        "the disk is too full to copy what lives out of packs that are mostly dead; hint: "
        "free some space and run bygone prune again");
  }
}

double max_dead_from(const std::string& text) {
  const auto percent = parse_percent(text);
  if (!percent) {
    throw CLI::ValidationError(
        "--max-dead takes a share such as 30%, from 0% to 100%, and not " + printable(text),
        CLI::ExitCodes::ValidationError);
  }
  return *percent;
}

}  // namespace

Exit run_prune(Context& context, store::Repository& repository, const store::PruneOptions& options,
               Nanoseconds retry_lock) {
  const CancelOnSignal cancel;
  Progress progress(context.out);
  const auto report = retry_while_busy(retry_lock, cancel.flag(), [&] {
    return store::prune(
        repository, options,
        [&](const store::PruneProgress& now) { progress.update(state_of(now)); }, cancel.flag());
  });
  context.out.progress_line("");
  if (!report.ok()) return context.fail(report.error());
  print_report(context.out, *report, options.dry_run);
  return Exit::done;
}

Action add_prune(CLI::App& app) {
  struct Chosen {
    store::PruneOptions options;
    bool now = false;
    bool accept_rollback = false;
    Nanoseconds retry_lock = 0;
  };
  const auto chosen = std::make_shared<Chosen>();
  app.add_flag("-n,--dry-run", chosen->options.dry_run, "only say what it would free");
  app.add_option_function<std::string>(
         "--max-dead",
         [chosen](const std::string& text) {
           chosen->options.max_dead_percent = max_dead_from(text);
         },
         "how much of a pack may be dead before what lives is copied out (30%)")
      ->type_name("PERCENT");
  CLI::Option* empty =
      app.add_flag("--empty-trash", chosen->options.empty_trash,
                   "let all forgotten snapshots that lie in the trash go for good");
  app.add_flag("--now", chosen->now,
               "free everything at once: do not spare what unfinished backups left, either")
      ->needs(empty);
  app.add_flag("--accept-rollback", chosen->accept_rollback,
               "the repository shows less than this host has seen, and that is meant");
  add_duration(app, "--retry-lock", chosen->retry_lock,
               "wait this long for another prune to end: 5m");
  app.footer(
      "Deletes what no snapshot needs any more; what lies in the trash counts for seven days.\n"
      "Backups, mounts and restores may run beside it; what a running backup may need is\n"
      "deleted by the next prune. Refuses to run when anything that a snapshot needs is "
      "damaged.\n\n"
      "Examples:\n"
      "  bygone prune --dry-run\n"
      "  bygone prune\n"
      "  bygone prune --empty-trash --now");
  return [chosen](Context& context) {
    Exit exit = Exit::done;
    const auto repository = context.open(exit);
    if (repository == nullptr) return exit;
    if (chosen->accept_rollback && !chosen->options.dry_run) {
      const auto accepted = store::accept_rollback(*repository, ingest::default_state_folder());
      if (!accepted.ok()) return context.fail(accepted.error());
    } else if (!chosen->accept_rollback && shows_rollback(context, *repository)) {
      // What is missing may come back; what is deleted for want of it will not.
      return Exit::damage;
    }
    if (chosen->now) chosen->options.spare_orphans = std::chrono::seconds(0);
    return run_prune(context, *repository, chosen->options, chosen->retry_lock);
  };
}

}  // namespace bygone::cli
