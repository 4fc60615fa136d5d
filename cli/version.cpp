// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/help.h"
#include "cli/options.h"
#include "ingest/suggest.h"

namespace bygone::cli {
namespace {

Exit version(Context& context) {
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "version"}, {"version", BYGONE_VERSION}});
  } else {
    context.out.line("bygone " BYGONE_VERSION);
  }
  return Exit::done;
}

Exit help(Context& context, const CLI::App& root, const std::string& topic) {
  if (topic.empty()) {
    context.out.line(overview());
    return Exit::done;
  }
  std::vector<std::string> names;
  for (const CLI::App* sub : root.get_subcommands({})) {
    names.push_back(sub->get_name());
    if (sub->get_name() != topic) continue;
    context.out.line(sub->help());
    return Exit::done;
  }
  const std::string suggestion = ingest::nearest(topic, names);
  return context.usage("there is no command " + printable(topic) + "; hint: " +
                       (suggestion.empty() ? "" : "did you mean " + suggestion + "? ") +
                       "bygone --help lists them");
}

}  // namespace

Action add_version(CLI::App& /*app*/) { return version; }

Action add_help(CLI::App& app) {
  const auto topic = std::make_shared<std::string>();
  app.add_option("command", *topic, "the command to explain")->type_name("COMMAND");
  return [topic, &app](Context& context) { return help(context, *app.get_parent(), *topic); };
}

}  // namespace bygone::cli
