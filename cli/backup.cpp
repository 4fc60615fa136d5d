// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <fstream>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/backup_run.h"
#include "cli/cancel.h"
#include "cli/choice.h"
#include "cli/duration.h"
#include "cli/options.h"
#include "cli/text.h"
#include "cli/thaw.h"
#include "ingest/duration.h"
#include "ingest/exclude.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

constexpr Nanoseconds kLongWait = Nanoseconds{86'400} * kSecond;

struct BackupArguments {
  BackupRequest request;
  std::vector<std::string> exclude_files;
  std::optional<store::Compression> compression;
};

const Choices<store::Compression>& compressions() {
  static const Choices<store::Compression> list = {{"off", store::Compression::off},
                                                   {"fastest", store::Compression::fastest},
                                                   {"auto", store::Compression::standard},
                                                   {"better", store::Compression::better},
                                                   {"max", store::Compression::max}};
  return list;
}

const Choices<ingest::DumpWish::Kind>& dumps() {
  using Kind = ingest::DumpWish::Kind;
  static const Choices<Kind> list = {{"auto", Kind::automatic},  {"postgres", Kind::postgres},
                                     {"mariadb", Kind::mariadb}, {"mysql", Kind::mysql},
                                     {"redis", Kind::redis},     {"sqlite", Kind::sqlite},
                                     {"mongo", Kind::mongo},     {"none", Kind::none}};
  return list;
}

std::pair<std::string, std::string> parse_folder(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw CLI::ValidationError(
        "--path takes NAME=DIR, such as etc=/etc, and not " + printable(text),
        CLI::ExitCodes::ValidationError);
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// Two folders of one name would be one history, and `latest` whichever came last.
void add_folder(const std::string& text,
                std::vector<std::pair<std::string, std::string>>& folders) {
  auto folder = parse_folder(text);
  for (const auto& [name, path] : folders) {
    if (name != folder.first || path == folder.second) continue;
    throw CLI::ValidationError("--path gives the name " + printable(name) + " to two folders, " +
                                   printable(path) + " and " + printable(folder.second),
                               CLI::ExitCodes::ValidationError);
  }
  folders.push_back(std::move(folder));
}

const Choices<ingest::Wish>& wishes() {
  static const Choices<ingest::Wish> list = {{"native", ingest::Wish::native},
                                             {"snapshot", ingest::Wish::snapshot},
                                             {"freeze", ingest::Wish::freeze},
                                             {"stop", ingest::Wish::stop},
                                             {"live", ingest::Wish::live}};
  return list;
}

ingest::Wish parse_wish(const std::string& word) {
  if (const auto wish = find_choice(wishes(), word)) return *wish;
  throw CLI::ValidationError(
      "--consistency takes one of " + choice_names(wishes()) + ", and not " + word,
      CLI::ExitCodes::ValidationError);
}

ingest::ReadLimit parse_limit(const std::string& text) {
  const auto limit = ingest::parse_read_limit(text);
  if (limit.ok()) return *limit;
  throw CLI::ValidationError("--limit-read: " + limit.error().message,
                             CLI::ExitCodes::ValidationError);
}

std::chrono::milliseconds parse_max_freeze(const std::string& text) {
  if (const auto length = ingest::parse_short_duration(text)) return *length;
  throw CLI::ValidationError(
      "--max-freeze takes a time such as 500ms, 10s or 1m, and not " + printable(text),
      CLI::ExitCodes::ValidationError);
}

// BYGONE_COMPRESSION counts where --compression is not given.
Result<store::Compression> compression_of(const BackupArguments& arguments) {
  if (arguments.compression) return *arguments.compression;
  const char* variable = std::getenv("BYGONE_COMPRESSION");
  if (variable == nullptr || *variable == '\0') return store::Compression::standard;
  if (const auto value = find_choice(compressions(), variable)) return *value;
  return Error{Code::invalid, 0,
               "BYGONE_COMPRESSION is one of " + choice_names(compressions()) + ", and not " +
                   printable(variable)};
}

Result<void> read_exclude_file(const std::string& path, std::vector<std::string>& patterns) {
  std::ifstream file(path, std::ios::binary);
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    patterns.push_back(line);
  }
  if (!file.eof()) return os_error(errno == 0 ? EIO : errno, "reading " + printable(path));
  return {};
}

// What the command line says, checked as a whole.
Result<ingest::BackupOptions> options_of(const BackupArguments& arguments) {
  ingest::BackupOptions options = arguments.request.options;
  for (const std::string& file : arguments.exclude_files) {
    TRY(read_exclude_file(file, options.exclude));
  }
  TRY(ingest::Excludes::parse(options.exclude));
  options.compression = TRY(compression_of(arguments));
  options.zone = store::local_zone_name();
  options.state_folder = ingest::default_state_folder();
  return options;
}

Exit backup(Context& context, const BackupArguments& arguments) {
  if (!arguments.request.all && arguments.request.sources.empty() &&
      arguments.request.folders.empty()) {
    return context.usage(
        "backup of what? hint: name containers, @PROJECT or volume:NAME, or give --all or "
        "--path NAME=DIR; bygone backup --help explains");
  }
  thaw_first(context);
  {
    const CancelOnSignal cancel;
    run_owed_hooks_first(context, cancel.flag());
    if (cancel.flag()) return context.fail(Error{Code::cancelled, 0, "cancelled"});
  }
  auto options = options_of(arguments);
  if (!options.ok()) {
    return options.error().code == Code::invalid ? context.usage(options.error().message)
                                                 : context.fail(options.error());
  }
  const auto read = context.configuration();
  if (!read.ok()) return context.usage(read.error().message);
  for (const ingest::Problem& problem : (*read)->problems) {
    context.out.warning(problem.where + ": " + problem.what);
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  BackupRequest request = arguments.request;
  request.options = std::move(*options);
  return run_backups(context, *repository, (*read)->config, request);
}

void add_lists(CLI::App& app, BackupArguments& arguments) {
  app.add_option("sources", arguments.request.sources, "what to back up")->type_name("SOURCE");
  app.add_flag("--all", arguments.request.all,
               "all containers, volumes that no container uses, and folders of the configuration");
  const auto each = [&](const std::string& name, const std::string& type,
                        const std::string& description, std::function<void(std::string)> take) {
    app.add_option_function<std::vector<std::string>>(
           name,
           [take = std::move(take)](const std::vector<std::string>& values) {
             for (const std::string& value : values) take(value);
           },
           description)
        ->allow_extra_args(false)
        ->type_name(type);
  };
  each("--path", "NAME=DIR", "the folder DIR as a source called NAME; may be repeated",
       [&](const std::string& text) { add_folder(text, arguments.request.folders); });
  each("--tag", "TAG", "a word to remember the snapshots by; may be repeated",
       [&](const std::string& text) { arguments.request.options.tags.push_back(text); });
  each("--exclude", "PATTERN", "leave out what matches, as in .gitignore; may be repeated",
       [&](const std::string& text) { arguments.request.options.exclude.push_back(text); });
  each("--exclude-file", "FILE", "patterns from a file, one a line; may be repeated",
       [&](const std::string& text) { arguments.exclude_files.push_back(text); });
}

void add_rest(CLI::App& app, BackupArguments& arguments) {
  app.add_option_function<std::string>(
         "--consistency",
         [&](const std::string& word) { arguments.request.wish = parse_wish(word); },
         "insist on the database's own backup mode or on freezing, or never touch what runs: " +
             choice_names(wishes()))
      ->type_name("WORD");
  app.add_option_function<std::string>(
         "--max-freeze",
         [&](const std::string& text) { arguments.request.max_freeze = parse_max_freeze(text); },
         "longest time that containers may stand still: 10s")
      ->type_name("TIME");
  app.add_flag("--rescan", arguments.request.options.rescan,
               "read every file again, also those that look unchanged");
  app.add_option_function<std::string>(
         "--limit-read",
         [&](const std::string& text) { arguments.request.limit_read = parse_limit(text); },
         "read no faster: 50M a second, or auto, which gives way to others; off")
      ->type_name("RATE");
  add_duration(app, "--retry-lock", arguments.request.retry_lock,
               "wait this long for another backup of the same source to end: 5m");
  app.add_flag_callback(
      "--wait", [&] { arguments.request.retry_lock = kLongWait; },
      "wait for it as long as it takes, up to a day");
  app.add_option("--host", arguments.request.host, "count as this host, and not as the one this is")
      ->type_name("ID");
  app.add_option_function<std::string>(
         "--dump",
         [&](const std::string& word) {
           arguments.request.dump = find_choice(dumps(), word);
           if (!arguments.request.dump) {
             throw CLI::ValidationError(
                 "--dump takes one of " + choice_names(dumps()) + ", and not " + word,
                 CLI::ExitCodes::ValidationError);
           }
         },
         "dump the databases, too, shown in .bygone/dumps/: " + choice_names(dumps()))
      ->type_name("WORD");
  app.add_option_function<std::string>(
         "--compression",
         [&](const std::string& word) {
           arguments.compression = find_choice(compressions(), word);
           if (!arguments.compression) {
             throw CLI::ValidationError(
                 "--compression takes one of " + choice_names(compressions()) + ", and not " + word,
                 CLI::ExitCodes::ValidationError);
           }
         },
         choice_names(compressions()) + " (BYGONE_COMPRESSION)")
      ->type_name("WORD");
}

}  // namespace

Action add_backup(CLI::App& app) {
  const auto arguments = std::make_shared<BackupArguments>();
  add_lists(app, *arguments);
  add_rest(app, *arguments);
  app.footer(
      "SOURCE is a container by name, @PROJECT for all containers of a Compose project, "
      "volume:NAME,\n"
      "or a folder that the configuration names. Labels and the configuration (bygone config "
      "show)\n"
      "say how each is saved; what this command line says wins. Running containers are frozen for "
      "the moment (milliseconds, mostly) in which\n"
      "the last changes are read; when that would take longer than --max-freeze they go on, and\n"
      "the snapshot is marked as live.\n\n"
      "Examples:\n"
      "  bygone backup db\n"
      "  bygone backup @shop --tag before-upgrade\n"
      "  bygone backup --all\n"
      "  bygone backup --path home=/home --exclude '.cache/' --exclude-file ~/.bygone-exclude");
  return [arguments](Context& context) { return backup(context, *arguments); };
}

}  // namespace bygone::cli
