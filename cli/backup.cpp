// SPDX-License-Identifier: Apache-2.0
#include "ingest/backup.h"

#include <cstdlib>
#include <fstream>

#include <CLI/CLI.hpp>

#include "cli/alarm.h"
#include "cli/backup_report.h"
#include "cli/cancel.h"
#include "cli/choice.h"
#include "cli/duration.h"
#include "cli/options.h"
#include "cli/text.h"
#include "ingest/discover.h"
#include "ingest/duration.h"
#include "ingest/exclude.h"
#include "ingest/freeze.h"
#include "ingest/prepare.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

constexpr Nanoseconds kLongWait = Nanoseconds{86'400} * kSecond;

struct BackupArguments {
  std::vector<std::string> sources;
  bool all = false;
  std::vector<std::pair<std::string, std::string>> folders;  // name and path
  std::vector<std::string> exclude_files;
  std::string host;
  std::optional<store::Compression> compression;
  Nanoseconds retry_lock = 0;
  ingest::BackupOptions options;
};

const Choices<store::Compression>& compressions() {
  static const Choices<store::Compression> list = {{"off", store::Compression::off},
                                                   {"fastest", store::Compression::fastest},
                                                   {"auto", store::Compression::standard},
                                                   {"better", store::Compression::better},
                                                   {"max", store::Compression::max}};
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
  ingest::BackupOptions options = arguments.options;
  for (const std::string& file : arguments.exclude_files) {
    TRY(read_exclude_file(file, options.exclude));
  }
  TRY(ingest::Excludes::parse(options.exclude));
  options.compression = TRY(compression_of(arguments));
  options.zone = store::local_zone_name();
  options.state_folder = ingest::default_state_folder();
  return options;
}

// One run over several sources.
class BackupRun {
 public:
  BackupRun(Context& context, store::Repository& repository, ingest::BackupOptions options,
            Nanoseconds retry_lock)
      : context_(context),
        repository_(repository),
        options_(std::move(options)),
        retry_lock_(retry_lock) {
    options_.off_limits = ingest::off_limits(repository, Context::index_dir());
  }

  Exit run(const BackupArguments& arguments);

 private:
  void find_folders(const BackupArguments& arguments);
  void find_docker(const BackupArguments& arguments);
  void warn(const std::vector<std::string>& lines);
  Result<std::vector<ingest::Source>> discover(const BackupArguments& arguments);
  Exit back_up(store::Session& session, const ingest::Source& source);

  Context& context_;
  store::Repository& repository_;
  ingest::BackupOptions options_;
  const Nanoseconds retry_lock_;
  CancelOnSignal cancel_;
  std::unique_ptr<docker::Engine> engine_;
  std::vector<ingest::Source> sources_;
  std::vector<Exit> exits_;
};

void BackupRun::find_folders(const BackupArguments& arguments) {
  for (const auto& [name, path] : arguments.folders) {
    auto source = ingest::folder_source(name, path);
    if (source.ok()) {
      sources_.push_back(std::move(*source));
    } else {
      exits_.push_back(context_.fail(source.error()));
    }
  }
}

void BackupRun::warn(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) context_.out.warning(line);
}

Result<std::vector<ingest::Source>> BackupRun::discover(const BackupArguments& arguments) {
  engine_ = TRY(docker::connect(docker::options_from_environment()));
  warn(ingest::thaw_leftovers(*engine_, options_.state_folder));
  const ingest::LastNames last = ingest::last_names(repository_);
  warn(last.warnings);
  return ingest::discover(*engine_, {.all = arguments.all, .names = arguments.sources}, last.names);
}

void BackupRun::find_docker(const BackupArguments& arguments) {
  if (!arguments.all && arguments.sources.empty()) {
    if (ingest::has_dead_journals(options_.state_folder)) {
      context_.out.warning("a backup that died left containers frozen; hint: bygone thaw");
    }
    return;
  }
  auto found = discover(arguments);
  if (!found.ok()) {
    exits_.push_back(context_.fail(found.error(), Stage::docker));
    return;
  }
  for (ingest::Source& source : *found) sources_.push_back(std::move(source));
}

Exit BackupRun::back_up(store::Session& session, const ingest::Source& source) {
  BackupReporter reporter(context_.out, source);
  const auto report = retry_while_busy(retry_lock_, cancel_.flag(), [&] {
    return ingest::backup(
        session, source, engine_.get(), options_,
        [&](const ingest::BackupProgress& now) { reporter.update(now); }, cancel_.flag());
  });
  if (report.ok()) {
    remember(context_, repository_, report->snapshot);
    reporter.finish(*report);
    return report->unreadable.empty() ? Exit::done : Exit::unreadable;
  }
  reporter.abandon();
  const Error& error = report.error();
  const Exit exit = context_.fail(error, Stage::working, reporter.name());
  // What is wrong with the source itself is not the engine's absence.
  return error.code == Code::unavailable && !source.error ? Exit::no_docker : exit;
}

Exit BackupRun::run(const BackupArguments& arguments) {
  find_folders(arguments);
  find_docker(arguments);
  if (!arguments.host.empty()) {
    for (ingest::Source& source : sources_) source.host_id = arguments.host;
  }
  if (sources_.empty() && exits_.empty()) {
    context_.out.warning("nothing to back up: Docker has no containers and no volumes");
  }
  if (sources_.empty()) return gravest(exits_);
  auto session = retry_while_busy(retry_lock_, cancel_.flag(), [&] {
    return store::Session::begin(repository_, options_.compression);
  });
  if (!session.ok()) return context_.fail(session.error());
  for (const std::string& alarm : rollback_alarms(context_, repository_)) {
    context_.out.warning(alarm);
  }
  for (const ingest::Source& source : sources_) {
    exits_.push_back(back_up(**session, source));
    if (cancel_.flag()) break;
  }
  if (cancel_.flag()) exits_.push_back(Exit::interrupted);
  return gravest(exits_);
}

Exit backup(Context& context, const BackupArguments& arguments) {
  if (!arguments.all && arguments.sources.empty() && arguments.folders.empty()) {
    return context.usage(
        "backup of what? hint: name containers, @PROJECT or volume:NAME, or give --all or "
        "--path NAME=DIR; bygone backup --help explains");
  }
  auto options = options_of(arguments);
  if (!options.ok()) {
    return options.error().code == Code::invalid ? context.usage(options.error().message)
                                                 : context.fail(options.error());
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  return BackupRun(context, *repository, std::move(*options), arguments.retry_lock).run(arguments);
}

void add_lists(CLI::App& app, BackupArguments& arguments) {
  app.add_option("sources", arguments.sources, "what to back up")->type_name("SOURCE");
  app.add_flag("--all", arguments.all, "all containers, and the volumes that no container uses");
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
       [&](const std::string& text) { arguments.folders.push_back(parse_folder(text)); });
  each("--tag", "TAG", "a word to remember the snapshots by; may be repeated",
       [&](const std::string& text) { arguments.options.tags.push_back(text); });
  each("--exclude", "PATTERN", "leave out what matches, as in .gitignore; may be repeated",
       [&](const std::string& text) { arguments.options.exclude.push_back(text); });
  each("--exclude-file", "FILE", "patterns from a file, one a line; may be repeated",
       [&](const std::string& text) { arguments.exclude_files.push_back(text); });
}

void add_rest(CLI::App& app, BackupArguments& arguments) {
  add_choice<ingest::Wish>(app, "--consistency", arguments.options.wish,
                           {{"native", ingest::Wish::native},
                            {"freeze", ingest::Wish::freeze},
                            {"stop", ingest::Wish::stop},
                            {"live", ingest::Wish::live}},
                           "insist on the database's own backup mode, on freezing, on stopping and "
                           "starting again, or never touch what runs");
  app.add_option_function<std::string>(
         "--max-freeze",
         [&](const std::string& text) { arguments.options.max_freeze = parse_max_freeze(text); },
         "longest time that containers may stand still: 10s")
      ->type_name("TIME");
  app.add_flag("--rescan", arguments.options.rescan,
               "read every file again, also those that look unchanged");
  add_duration(app, "--retry-lock", arguments.retry_lock,
               "wait this long for another backup of the same source to end: 5m");
  app.add_flag_callback(
      "--wait", [&] { arguments.retry_lock = kLongWait; },
      "wait for it as long as it takes, up to a day");
  app.add_option("--host", arguments.host, "count as this host, and not as the one this is")
      ->type_name("ID");
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
      "SOURCE is a container by name, @PROJECT for all containers of a Compose project, or\n"
      "volume:NAME. Running containers are frozen for the moment (milliseconds, mostly) in which\n"
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
