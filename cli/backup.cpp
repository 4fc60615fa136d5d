// SPDX-License-Identifier: Apache-2.0
#include "ingest/backup.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

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
#include "ingest/judge.h"
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
  std::optional<ingest::Wish> wish;
  std::optional<std::chrono::milliseconds> max_freeze;
  ingest::ReadLimit limit_read;
  Nanoseconds retry_lock = 0;
  std::optional<ingest::DumpWish::Kind> dump;  // nothing: not said here
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

const Choices<ingest::Wish>& wishes() {
  static const Choices<ingest::Wish> list = {{"native", ingest::Wish::native},
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
  // All must outlive it.
  BackupRun(Context& context, store::Repository& repository, const ingest::Config& config,
            const BackupArguments& arguments, ingest::BackupOptions options)
      : context_(context),
        repository_(repository),
        config_(config),
        arguments_(arguments),
        limiter_(arguments.limit_read),
        options_(std::move(options)) {
    options_.off_limits = ingest::off_limits(repository, Context::index_dir());
    options_.limiter = &limiter_;
  }

  Exit run();

 private:
  using Unit = std::vector<const ingest::Planned*>;  // one source, or the members of a group

  void find_folders();
  void find_docker();
  void drop_disabled();
  void warn(const std::vector<std::string>& lines);
  Result<std::vector<ingest::Planned>> discover(const std::vector<std::string>& names);
  [[nodiscard]] std::vector<Unit> units() const;
  [[nodiscard]] ingest::BackupOptions options_of(const ingest::Planned& planned) const;
  void back_up(store::Session& session, const Unit& unit);
  void back_up(store::Session& session, const ingest::Planned& planned);
  Exit conclude(BackupReporter& reporter, const ingest::Source& source,
                const Result<ingest::BackupReport>& report);

  Context& context_;
  store::Repository& repository_;
  const ingest::Config& config_;
  const BackupArguments& arguments_;
  ingest::Limiter limiter_;
  ingest::BackupOptions options_;
  CancelOnSignal cancel_;
  std::unique_ptr<docker::Engine> engine_;
  std::vector<ingest::Planned> plans_;
  std::vector<Exit> exits_;
};

void BackupRun::warn(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) context_.out.warning(line);
}

// Those of the command line, and those of the configuration that are named or part of all.
void BackupRun::find_folders() {
  for (const auto& [name, path] : arguments_.folders) {
    auto source = ingest::folder_source(name, path);
    if (source.ok()) {
      source->named = true;
      ingest::Judged judged = ingest::judge(config_, *source);
      plans_.push_back({std::move(*source), std::move(judged.policy), std::move(judged.problems)});
    } else {
      exits_.push_back(context_.fail(source.error()));
    }
  }
  for (ingest::Planned& planned : ingest::plan_folders(config_)) {
    const auto& names = arguments_.sources;
    planned.source.named =
        std::find(names.begin(), names.end(), planned.source.name) != names.end();
    if (arguments_.all || planned.source.named) plans_.push_back(std::move(planned));
  }
}

Result<std::vector<ingest::Planned>> BackupRun::discover(const std::vector<std::string>& names) {
  engine_ = TRY(docker::connect(TRY(context_.engine_options())));
  warn(ingest::thaw_leftovers(*engine_, options_.state_folder));
  const ingest::LastNames last = ingest::last_names(repository_);
  warn(last.warnings);
  return ingest::plan(*engine_, {.all = arguments_.all, .names = names}, last.names, config_);
}

void BackupRun::find_docker() {
  std::vector<std::string> names;
  for (const std::string& name : arguments_.sources) {
    if (config_.folders.count(name) == 0) names.push_back(name);
  }
  if (!arguments_.all && names.empty()) {
    if (ingest::has_dead_journals(options_.state_folder)) {
      context_.out.warning("a backup that died left containers frozen; hint: bygone thaw");
    }
    return;
  }
  auto found = discover(names);
  if (!found.ok()) {
    exits_.push_back(context_.fail(found.error(), Stage::docker));
    return;
  }
  for (ingest::Planned& planned : *found) plans_.push_back(std::move(planned));
}

// What is named itself is backed up whatever its policy says.
void BackupRun::drop_disabled() {
  const std::size_t before = plans_.size();
  std::erase_if(plans_, [](const ingest::Planned& planned) {
    return !planned.policy.enabled && !planned.source.named;
  });
  if (before == plans_.size()) return;
  context_.out.info(counted(before - plans_.size(), "source") +
                    " not enabled; bygone config show says why");
}

// Sources of one group are one unit, where the first of them stands.
std::vector<BackupRun::Unit> BackupRun::units() const {
  std::vector<Unit> units;
  std::map<std::string, std::size_t> groups;
  std::set<std::pair<std::string, std::string>> names;  // a group has each name once
  for (const ingest::Planned& planned : plans_) {
    const std::string& group = planned.policy.group;
    const bool is_member = !group.empty() && names.emplace(group, planned.source.name).second;
    const auto known = is_member ? groups.find(group) : groups.end();
    if (known != groups.end()) {
      units[known->second].push_back(&planned);
      continue;
    }
    if (is_member) groups.emplace(group, units.size());
    units.push_back({&planned});
  }
  return units;
}

// The command line wins over all.
ingest::BackupOptions BackupRun::options_of(const ingest::Planned& planned) const {
  ingest::BackupOptions options = ingest::options_of(planned.policy, options_);
  options.wish = arguments_.wish.value_or(options.wish);
  options.max_freeze = arguments_.max_freeze.value_or(options.max_freeze);
  if (arguments_.dump) options.dump = {.kind = *arguments_.dump};
  return options;
}

Exit BackupRun::conclude(BackupReporter& reporter, const ingest::Source& source,
                         const Result<ingest::BackupReport>& report) {
  if (report.ok()) {
    remember(context_, repository_, report->snapshot);
    reporter.finish(*report);
    if (!report->failed.empty()) return Exit::hook;
    return report->unreadable.empty() ? Exit::done : Exit::unreadable;
  }
  reporter.abandon();
  const Error& error = report.error();
  const Exit exit = context_.fail(error, Stage::working, reporter.name());
  // What is wrong with the source itself is not the engine's absence.
  return error.code == Code::unavailable && !source.error ? Exit::no_docker : exit;
}

void BackupRun::back_up(store::Session& session, const ingest::Planned& planned) {
  BackupReporter reporter(context_.out, planned.source);
  const ingest::BackupOptions options = options_of(planned);
  const auto report = retry_while_busy(arguments_.retry_lock, cancel_.flag(), [&] {
    return ingest::backup(
        session, planned.source, engine_.get(), options,
        [&](const ingest::BackupProgress& now) { reporter.update(now); }, cancel_.flag());
  });
  exits_.push_back(conclude(reporter, planned.source, report));
}

// A member that another backup is at, and that may be waited for, follows alone.
void BackupRun::back_up(store::Session& session, const Unit& unit) {
  if (unit.size() == 1) return back_up(session, *unit.front());
  std::vector<ingest::GroupMember> members;
  std::vector<std::unique_ptr<BackupReporter>> reporters;
  for (const ingest::Planned* planned : unit) {
    members.push_back({planned->source, options_of(*planned)});
    reporters.push_back(std::make_unique<BackupReporter>(context_.out, planned->source));
  }
  const auto reports = ingest::backup_group(
      session, members, unit.front()->policy.group, engine_.get(),
      [&](std::size_t member, const ingest::BackupProgress& now) {
        reporters[member]->update(now);
      },
      cancel_.flag());
  for (std::size_t i = 0; i < unit.size(); ++i) {
    const bool is_busy = !reports[i].ok() && reports[i].error().code == Code::busy;
    if (is_busy && arguments_.retry_lock > 0 && !cancel_.flag()) {
      back_up(session, *unit[i]);
    } else {
      exits_.push_back(conclude(*reporters[i], unit[i]->source, reports[i]));
    }
  }
}

Exit BackupRun::run() {
  find_folders();
  find_docker();
  drop_disabled();
  for (ingest::Planned& planned : plans_) {
    if (!arguments_.host.empty()) planned.source.host_id = arguments_.host;
    for (const ingest::Problem& problem : planned.problems) {
      context_.out.warning(problem.where + ": " + problem.what);
    }
  }
  if (plans_.empty() && exits_.empty()) {
    context_.out.warning("nothing to back up: there is no container and no volume to take");
  }
  if (plans_.empty()) return gravest(exits_);
  auto session = retry_while_busy(arguments_.retry_lock, cancel_.flag(), [&] {
    return store::Session::begin(repository_, options_.compression);
  });
  if (!session.ok()) return context_.fail(session.error());
  for (const std::string& alarm : rollback_alarms(context_, repository_)) {
    context_.out.warning(alarm);
  }
  for (const Unit& unit : units()) {
    back_up(**session, unit);
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
  const auto read = context.configuration();
  if (!read.ok()) return context.usage(read.error().message);
  for (const ingest::Problem& problem : (*read)->problems) {
    context.out.warning(problem.where + ": " + problem.what);
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  return BackupRun(context, *repository, (*read)->config, arguments, std::move(*options)).run();
}

void add_lists(CLI::App& app, BackupArguments& arguments) {
  app.add_option("sources", arguments.sources, "what to back up")->type_name("SOURCE");
  app.add_flag("--all", arguments.all,
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
       [&](const std::string& text) { arguments.folders.push_back(parse_folder(text)); });
  each("--tag", "TAG", "a word to remember the snapshots by; may be repeated",
       [&](const std::string& text) { arguments.options.tags.push_back(text); });
  each("--exclude", "PATTERN", "leave out what matches, as in .gitignore; may be repeated",
       [&](const std::string& text) { arguments.options.exclude.push_back(text); });
  each("--exclude-file", "FILE", "patterns from a file, one a line; may be repeated",
       [&](const std::string& text) { arguments.exclude_files.push_back(text); });
}

void add_rest(CLI::App& app, BackupArguments& arguments) {
  app.add_option_function<std::string>(
         "--consistency", [&](const std::string& word) { arguments.wish = parse_wish(word); },
         "insist on the database's own backup mode or on freezing, or never touch what runs: " +
             choice_names(wishes()))
      ->type_name("WORD");
  app.add_option_function<std::string>(
         "--max-freeze",
         [&](const std::string& text) { arguments.max_freeze = parse_max_freeze(text); },
         "longest time that containers may stand still: 10s")
      ->type_name("TIME");
  app.add_flag("--rescan", arguments.options.rescan,
               "read every file again, also those that look unchanged");
  app.add_option_function<std::string>(
         "--limit-read", [&](const std::string& text) { arguments.limit_read = parse_limit(text); },
         "read no faster: 50M a second, or auto, which gives way to others; off")
      ->type_name("RATE");
  add_duration(app, "--retry-lock", arguments.retry_lock,
               "wait this long for another backup of the same source to end: 5m");
  app.add_flag_callback(
      "--wait", [&] { arguments.retry_lock = kLongWait; },
      "wait for it as long as it takes, up to a day");
  app.add_option("--host", arguments.host, "count as this host, and not as the one this is")
      ->type_name("ID");
  app.add_option_function<std::string>(
         "--dump",
         [&](const std::string& word) {
           arguments.dump = find_choice(dumps(), word);
           if (!arguments.dump) {
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
