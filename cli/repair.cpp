// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "store/chunk_store.h"

namespace bygone::cli {
namespace {

Exit repair_index(Context& context) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const Result<void> rebuilt = repository->chunks().rebuild_index();
  if (!rebuilt.ok()) return context.fail(rebuilt.error());
  if (context.out.json())
    context.out.object(Json{{"message_type", "summary"}, {"rebuilt", "index"}});
  context.out.info("rebuilt the index from the packs");
  return Exit::done;
}

}  // namespace

Action add_repair(CLI::App& app) {
  app.require_subcommand(1);
  app.add_subcommand("index", "rebuild the index from the packs");
  app.footer(
      "The index says which pack holds what; it is a cache, and everything in it stands in the\n"
      "packs as well. Nothing else is changed.\n\n"
      "Example:\n"
      "  bygone repair index");
  return repair_index;
}

}  // namespace bygone::cli
