// SPDX-License-Identifier: Apache-2.0
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <CLI/CLI.hpp>

#include "cli/help.h"
#include "cli/options.h"
#include "ingest/suggest.h"
#include "store/base/log.h"

namespace bygone::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"init", "Begin", "make a new repository", add_init},
      {"backup", "Save", "back up containers, volumes and folders", add_backup},
      {"config", "Save", "check the configuration, and show what applies", add_config},
      {"thaw", "Save", "resume containers that a backup that died left frozen", add_thaw},
      {"daemon", "Save", "back up by schedule, forget and prune by rule", add_daemon},
      {"status", "Look", "say what the daemon did, will do, and what is overdue", add_status},
      {"snapshots", "Look", "list snapshots", add_snapshots},
      {"ls", "Look", "list sources, or the files of a snapshot", add_ls},
      {"cat", "Look", "print a file of a snapshot", add_cat},
      {"mount", "Look", "show all snapshots as folders", add_mount},
      {"umount", "Look", "take such a mount away", add_umount},
      {"restore", "Bring back", "copy a snapshot, or a part of one, to a folder", add_restore},
      {"restore-snapshot", "Bring back", "bring a forgotten snapshot back from the trash",
       add_restore_snapshot},
      {"prune", "Look after", "free the space of what no snapshot needs", add_prune},
      {"stats", "Look after", "say what the repository holds, in figures", add_stats},
      {"forget", "Look after", "let snapshots go by rule or by name", add_forget},
      {"pin", "Look after", "keep snapshots whatever the rules", add_pin},
      {"unpin", "Look after", "leave pinned snapshots to the rules again", add_unpin},
      {"tag", "Look after", "give snapshots words to remember them by", add_tag},
      {"verify", "Look after", "prove that everything is there and undamaged", add_verify},
      {"repair", "Look after", "mend what can be mended", add_repair},
      {"key", "Look after", "list, add, remove and rotate passphrases and key files", add_key},
      {"completion", "Other", "print completions for bash, zsh or fish", add_completion},
      {"version", "Other", "print the version", add_version},
      {"help", "Other", "explain a command", add_help},
  };
  return list;
}

namespace {

struct Program {
  CLI::App app{"Time Machine for Docker", "bygone"};
  Global global;
  bool version = false;
  std::vector<std::pair<CLI::App*, Action>> actions;
};

// The same options before and after the command: both write to the same place.
void add_global_options(CLI::App& app, Global& global) {
  const char* const group = "Options of every command";
  app.add_option("-r,--repo", global.repository, "folder of the repository (BYGONE_REPOSITORY)")
      ->type_name("FOLDER")
      ->group(group);
  app.add_option("--key-file", global.key_file, "unlock with this key file (BYGONE_KEY_FILE)")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--config", global.config,
                 "the configuration, not /etc/bygone/config.yaml (BYGONE_CONFIG)")
      ->type_name("FILE")
      ->group(group);
  app.add_flag("-q,--quiet", global.quiet, "print only errors and what was asked for")
      ->group(group);
  app.add_flag("-v,--verbose", global.verbose, "say more; twice: even more")->group(group);
  app.add_flag("--json", global.json, "print one JSON object a line")->group(group);
  app.set_help_flag("-h,--help", "print this help")->group(group);
}

void build(Program& program) {
  program.app.formatter(std::make_shared<HelpFormatter>());
  add_global_options(program.app, program.global);
  program.app.add_flag("--version", program.version, "print the version");
  program.app.require_subcommand(0, 1);
  for (const Command& command : commands()) {
    CLI::App* sub = program.app.add_subcommand(command.name, command.summary);
    sub->formatter(std::make_shared<HelpFormatter>());
    Action action = command.add(*sub);
    add_global_options(*sub, program.global);
    for (CLI::App* nested : sub->get_subcommands({})) {
      nested->formatter(std::make_shared<HelpFormatter>());
      add_global_options(*nested, program.global);
    }
    program.actions.emplace_back(sub, std::move(action));
  }
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

// The command that was being parsed, at the deepest level.
const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().back();
  return *at;
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name()
                                     : full_name(*app.get_parent()) + " " + app.get_name();
}

std::string with_help(const CLI::App& app, std::string text, const std::string& suggestion) {
  text += "; hint: ";
  if (!suggestion.empty()) text += "did you mean " + suggestion + "? ";
  return text + full_name(app) + " --help explains";
}

// The first argument that had to be there.
std::string what_is_missing(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_required() && option->count() == 0) {
      return option->get_type_name() + " is missing";
    }
  }
  return "no command is given";
}

// A message for what CLI11 could not parse.
std::string explain(const CLI::App& root, const CLI::ParseError& error) {
  const CLI::App* at = &innermost(root);
  while (at->remaining().empty() && at->get_parent() != nullptr) at = at->get_parent();
  const std::vector<std::string> extras = at->remaining();
  const CLI::App& app = extras.empty() ? innermost(root) : *at;
  if (extras.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    return with_help(app, what_is_missing(app), "");
  }
  if (extras.empty()) {
    std::string text = error.what();
    if (!text.empty()) text[0] = static_cast<char>(std::tolower(text[0]));
    return with_help(app, text, "");
  }
  const std::string& extra = extras.front();
  if (extra.starts_with("-")) {
    const std::string name = extra.substr(0, extra.find('='));
    return with_help(app, "unknown option " + printable(name),
                     ingest::nearest(name, option_names(app)));
  }
  const std::vector<std::string> names = command_names(app);
  if (!names.empty()) {
    return with_help(app, "unknown command " + printable(extra), ingest::nearest(extra, names));
  }
  return with_help(app, "unexpected argument " + printable(extra), "");
}

void set_log_level(const Global& global) {
  if (global.quiet) return log::set_level(log::Level::error);
  if (global.verbose >= 2) return log::set_level(log::Level::debug);
  if (global.verbose == 1) log::set_level(log::Level::info);
}

const Action* chosen(const Program& program) {
  for (const auto& [app, action] : program.actions) {
    if (app->parsed() || (program.version && app->get_name() == "version")) return &action;
  }
  return nullptr;
}

Exit dispatch(Program& program, Output& out) {
  if (program.global.repository.empty()) {
    const char* repository = std::getenv("BYGONE_REPOSITORY");
    program.global.repository = repository == nullptr ? "" : repository;
  }
  out.configure({program.global.json, program.global.quiet, program.global.verbose});
  set_log_level(program.global);
  Context context(program.global, take_secret_sources(program.global.key_file), out);
  const Action* action = chosen(program);
  if (action == nullptr)
    return context.usage("no command is given; hint: bygone --help lists them");
  const Exit exit = (*action)(context);
  const Result<void> written = out.finish();
  return written.ok() ? exit : gravest({exit, context.fail(written.error())});
}

Exit parse_and_run(int argc, char** argv) {
  Program program;
  build(program);
  Output out;
  try {
    program.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(innermost(program.app).help().c_str(), stdout);
    const Result<void> written = out.finish();
    return written.ok() ? Exit::done : Exit::failed;
  } catch (const CLI::ParseError& error) {
    out.configure({program.global.json, false, 0});
    out.error(explain(program.app, error));
    return Exit::usage;
  }
  return dispatch(program, out);
}

}  // namespace

int run(int argc, char** argv) {
  try {
    return static_cast<int>(parse_and_run(argc, argv));
  } catch (const std::exception& error) {
    // Nothing of ours throws: this is a library's last word, memory mostly.
    std::fprintf(stderr, "bygone: error: %s\n", printable(error.what()).c_str());
  }
  return static_cast<int>(Exit::failed);
}

}  // namespace bygone::cli
