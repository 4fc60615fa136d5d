// SPDX-License-Identifier: Apache-2.0
#include "cli/thaw.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/text.h"
#include "ingest/backup.h"
#include "ingest/docker/engine.h"
#include "ingest/freeze.h"
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
  if (!thawed.ok()) return context.fail(thawed.error(), Stage::docker);
  if (!deleted.ok()) return failed;
  if (thawed->empty() && deleted->empty()) context.out.info("nothing was left frozen");
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "summary"}, {"resumed", resumed}});
  }
  return Exit::done;
}

}  // namespace

void thaw_first(Context& context) {
  const std::string state = ingest::default_state_folder();
  std::vector<std::string> lines;
  if (!ingest::has_dead_journals(state)) {
    lines = ingest::delete_leftovers(state);
  } else if (const auto engine = connect(context); engine.ok()) {
    lines = ingest::thaw_leftovers(**engine, state);
  } else {
    lines = ingest::delete_leftovers(state);
    lines.push_back("a backup that died left containers frozen, and Docker cannot be reached: " +
                    engine.error().message + "; hint: bygone thaw");
  }
  for (const std::string& line : lines) context.out.warning(line);
}

Action add_thaw(CLI::App& app) {
  app.footer(
      "A backup freezes containers for a moment. One that is killed in that moment leaves them\n"
      "frozen, or stopped; this puts back exactly those, and the next backup does so as well. "
      "What\n"
      "somebody else has paused or stopped stays so. Snapshots of a btrfs that such a backup had\n"
      "made are deleted, too. Needs no repository.");
  return thaw;
}

}  // namespace bygone::cli
