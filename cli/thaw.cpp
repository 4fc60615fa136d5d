// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/text.h"
#include "ingest/backup.h"
#include "ingest/docker/engine.h"
#include "ingest/freeze.h"

namespace bygone::cli {
namespace {

Exit thaw(Context& context) {
  const std::string state = ingest::default_state_folder();
  std::vector<ingest::Thawed> thawed;
  if (ingest::has_dead_journals(state)) {
    const auto options = context.engine_options();
    // A mistake in the file keeps no container frozen.
    const auto engine =
        docker::connect(options.ok() ? *options : docker::options_from_environment());
    if (!engine.ok()) return context.fail(engine.error(), Stage::docker);
    auto result = ingest::thaw_dead_journals(**engine, state);
    if (!result.ok()) return context.fail(result.error(), Stage::docker);
    thawed = std::move(*result);
  }
  std::uint64_t resumed = 0;
  for (const ingest::Thawed& one : thawed) {
    if (one.was_paused || one.was_stopped) ++resumed;
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
  if (thawed.empty()) context.out.info("nothing was left frozen");
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "summary"}, {"resumed", resumed}});
  }
  return Exit::done;
}

}  // namespace

Action add_thaw(CLI::App& app) {
  app.footer(
      "A backup freezes containers for a moment. One that is killed in that moment leaves them\n"
      "frozen, or stopped; this puts back exactly those, and the next backup does so as well. "
      "What\n"
      "somebody else has paused or stopped stays so. Needs no repository.");
  return thaw;
}

}  // namespace bygone::cli
