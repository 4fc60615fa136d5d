// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/named.h"
#include "cli/options.h"
#include "store/trash.h"

namespace bygone::cli {
namespace {

Exit restore_snapshot(Context& context, const std::vector<std::string>& names) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const auto trash = NamedSnapshots::read(*repository, Shelf::trash);
  if (!trash.ok()) return context.fail(trash.error());
  std::vector<Exit> exits;
  for (const std::string& name : names) {
    const auto found = trash->find(name);
    const Result<void> done = found.ok() ? store::restore_from_trash(*repository, (*found)->id)
                                         : Result<void>(found.error());
    if (!done.ok()) {
      exits.push_back(done.error().code == Code::invalid ? context.usage(done.error().message)
                                                         : context.fail(done.error()));
      continue;
    }
    if (context.out.json()) {
      context.out.object(Json{{"message_type", "restored"},
                              {"id", (*found)->id.hex()},
                              {"instant", (*found)->listed_name}});
    }
    context.out.info(spelled(**found) + " is back");
  }
  return gravest(exits);
}

}  // namespace

Action add_restore_snapshot(CLI::App& app) {
  const auto names = std::make_shared<std::vector<std::string>>();
  app.add_option("snapshots", *names,
                 "SOURCE@INSTANT or id:1a2b, as bygone snapshots --trash lists")
      ->type_name("SNAPSHOT")
      ->required();
  app.footer(
      "Examples:\n"
      "  bygone snapshots --trash\n"
      "  bygone restore-snapshot db@2024-03-16T05:57\n"
      "  bygone restore-snapshot id:1a2b3c4d");
  return [names](Context& context) { return restore_snapshot(context, *names); };
}

}  // namespace bygone::cli
