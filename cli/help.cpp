// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <cctype>

#include <fmt/core.h>

#include "cli/options.h"

namespace bygone::cli {
namespace {

const char* const kIntroduction =
    R"(bygone: Time Machine for Docker. Backs up the volumes of containers into an
encrypted, deduplicated repository, and shows every backup as a folder.

Usage: bygone COMMAND [OPTION...]
)";

const char* const kRest = R"(
Naming a snapshot: SOURCE[@INSTANT][:PATH]
  db                          the newest snapshot of container db
  db@2024-03-16T05:57         the one listed under that name
  db@2024-03-16T06:20         the newest one at that time
  db@yesterday  db@2h-ago  db@latest~2  db@id:1a2b
  db:pgdata/base              a path: volume first
  db:/var/lib/postgresql      or as the container sees it
  volume:NAME                 a volume that no container uses

Examples:
  bygone --repo /srv/backup init
  export BYGONE_REPOSITORY=/srv/backup BYGONE_PASSWORD_FILE=/etc/bygone/password
  bygone backup db                        back up one container
  bygone backup @shop                     all containers of a Compose project
  bygone backup --all                     everything that Docker knows here
  bygone backup --path etc=/etc           a plain folder
  bygone snapshots db
  bygone mount /mnt/backups && ls /mnt/backups/db
  bygone restore db@yesterday /tmp/db     a copy of all its volumes

Options of every command:
  -r, --repo FOLDER   the repository
  --key-file FILE     unlock with a key file instead of a passphrase
  --config FILE       the configuration, not /etc/bygone/config.yaml
  -q, --quiet         print only errors and what was asked for
  -v, --verbose       say more; twice: even more
  --json              print one JSON object a line
  -h, --help          print help; after a command: about it
  --version           print the version

Environment:
  BYGONE_REPOSITORY        the repository
  BYGONE_PASSWORD_FILE     a file with the passphrase
  BYGONE_PASSWORD_COMMAND  a command that prints it
  BYGONE_PASSWORD          the passphrase itself
  BYGONE_KEY_FILE          a key file
                           Set one of these four; with none, the terminal is asked.
  BYGONE_CONFIG            the configuration file; what it names these override
  BYGONE_COMPRESSION       off, fastest, auto, better or max
  BYGONE_INDEX_DIR         keep the index here, not in the repository
  BYGONE_STATE_DIR         keep the journal of frozen containers here
  DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH    which Docker engine
  NO_COLOR                 no colours
  TZ                       the time zone of new snapshots' names

Exit codes:
    0  done                           11  locked by another backup
    1  failed                         12  wrong passphrase or key file
    2  the command line is wrong      20  damage found
    3  done, but some source files    22  a hook or a dump failed
       could not be read              23  Docker cannot be reached
   10  no repository there            24  something is overdue
                                     130  interrupted
)";

std::string option_list(const CLI::App* app, const CLI::Formatter& formatter) {
  std::string text;
  for (const std::string& group : app->get_groups()) {
    std::vector<const CLI::Option*> options = app->get_options(
        [&](const CLI::Option* o) { return o->get_group() == group && o->nonpositional(); });
    if (!group.empty() && !options.empty()) text += formatter.make_group(group, false, options);
  }
  return text;
}

}  // namespace

std::string overview() {
  std::string text = kIntroduction;
  std::string group;
  for (const Command& command : commands()) {
    if (group != command.group) {
      group = command.group;
      text += fmt::format("\n{}:\n", group);
    }
    text += fmt::format("  {:<18}{}\n", command.name, command.summary);
  }
  return text + kRest;
}

// "bygone restore [OPTION...] SOURCE[@INSTANT][:PATH] TARGET".
std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  std::string text = "Usage: " + name;
  if (!app->get_subcommands({}).empty()) text += " COMMAND";
  text += " [OPTION...]";
  for (const CLI::Option* option : app->get_options()) {
    if (!option->get_positional()) continue;
    const std::string shown =
        option->get_type_name() + (option->get_items_expected_max() > 1 ? "..." : "");
    text += option->get_required() ? " " + shown : " [" + shown + "]";
  }
  return text + "\n";
}

// "-f, --foreground", or "    --allow-other" below it.
std::string HelpFormatter::make_option_name(const CLI::Option* option, bool is_positional) const {
  std::string name = CLI::Formatter::make_option_name(option, is_positional);
  if (const std::size_t comma = name.find(','); comma != std::string::npos) {
    return name.insert(comma + 1, " ");
  }
  return name.starts_with("--") ? "    " + name : name;
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  const std::string type = option->get_type_size() == 0 ? "" : option->get_type_name();
  return type.empty() ? "" : " " + type;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string /*name*/,
                                     CLI::AppFormatMode /*mode*/) const {
  if (app->get_parent() == nullptr) return overview();
  std::string name = app->get_name();
  for (const CLI::App* up = app->get_parent(); up != nullptr; up = up->get_parent()) {
    name = up->get_name() + " " + name;
  }
  std::string summary = app->get_description();
  summary[0] = static_cast<char>(std::toupper(summary[0]));
  std::string text = make_usage(app, name) + "\n" + summary + ".\n";
  const auto subcommands = app->get_subcommands({});
  if (!subcommands.empty()) text += "\nCommands:\n";
  for (const CLI::App* sub : subcommands) {
    text += fmt::format("  {:<12}{}\n", sub->get_name(), sub->get_description());
  }
  text += option_list(app, *this);
  if (!app->get_footer().empty()) text += "\n" + app->get_footer() + "\n";
  return text;
}

}  // namespace bygone::cli
