// SPDX-License-Identifier: Apache-2.0
#include "fs/restore.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/cancel.h"
#include "cli/choice.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/select.h"
#include "cli/text.h"
#include "store/chunk_store.h"

namespace bygone::cli {
namespace {

struct RestoreArguments {
  std::string what;
  std::string target;
  fs::RestoreOptions options;
};

const char* to_word(fs::RestoreAction action) {
  switch (action) {
    case fs::RestoreAction::created:
      return "created";
    case fs::RestoreAction::replaced:
      return "replaced";
    case fs::RestoreAction::kept:
      return "kept";
    case fs::RestoreAction::removed:
      return "removed";
  }
  return "";
}

// In a dry run, and with -v, every name that changes; with -vv those that stay, too.
void show_action(Output& out, bool dry_run, fs::RestoreAction action, const std::string& path) {
  const bool kept = action == fs::RestoreAction::kept;
  const int level = out.verbose() + (dry_run ? 1 : 0);
  if (level < (kept ? 2 : 1)) return;
  if (out.json()) {
    Json object{{"message_type", "verbose_status"}, {"action", to_word(action)}};
    put_raw(object, "item", path);
    return out.object(object);
  }
  out.info(fmt::format("{}{:<9} {}", dry_run ? "would be " : "", to_word(action), printable(path)));
}

ProgressState state_of(const fs::RestoreProgress& progress) {
  ProgressState state;
  if (progress.verifying) state.phase = "verifying:";
  state.files_done = progress.files_done;
  state.files_total = progress.files_total;
  state.bytes_done = progress.bytes_done;
  state.bytes_total = progress.bytes_total;
  return state;
}

// What is restored: the tree or file that was named, or all volumes of a container.
Result<std::vector<fs::RestoreRoot>> roots_of(const Selected& selected, bool delete_extra) {
  std::vector<fs::RestoreRoot> roots;
  if (selected.entry && selected.entry->is_directory()) {
    roots.push_back({"", *selected.entry});
    return roots;
  }
  if (selected.entry) {
    if (delete_extra) {
      return Error{Code::invalid, 0,
                   selected.spelling +
                       " is a single file: --delete would empty the folder that it "
                       "goes to; hint: leave --delete away"};
    }
    roots.push_back({selected.path.substr(selected.path.rfind('/') + 1), *selected.entry});
    return roots;
  }
  for (const store::Volume& volume : selected.snapshot->volumes) {
    roots.push_back({volume.name, volume.root});
  }
  if (roots.empty()) {
    return Error{Code::not_found, 0,
                 selected.spelling + " has no volumes to restore; hint: bygone ls " +
                     selected.spelling + " shows what it has"};
  }
  return roots;
}

// "5 created, 1 removed".
std::string counts_text(const fs::RestoreSummary& summary) {
  const std::pair<std::uint64_t, const char*> counts[] = {{summary.created, "created"},
                                                          {summary.replaced, "replaced"},
                                                          {summary.kept, "kept"},
                                                          {summary.removed, "removed"}};
  std::string text;
  for (const auto& [count, word] : counts) {
    if (count > 0) text += (text.empty() ? "" : ", ") + count_text(count) + " " + word;
  }
  return text.empty() ? "nothing to do" : text;
}

void print_summary(Output& out, const Selected& selected, const RestoreArguments& arguments,
                   const fs::RestoreSummary& summary, double seconds) {
  if (out.json()) {
    return out.object(Json{{"message_type", "summary"},
                           {"snapshot_id", selected.snapshot->id.hex()},
                           {"seconds_elapsed", static_cast<std::uint64_t>(seconds)},
                           {"total_duration", seconds},
                           {"dry_run", arguments.options.dry_run},
                           {"files_restored", summary.created + summary.replaced},
                           {"files_skipped", summary.kept},
                           {"files_deleted", summary.removed},
                           {"files_verified", summary.verified},
                           {"files_failed", summary.failed},
                           {"folders", summary.folders},
                           {"bytes_restored", summary.bytes}});
  }
  std::string text = arguments.options.dry_run ? "would restore " : "restored ";
  text += selected.spelling + ": " + counts_text(summary);
  if (!arguments.options.dry_run) {
    text += fmt::format("; {} in {}", size_text(summary.bytes), duration_text(seconds));
  }
  if (arguments.options.verify)
    text += fmt::format("; {} verified", counted(summary.verified, "file"));
  out.info(text);
  if (summary.limited > 0) {
    out.info(counted(summary.limited, "time") + " something could not be set here, see above");
  }
  if (summary.failed > 0) out.error(counted(summary.failed, "name") + " could not be restored");
}

Exit restore(Context& context, const RestoreArguments& arguments) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const Result<Selected> selected = select(*repository, arguments.what);
  if (!selected.ok()) return context.fail(selected.error());
  const auto roots = roots_of(*selected, arguments.options.delete_extra);
  if (!roots.ok()) return context.fail(roots.error());

  Output& out = context.out;
  fs::RestoreOptions options = arguments.options;
  options.repository_path = repository->path();
  const fs::RestoreEvents events{
      [&](fs::RestoreAction action, const std::string& path) {
        show_action(out, options.dry_run, action, path);
      },
      [&](const std::string& path, const Error& error) { out.error(error, path); },
      [&](const std::string& text) { out.warning(text); }};
  const CancelOnSignal cancel;
  fs::RestoreProgress numbers;
  Progress progress(out);
  Result<fs::RestoreSummary> summary = [&] {
    const Ticker ticker([&] { progress.update(state_of(numbers)); });
    return fs::restore(repository->trees(), repository->chunks(), *roots, arguments.target, options,
                       events, numbers, cancel.flag());
  }();
  if (!summary.ok()) {
    out.progress_line("");
    return context.fail(std::move(summary).error().with("restoring " + selected->spelling));
  }
  if (!options.dry_run) progress.finish(state_of(numbers));
  print_summary(out, *selected, arguments, *summary, progress.elapsed_seconds());
  return summary->failed > 0 ? Exit::failed : Exit::done;
}

}  // namespace

Action add_restore(CLI::App& app) {
  const auto arguments = std::make_shared<RestoreArguments>();
  app.add_option("what", arguments->what, "what to restore")
      ->type_name("SOURCE[@INSTANT][:PATH]")
      ->required();
  app.add_option("target", arguments->target, "the folder to restore to")
      ->type_name("TARGET")
      ->required();
  add_choice<fs::Overwrite>(app, "--overwrite", arguments->options.overwrite,
                            {{"always", fs::Overwrite::always},
                             {"if-changed", fs::Overwrite::if_changed},
                             {"if-newer", fs::Overwrite::if_newer},
                             {"never", fs::Overwrite::never}},
                            "which files that stand in TARGET to replace");
  app.add_flag("--delete", arguments->options.delete_extra,
               "remove what TARGET has and the snapshot has not");
  app.add_flag("--dry-run", arguments->options.dry_run, "only say what would happen");
  app.add_flag("--verify", arguments->options.verify,
               "read all files back and compare them with the repository");
  app.footer(
      "TARGET is created when it is absent. The volumes of a container become folders in it; a\n"
      "path that is a folder becomes TARGET itself, a file goes into TARGET.\n\n"
      "--overwrite always (without the option), if-changed (type, size or time differ), if-newer\n"
      "(the snapshot's is newer), never.\n\n"
      "Examples:\n"
      "  bygone restore db /tmp/db                      the newest snapshot\n"
      "  bygone restore db@2024-03-16T05:57 /tmp/db\n"
      "  bygone restore db@yesterday:pgdata/pg_wal /tmp/wal\n"
      "  bygone restore etc /etc --overwrite if-changed --delete --dry-run");
  return [arguments](Context& context) { return restore(context, *arguments); };
}

}  // namespace bygone::cli
