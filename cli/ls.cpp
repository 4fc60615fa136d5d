// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/select.h"
#include "cli/text.h"
#include "fs/restore_cursor.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

using store::Entry;
using store::FileType;

struct LsOptions {
  std::string what;
  bool details = false;
  bool recursive = false;
};

void print_source(Output& out, const fs::History& history, bool details) {
  const bool volume = history.kind == store::SourceKind::volume;
  const std::string name = (volume ? "volume:" : "") + history.name;
  const store::Snapshot& newest = *history.records.back();
  if (out.json()) {
    Json object{{"message_type", "source"}};
    put_raw(object, "source", name);
    object["source_kind"] = store::to_text(history.kind);
    object["snapshots"] = history.records.size();
    object["newest"] = newest.listed_name;
    object["newest_time"] = store::to_rfc3339(newest.zone, newest.instant);
    return out.object(object);
  }
  if (!details) return out.line(printable(name));
  out.line(fmt::format("{}  {}, {}, newest {}", printable(name), store::to_text(history.kind),
                       counted(history.records.size(), "snapshot"), newest.listed_name));
}

Exit list_sources(Context& context, store::Repository& repository, const LsOptions& options) {
  const auto catalog = read_catalog(repository);
  if (!catalog.ok()) return context.fail(catalog.error());
  const fs::Catalog& found = **catalog;
  for (const auto* histories : {&found.sources(), &found.volumes()}) {
    for (const auto& [name, history] : *histories) {
      print_source(context.out, history, options.details);
    }
  }
  if (found.sources().empty() && found.volumes().empty()) {
    context.out.info("no snapshots yet; hint: bygone backup --help");
  }
  return Exit::done;
}

class Lister {
 public:
  Lister(Context& context, store::TreeReader& trees, const LsOptions& options, std::string zone)
      : out_(context.out), trees_(trees), options_(options), zone_(std::move(zone)) {}

  // `entry` under `path`, both as they are shown.
  void show(const Entry& entry, const std::string& path);
  // What is in a folder, and with -R below it.
  Result<void> list(fs::DirectoryCursor cursor);

 private:
  void show_json(const Entry& entry, const std::string& path);
  [[nodiscard]] std::string details(const Entry& entry) const;

  Output& out_;
  store::TreeReader& trees_;
  const LsOptions& options_;
  const std::string zone_;
};

void Lister::show_json(const Entry& entry, const std::string& path) {
  Json object{{"message_type", "node"}};
  put_raw(object, "name", path.substr(path.rfind('/') + 1));
  object["type"] = type_text(entry.type);
  put_raw(object, "path", path);
  object["uid"] = entry.uid;
  object["gid"] = entry.gid;
  if (entry.type == FileType::regular) object["size"] = entry.size;
  object["mode"] = entry.mode;
  object["permissions"] = mode_text(entry.type, entry.mode);
  object["mtime"] = time_text(zone_, entry.mtime);
  object["links"] = entry.links;
  if (entry.type == FileType::symlink) put_raw(object, "linktarget", entry.target);
  if (entry.flags & store::kUnreadable) object["unreadable"] = true;
  out_.object(object);
}

std::string Lister::details(const Entry& entry) const {
  std::string size;
  if (entry.type == FileType::regular) size = size_text(entry.size);
  // Seconds and the offset are enough for a person: 2024-03-16T05:57:12+01:00.
  const std::string time = time_text(zone_, {entry.mtime.seconds, 0});
  return fmt::format("{}  {:>10} {:>10}  {:>9}  {}  ", mode_text(entry.type, entry.mode), entry.uid,
                     entry.gid, size, time);
}

void Lister::show(const Entry& entry, const std::string& path) {
  if (out_.json()) return show_json(entry, path);
  std::string line = (options_.details ? details(entry) : "") + printable(path);
  if (options_.details && entry.type == FileType::symlink) line += " -> " + printable(entry.target);
  if (options_.details && entry.flags & store::kUnreadable) line += "  (could not be read)";
  out_.line(line);
}

Result<void> Lister::list(fs::DirectoryCursor top) {
  struct Level {
    fs::DirectoryCursor cursor;
    std::size_t path_size;  // of the folder, with its slash
  };
  std::vector<Level> levels;
  levels.push_back({std::move(top), 0});
  std::string path;
  while (!levels.empty() && !out_.closed()) {
    path.resize(levels.back().path_size);
    const std::optional<Entry> entry = TRY(levels.back().cursor.next());
    if (!entry) {
      levels.pop_back();
      continue;
    }
    path += entry->name;
    show(*entry, path);
    if (!options_.recursive || !entry->is_directory()) continue;
    path += '/';
    if (levels.size() > 64) levels.back().cursor.rest();
    levels.push_back({fs::DirectoryCursor(trees_, entry->node), path.size()});
  }
  return {};
}

Exit list_snapshot(Context& context, store::Repository& repository, const LsOptions& options) {
  const Result<Selected> selected = select(repository, options.what);
  if (!selected.ok()) return context.fail(selected.error());
  Lister lister(context, repository.trees(), options, selected->snapshot->zone);
  if (selected->entry && !selected->entry->is_directory()) {
    lister.show(*selected->entry, selected->path);
    return Exit::done;
  }
  const Result<void> listed = lister.list(
      selected->entry ? fs::DirectoryCursor(repository.trees(), selected->entry->node)
                      : fs::DirectoryCursor(repository.trees(), top_entries(*selected->snapshot)));
  return listed.ok() ? Exit::done : context.fail(listed.error());
}

Exit ls(Context& context, const LsOptions& options) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  return options.what.empty() ? list_sources(context, *repository, options)
                              : list_snapshot(context, *repository, options);
}

}  // namespace

Action add_ls(CLI::App& app) {
  const auto options = std::make_shared<LsOptions>();
  app.add_option("what", options->what, "what to list; without it, the sources")
      ->type_name("SOURCE[@INSTANT][:PATH]");
  app.add_flag("-l,--long", options->details, "with type, owner, size and time");
  app.add_flag("-R,--recursive", options->recursive, "with everything below");
  app.footer(
      "Control bytes in names are shown as \\xHH; --json has every name exactly.\n\n"
      "Examples:\n"
      "  bygone ls                         the sources\n"
      "  bygone ls db                      the volumes in the newest snapshot of db\n"
      "  bygone ls -l db@yesterday:pgdata\n"
      "  bygone ls -R etc:ssh");
  return [options](Context& context) { return ls(context, *options); };
}

}  // namespace bygone::cli
