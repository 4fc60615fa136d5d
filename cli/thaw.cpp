// SPDX-License-Identifier: Apache-2.0
#include "cli/thaw.h"

#include <atomic>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/cancel.h"
#include "cli/options.h"
#include "cli/text.h"
#include "ingest/backup.h"
#include "ingest/docker/engine.h"
#include "ingest/owed_hooks.h"
#include "ingest/prepare.h"
#include "ingest/snapshot_journal.h"

namespace bygone::cli {
namespace {

Result<std::unique_ptr<docker::Engine>> connect(Context& context) {
  const auto options = context.engine_options();
  // A mistake in the file keeps no container frozen.
  return docker::connect(options.ok() ? *options : docker::options_from_environment());
}

// Resumes and starts what a backup that died held still.
Result<std::vector<ingest::Thawed>> thaw_containers(Context& context, const std::string& state) {
  if (!ingest::has_dead_journals(state)) return std::vector<ingest::Thawed>();
  const auto engine = TRY(connect(context));
  return ingest::thaw_dead_journals(*engine, state);
}

// Runs the post hooks that backups which died have not come to.
Result<std::vector<ingest::OwedHook>> run_hooks(Context& context, const std::string& state,
                                                const std::atomic<bool>& cancel) {
  if (!ingest::has_owed_hooks(state)) return std::vector<ingest::OwedHook>();
  const auto engine = TRY(connect(context));
  return ingest::run_owed_hooks(*engine, state, cancel);
}

void show(Context& context, const ingest::Thawed& one) {
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "thawed"},
                            {"container", lossy_utf8(one.container)},
                            {"was_paused", one.was_paused},
                            {"was_stopped", one.was_stopped}});
  } else {
    context.out.info(printable(one.container) + (one.was_paused    ? " is resumed"
                                                 : one.was_stopped ? " is started"
                                                                   : " was not frozen any more"));
  }
}

void show_deleted(Context& context, const std::string& snapshot) {
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "deleted"}, {"snapshot", lossy_utf8(snapshot)}});
  } else {
    context.out.info("the snapshot " + printable(snapshot) + " is deleted");
  }
}

const char* word_of(ingest::OwedHook::Fate fate) {
  using Fate = ingest::OwedHook::Fate;
  switch (fate) {
    case Fate::ran:
      return "ran";
    case Fate::failed:
      return "failed";
    case Fate::not_owed:
      return "not_owed";
    case Fate::owed_still:
      return "owed_still";
  }
  return "";
}

// Whether nothing is left to do.
bool show_hook(Context& context, const ingest::OwedHook& hook) {
  const bool is_well =
      hook.fate == ingest::OwedHook::Fate::ran || hook.fate == ingest::OwedHook::Fate::not_owed;
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "hook"},
                            {"container", lossy_utf8(hook.container)},
                            {"fate", word_of(hook.fate)},
                            {"message", lossy_utf8(hook.line)}});
  } else if (is_well) {
    context.out.info(text_of(hook));
  } else {
    context.out.warning(text_of(hook));
  }
  return is_well;
}

// All of them have a line, and the gravest counts.
Exit show_hooks(Context& context, const Result<std::vector<ingest::OwedHook>>& hooks) {
  if (!hooks.ok()) return context.fail(hooks.error(), Stage::docker);
  Exit exit = Exit::done;
  for (const ingest::OwedHook& hook : *hooks) {
    if (!show_hook(context, hook)) exit = Exit::hook;
  }
  return exit;
}

Exit thaw(Context& context) {
  const std::string state = ingest::default_state_folder();
  const auto thawed = thaw_containers(context, state);
  const auto deleted = ingest::delete_dead_snapshots(state);  // needs no engine
  if (deleted.ok()) {
    for (const std::string& path : *deleted) show_deleted(context, path);
  }
  std::uint64_t resumed = 0;
  if (thawed.ok()) {
    for (const ingest::Thawed& one : *thawed) {
      if (one.was_paused || one.was_stopped) ++resumed;
      show(context, one);
    }
  }
  const Exit failed = deleted.ok() ? Exit::done : context.fail(deleted.error());
  const CancelOnSignal cancel;
  const auto hooks = run_hooks(context, state, cancel.flag());
  const Exit hooks_exit = show_hooks(context, hooks);
  if (!thawed.ok()) return context.fail(thawed.error(), Stage::docker);
  if (!deleted.ok()) return failed;
  if (hooks_exit != Exit::done) return hooks_exit;
  if (thawed->empty() && deleted->empty() && hooks->empty()) {
    context.out.info("nothing was left frozen");
  }
  if (context.out.json()) {
    context.out.object(
        Json{{"message_type", "summary"}, {"resumed", resumed}, {"hooks", hooks->size()}});
  }
  return Exit::done;
}

}  // namespace

void thaw_first(Context& context, ingest::Late late) {
  const std::string state = ingest::default_state_folder();
  std::vector<std::string> lines;
  if (!ingest::has_dead_journals(state)) {
    lines = ingest::delete_leftovers(state);
  } else if (const auto engine = connect(context); engine.ok()) {
    lines = ingest::thaw_leftovers(**engine, state, late);
  } else {
    lines = ingest::delete_leftovers(state);
    lines.push_back("a backup that died left containers frozen, and Docker cannot be reached: " +
                    engine.error().message + "; hint: bygone thaw");
  }
  for (const std::string& line : lines) context.out.warning(line);
}

void run_owed_hooks_first(Context& context, const std::atomic<bool>& cancel) {
  const auto hooks = run_hooks(context, ingest::default_state_folder(), cancel);
  if (!hooks.ok()) {
    context.out.warning(
        "a backup that died has not run the post hooks of containers, and Docker cannot be "
        "reached: " +
        hooks.error().message + "; hint: bygone thaw");
    return;
  }
  for (const ingest::OwedHook& hook : *hooks) context.out.warning(text_of(hook));
}

Action add_thaw(CLI::App& app) {
  app.footer(
      "A backup freezes containers for a moment. One that is killed in that moment leaves them\n"
      "frozen, or stopped; this puts back exactly those, and the next backup does so as well. "
      "What\n"
      "somebody else has paused or stopped stays so. Snapshots of a btrfs that such a backup had\n"
      "made are deleted, too, and post hooks that it did not come to are run. Needs no "
      "repository.");
  return thaw;
}

}  // namespace bygone::cli
