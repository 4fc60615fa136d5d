// SPDX-License-Identifier: Apache-2.0
#include "ingest/dump_run.h"

#include <chrono>
#include <utility>

#include <fmt/core.h>

#include "ingest/dump_check.h"
#include "ingest/dump_commands.h"
#include "ingest/dump_detect.h"

namespace bygone::ingest {
namespace {

using Kind = DumpWish::Kind;

// A dump may take hours, but not in silence: who hangs holds up every later backup of the source.
constexpr std::chrono::minutes kSilence{30};
constexpr std::size_t kMostNames = 1u << 20;  // bytes of the list of databases
constexpr std::size_t kLongestName = 240;     // with its ending it is a file's name yet

const char* to_text(Kind kind) {
  switch (kind) {
    case Kind::automatic:
      return "auto";
    case Kind::postgres:
      return "postgres";
    case Kind::mariadb:
      return "mariadb";
    case Kind::mysql:
      return "mysql";
    case Kind::redis:
      return "redis";
    case Kind::sqlite:
      return "sqlite";
    case Kind::mongo:
      return "mongo";
    case Kind::command:
      return "command";
    case Kind::none:
      return "none";
  }
  return "none";
}

// Where the dump of a SQLite file stands: its path, so escaped that a folder is never called as a
// dump is. Nothing when a name would become too long.
std::optional<std::string> sqlite_name(const std::string& volume, const std::string& path) {
  std::string name = as_file_name(volume);
  std::string rest = path;
  while (!rest.empty()) {
    const std::string part = rest.substr(0, rest.find('/'));
    rest.erase(0, part.size() + 1);
    if (name.ends_with(".sql") || name.ends_with(".failed")) name += '%';
    const std::string escaped = as_file_name(part);
    if (escaped.size() > kLongestName) return std::nullopt;
    name += "/" + escaped;
  }
  return name;
}

bool is_missing(int exit_code) { return exit_code == 126 || exit_code == 127; }

class Dumper {
 public:
  explicit Dumper(const DumpContext& context) : context_(context) {}
  Result<DumpReport> run();

 private:
  Result<void> look(const docker::Container& container);
  Result<void> dump(Kind kind, const docker::Container& container);
  Result<void> dump_databases(const docker::Container& container);
  Result<std::vector<std::string>> list_databases(const docker::Container& container);
  Result<void> dump_sqlite_files(const DataFound& found, bool by_wish);
  void note_if_not_whole(const DataFound& found);
  Result<void> dump_own_command();

  // What one try of one program came to.
  struct Try {
    bool missing = false;  // the container has no such program
    std::optional<Error> failure;
  };
  Result<Try> attempt(const DumpCommand& command, const std::string& program);
  Result<Try> store(const DumpCommand& command);
  Result<void> add(const DumpCommand& command);
  Result<void> fail(const std::string& file, const std::string& reason);
  Result<docker::ExecOutcome> execute(const DumpCommand& command, const std::string& program,
                                      const std::function<Result<void>(std::string_view)>& sink);

  const DumpContext& context_;
  DumpReport report_;
};

Result<docker::ExecOutcome> Dumper::execute(
    const DumpCommand& command, const std::string& program,
    const std::function<Result<void>(std::string_view)>& sink) {
  docker::ExecRequest request;
  request.container = context_.source.container_id;
  request.command = command.argv(program);
  request.environment = command.environment;
  request.user = context_.wish.user;
  return docker::run_exec(*context_.engine, request, std::chrono::milliseconds(0), sink,
                          context_.cancel, kSilence);
}

Result<void> Dumper::fail(const std::string& file, const std::string& reason) {
  report_.failed.push_back(fmt::format("dump {}: {}", printable(file), reason));
  return context_.extra.add("dumps/" + file + ".failed", reason + "\n", context_.clock());
}

Result<Dumper::Try> Dumper::attempt(const DumpCommand& command, const std::string& program) {
  const std::string path = "dumps/" + command.file;
  const Nanoseconds begin = context_.clock();
  ContentCutter content = context_.extra.next_version(path, context_.trees, context_.parent);
  std::uint64_t size = 0;
  DumpCheck check(command.format);
  const auto append = [&](std::string_view bytes) {
    content.append(as_bytes(bytes));
    size += bytes.size();
  };
  const auto outcome = execute(command, program, [&](std::string_view bytes) -> Result<void> {
    // Redis takes us for a replica, and drops one that does not keep up.
    if (context_.limiter != nullptr && command.format != DumpFormat::rdb) {
      TRY(context_.limiter->wait_for_transfer(bytes.size(), context_.cancel));
    }
    check.take(bytes, append);
    if (auto failure = context_.jobs.failure()) return *failure;
    return {};
  });
  if (auto failure = context_.jobs.failure()) return *failure;
  if (!outcome) {
    if (outcome.error().code == Code::cancelled) return outcome.error();
    return Try{.missing = false, .failure = outcome.error()};
  }
  const auto whole = check.finish(*outcome, append);
  if (!whole) return Try{.missing = is_missing(outcome->exit_code), .failure = whole.error()};
  TRY(context_.extra.add(path, std::move(content), size, begin));
  return Try{};
}

// By the first program that is there.
Result<Dumper::Try> Dumper::store(const DumpCommand& command) {
  Try last;
  for (const std::string& program : command.programs) {
    last = TRY(attempt(command, program));
    if (!last.missing) break;
  }
  return last;
}

Result<void> Dumper::add(const DumpCommand& command) {
  const Try done = TRY(store(command));
  if (done.failure) return fail(command.file, done.failure->message);
  if (!command.note.empty()) {
    report_.warnings.push_back(fmt::format("dump {}: {}", printable(command.file), command.note));
  }
  return {};
}

Result<std::vector<std::string>> Dumper::list_databases(const docker::Container& container) {
  const DumpCommand command = list_postgres(container);
  std::string text;
  const auto outcome =
      TRY(execute(command, command.programs.front(), [&](std::string_view bytes) -> Result<void> {
        text.append(bytes);
        if (text.size() <= kMostNames) return {};
        return Error{Code::hook, 0, "the list of its databases is too long"};
      }));
  DumpCheck check(DumpFormat::plain);
  check.take(text, [](std::string_view) {});
  TRY(check.finish(outcome, [](std::string_view) {}));
  std::vector<std::string> names;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\0', at);
    if (end == std::string::npos) return Error{Code::hook, 0, "the list of its databases was cut"};
    names.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

// One file a database, so that one can be brought back alone, and changes in one leave the others
// as they were.
Result<void> Dumper::dump_databases(const docker::Container& container) {
  const auto names = list_databases(container);
  if (!names) {
    if (names.error().code == Code::cancelled) return names.error();
    return fail("postgres", names.error().message);
  }
  TRY(add(dump_postgres_globals(container)));
  for (const std::string& name : *names) TRY(add(dump_postgres(container, name)));
  return {};
}

Result<void> Dumper::dump_sqlite_files(const DataFound& found, bool by_wish) {
  const auto cannot = [&](const std::string& reason) -> Result<void> {
    if (by_wish) return fail("sqlite", reason);
    report_.skipped.push_back("dumps of SQLite: " + reason);
    return {};
  };
  if (found.sqlite.empty()) {
    if (by_wish) {
      return cannot(found.whole ? "no SQLite database is to be seen in its volumes"
                                : "no SQLite database is among the files that were looked at");
    }
    note_if_not_whole(found);
    return {};
  }
  for (const SqliteFile& file : found.sqlite) {
    const VolumeSource& volume = context_.source.volumes[file.volume];
    const auto name = sqlite_name(volume.name, file.path);
    if (!name) {
      TRY(cannot("the name of a database is too long: " + printable(file.path)));
      continue;
    }
    const std::string root = volume.kind == store::VolumeKind::layer ? "/" : volume.destination;
    const std::string slash = file.path.empty() || root.ends_with('/') ? "" : "/";
    const DumpCommand command = dump_sqlite(root + slash + file.path, *name);
    const Try done = TRY(store(command));
    if (done.missing) {
      return cannot(
          "the container has no sqlite3 program; its files are in the volumes, captured whole");
    }
    if (done.failure) TRY(fail(command.file, done.failure->message));
  }
  note_if_not_whole(found);
  return {};
}

void Dumper::note_if_not_whole(const DataFound& found) {
  if (found.whole) return;
  report_.lasting.emplace_back(
      "dumps of SQLite: its volumes hold more files than were looked at; there may be more "
      "databases");
}

Result<void> Dumper::dump_own_command() {
  const DumpWish& wish = context_.wish;
  DumpCommand command;
  command.file = wish.file.empty() ? "dump" : as_file_name(wish.file);
  if (command.file.size() > kLongestName) command.file.resize(kLongestName);
  if (wish.command.empty()) return fail(command.file, "no command is given");
  command.programs = {wish.command.front()};
  command.arguments.assign(std::next(wish.command.begin()), wish.command.end());
  return add(command);
}

Result<void> Dumper::dump(Kind kind, const docker::Container& container) {
  switch (kind) {
    case Kind::postgres:
      return dump_databases(container);
    case Kind::mariadb:
      return add(dump_mysql(container, MysqlKind::mariadb));
    case Kind::mysql:
      return add(dump_mysql(container, MysqlKind::mysql));
    case Kind::redis:
      return add(dump_redis(container));
    case Kind::mongo:
      return add(dump_mongo(container));
    case Kind::sqlite:
      return dump_sqlite_files(look_for_data(context_.source), true);
    case Kind::command:
      return dump_own_command();
    case Kind::automatic:
      return look(container);
    case Kind::none:
      return {};
  }
  return {};
}

// Of what shows itself twice.
Result<void> Dumper::look(const docker::Container& container) {
  auto processes = context_.engine->top(context_.source.container_id);
  if (!processes) return fail("auto", "finding out what runs there: " + processes.error().message);
  const DataFound found = look_for_data(context_.source);
  for (const Kind kind : detect({.processes = std::move(*processes),
                         .image = container.image,
                         .environment = container.environment,
                         .data = found.kinds})) {
    TRY(dump(kind, container));
  }
  return dump_sqlite_files(found, false);
}

Result<DumpReport> Dumper::run() {
  const Kind kind = context_.wish.kind;
  if (kind == Kind::none) return std::move(report_);
  const bool automatic = kind == Kind::automatic;
  const auto nothing = [&](const std::string& why) -> Result<DumpReport> {
    if (!automatic) TRY(fail(to_text(kind), why));
    return std::move(report_);
  };
  if (context_.engine == nullptr || context_.source.container_id.empty()) {
    return nothing("dumps are made in containers alone");
  }
  const auto container = context_.engine->container(context_.source.container_id);
  if (!container) {
    TRY(fail(to_text(kind), container.error().message));
    return std::move(report_);
  }
  if (!container->state.running || container->state.restarting) {
    return nothing("the container does not run");
  }
  TRY(dump(kind, *container));
  return std::move(report_);
}

}  // namespace

Result<std::optional<store::Entry>> newest_dumps(store::Repository& repository,
                                                 store::TreeReader& trees, const SourceId& source,
                                                 const std::optional<store::Snapshot>& parent) {
  const auto has_dumps = [&](const store::Snapshot& snapshot) {
    if (!snapshot.extra) return false;
    const auto found = trees.lookup(*snapshot.extra, "dumps");
    return found.ok() && found->has_value();
  };
  if (!parent) return std::optional<store::Entry>();
  if (has_dumps(*parent)) return parent->extra;
  std::vector<std::string> damaged;  // named by whoever lists them
  const auto snapshots = TRY(repository.snapshots(&damaged));
  const store::Snapshot* newest = nullptr;
  for (const store::Snapshot& each : snapshots) {
    if (each.source != source) continue;
    if (newest != nullptr && newest->sequence > each.sequence) continue;
    if (has_dumps(each)) newest = &each;
  }
  return newest != nullptr ? newest->extra : std::nullopt;
}

Result<DumpReport> make_dumps(const DumpContext& context) { return Dumper(context).run(); }

}  // namespace bygone::ingest
