// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/text.h"
#include "ingest/judge.h"

namespace bygone::cli {
namespace {

struct ConfigArguments {
  std::string file;
  std::string source;
};

void report(Context& context, const std::vector<ingest::Problem>& problems) {
  for (const ingest::Problem& problem : problems) {
    if (context.out.json()) {
      context.out.object(Json{{"message_type", "problem"},
                              {"where", lossy_utf8(problem.where)},
                              {"what", lossy_utf8(problem.what)}});
    } else {
      context.out.error(problem.where + ": " + problem.what);
    }
  }
}

Exit check(Context& context, const std::string& path) {
  std::vector<ingest::Problem> problems;
  const auto config = ingest::load_config(path, problems);
  if (!config.ok()) {
    context.out.error(config.error());
    return Exit::usage;
  }
  report(context, problems);
  if (!problems.empty()) return Exit::usage;
  context.out.info(config->path.empty() ? "there is no " + path + ": what is built in applies"
                                        : printable(path) + ": all is well");
  return Exit::done;
}

const char* kind_text(store::SourceKind kind) {
  switch (kind) {
    case store::SourceKind::container:
      return "container";
    case store::SourceKind::volume:
      return "volume";
    case store::SourceKind::folder:
      break;
  }
  return "folder";
}

Json to_json(const ingest::Planned& planned) {
  Json object{{"message_type", "policy"},
              {"kind", kind_text(planned.source.kind)},
              {"name", planned.source.name},
              {"enabled", planned.policy.enabled}};
  Json& settings = object["settings"] = Json::object();
  for (const ingest::Setting& setting : ingest::settings()) {
    const auto given = planned.policy.given.find(setting.key);
    if (given == planned.policy.given.end()) continue;
    settings[setting.key] = Json{{"value", lossy_utf8(given->second.value)},
                                 {"origin", lossy_utf8(given->second.origin)}};
  }
  Json& volumes = object["volumes"] = Json::array();
  for (const ingest::VolumeSource& volume : planned.source.volumes) {
    volumes.push_back(lossy_utf8(volume.origin));
  }
  Json& skipped = object["skipped"] = Json::array();
  for (const std::string& line : planned.source.skipped) skipped.push_back(lossy_utf8(line));
  Json& problems = object["problems"] = Json::array();
  for (const ingest::Problem& problem : planned.problems) {
    problems.push_back(
        Json{{"where", lossy_utf8(problem.where)}, {"what", lossy_utf8(problem.what)}});
  }
  if (planned.source.error) object["error"] = lossy_utf8(planned.source.error->message);
  return object;
}

// Values of several lines, and what a terminal would obey, are shown escaped.
void show_text(Context& context, const ingest::Planned& planned) {
  const ingest::Source& source = planned.source;
  const auto& given = planned.policy.given;
  std::string title = std::string(kind_text(source.kind)) + " " + printable(source.name);
  if (!planned.policy.enabled) {
    title += ": not backed up, by " + printable(given.at("enable").origin);
  }
  context.out.line(title);
  Table table({{"  SETTING"}, {"VALUE"}, {"FROM"}});
  for (const ingest::Setting& setting : ingest::settings()) {
    const auto found = given.find(setting.key);
    if (found == given.end()) continue;
    table.add({std::string("  ") + setting.key, printable(found->second.value),
               printable(found->second.origin)});
  }
  for (const std::string& line : table.lines()) context.out.line(line);
  for (const std::string& line : source.skipped) context.out.line("  " + printable(line));
  context.out.line("");
  if (source.error) context.out.warning(source.error->message);
  for (const ingest::Problem& problem : planned.problems) {
    context.out.warning(problem.where + ": " + problem.what);
  }
}

// Sections of the file whose name no source has: mostly a typing error.
std::vector<ingest::Problem> orphans(const std::map<std::string, ingest::Values>& sections,
                                     const char* kind, const std::vector<std::string>& names) {
  std::vector<ingest::Problem> problems;
  for (const auto& [name, values] : sections) {
    if (values.empty() || std::find(names.begin(), names.end(), name) != names.end()) continue;
    problems.push_back({values.begin()->second.origin, std::string("there is no ") + kind + " " +
                                                           printable(name) + " at present" +
                                                           ingest::did_you_mean(name, names)});
  }
  return problems;
}

std::vector<ingest::Problem> all_orphans(const ingest::Config& config,
                                         const std::vector<ingest::Planned>& plans) {
  std::vector<std::string> containers;
  std::vector<std::string> volumes;
  bool knows_volumes = true;  // what is left out shows its destination alone
  for (const ingest::Planned& planned : plans) {
    const ingest::Source& source = planned.source;
    if (source.kind == store::SourceKind::volume) volumes.push_back(source.name);
    if (source.kind == store::SourceKind::container) containers.push_back(source.name);
    if (source.kind != store::SourceKind::container) continue;
    for (const auto& volume : source.volumes) volumes.push_back(volume.origin);
    knows_volumes = knows_volumes && source.skipped.empty() && !source.error;
  }
  auto problems = orphans(config.containers, "container", containers);
  if (!knows_volumes) return problems;
  for (auto& problem : orphans(config.volumes, "volume", volumes)) {
    problems.push_back(std::move(problem));
  }
  return problems;
}

Result<std::vector<ingest::Planned>> find(Context& context, const ingest::Config& config,
                                          const std::string& source) {
  std::vector<ingest::Planned> plans;
  for (ingest::Planned& folder : ingest::plan_folders(config)) {
    if (source.empty() || source == folder.source.name) plans.push_back(std::move(folder));
  }
  if (!source.empty() && !plans.empty()) return plans;
  const auto engine = TRY(docker::connect(TRY(context.engine_options())));
  ingest::Selection selection;
  selection.all = source.empty();
  selection.disabled_too = true;
  if (!source.empty()) selection.names.push_back(source);
  const auto no_names = [](store::SourceKind, const std::string&, const std::string&) {
    return std::map<std::string, std::string>();
  };
  auto found = TRY(ingest::plan(*engine, selection, no_names, config));
  for (ingest::Planned& planned : found) plans.push_back(std::move(planned));
  return plans;
}

Exit show(Context& context, const std::string& source) {
  const auto read = context.configuration();
  if (!read.ok()) {
    context.out.error(read.error());
    return Exit::usage;
  }
  const auto plans = find(context, (*read)->config, source);
  if (!plans.ok()) return context.fail(plans.error(), Stage::docker);
  for (const ingest::Planned& planned : *plans) {
    if (context.out.json()) {
      context.out.object(to_json(planned));
    } else {
      show_text(context, planned);
    }
  }
  report(context, (*read)->problems);
  if (source.empty()) report(context, all_orphans((*read)->config, *plans));
  return Exit::done;
}

}  // namespace

Action add_config(CLI::App& app) {
  const auto arguments = std::make_shared<ConfigArguments>();
  app.require_subcommand(1, 1);
  CLI::App* checking = app.add_subcommand("check", "name everything that is wrong in the file");
  checking->add_option("file", arguments->file, "the file to check")->type_name("FILE");
  CLI::App* showing =
      app.add_subcommand("show", "what applies to each source, and where it is said");
  showing->add_option("source", arguments->source, "this one alone")->type_name("SOURCE");
  app.footer(
      "What is said about a source is taken from its labels, the environment, the file and what\n"
      "is built in, in this order. check ends with 2 when something is wrong.\n\n"
      "Examples:\n"
      "  bygone config check ./config.yaml\n"
      "  bygone config show\n"
      "  bygone config show db --json");
  return [arguments, checking](Context& context) {
    if (!checking->parsed()) return show(context, arguments->source);
    return check(context, arguments->file.empty() ? context.config_path() : arguments->file);
  };
}

}  // namespace bygone::cli
