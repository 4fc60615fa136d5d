// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/named.h"
#include "cli/options.h"
#include "cli/text.h"
#include "fs/summary.h"
#include "store/snapshot_notes.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

struct SnapshotsArguments {
  std::string source;
  std::vector<std::string> tags;
  bool trash = false;
};

std::string consistency_text(const store::Snapshot& snapshot) {
  std::string text = store::to_text(snapshot.consistency);
  if (snapshot.window > 0) {
    text += " " + duration_text(static_cast<double>(snapshot.window) / 1e9);
  }
  if (snapshot.partial) text += ", partial";
  return snapshot.failed.empty() ? text : text + ", hook or dump failed";
}

std::string tags_text(const store::Notes& notes, const store::Snapshot& snapshot) {
  std::string text;
  for (const std::string& tag : store::tags_of(notes, snapshot)) {
    text += (text.empty() ? "" : ",") + printable(tag);
  }
  if (!store::is_pinned(notes, snapshot.id)) return text;
  return text + (text.empty() ? "(pinned)" : " (pinned)");
}

void print_table(Output& out, const std::vector<store::Snapshot>& list, const store::Notes& notes) {
  Table table({{"ID"},
               {"SOURCE"},
               {"INSTANT"},
               {"CONSISTENCY"},
               {"FILES", true},
               {"SIZE", true},
               {"ADDED", true},
               {"TAGS"}});
  for (const store::Snapshot& s : list) {
    table.add({s.id.hex().substr(0, 8), spelled_source(s), s.listed_name, consistency_text(s),
               count_text(s.files), size_text(s.bytes), size_text(s.added_bytes),
               tags_text(notes, s)});
  }
  for (const std::string& line : table.lines()) out.line(line);
}

// The snapshots of one source alone; `source` as on the command line.
Result<void> keep_only(const NamedSnapshots& named, const std::string& source,
                       std::vector<store::Snapshot>& list) {
  const fs::History* history = named.catalog().find(source);
  if (history == nullptr) {
    // resolve() has the message with the names that exist.
    TRY(named.catalog().resolve(
        {.source = source, .instant = "latest", .path = "", .has_path = false}, system_now()));
    return {};
  }
  std::erase_if(list, [&](const store::Snapshot& snapshot) {
    return std::none_of(history->records.begin(), history->records.end(),
                        [&](const fs::SnapshotPtr& kept) { return kept->id == snapshot.id; });
  });
  return {};
}

void keep_tagged(const store::Notes& notes, const std::vector<std::string>& wanted,
                 std::vector<store::Snapshot>& list) {
  std::erase_if(list, [&](const store::Snapshot& snapshot) {
    const auto tags = store::tags_of(notes, snapshot);
    return std::none_of(wanted.begin(), wanted.end(), [&](const std::string& tag) {
      return std::find(tags.begin(), tags.end(), tag) != tags.end();
    });
  });
}

Json described(const store::Notes& notes, const store::Snapshot& snapshot, bool trash) {
  Json object{{"message_type", "snapshot"}};
  object.update(Json::parse(fs::snapshot_json(snapshot)));
  object["tags"] = Json::array();
  for (const std::string& tag : store::tags_of(notes, snapshot)) {
    object["tags"].push_back(lossy_utf8(tag));
  }
  object["pinned"] = store::is_pinned(notes, snapshot.id);
  if (const auto verified = store::verified_at(notes, snapshot.id)) {
    object["verified"] = store::to_rfc3339(snapshot.zone, *verified);
  }
  const auto trashed = store::trashed_at(notes, snapshot.id);
  if (trash && trashed) object["trashed"] = store::to_rfc3339(snapshot.zone, *trashed);
  return object;
}

void print(Output& out, const std::vector<store::Snapshot>& list, const store::Notes& notes,
           const SnapshotsArguments& arguments) {
  if (out.json()) {
    for (const store::Snapshot& snapshot : list) {
      out.object(described(notes, snapshot, arguments.trash));
    }
  } else if (!list.empty()) {
    print_table(out, list, notes);
    out.info(counted(list.size(), "snapshot") + (arguments.trash ? " in the trash" : ""));
  } else if (arguments.trash) {
    out.info("the trash is empty");
  } else {
    out.info(arguments.tags.empty() ? "no snapshots yet; hint: bygone backup --help"
                                    : "no snapshot has that tag");
  }
}

Exit snapshots(Context& context, const SnapshotsArguments& arguments) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  std::vector<std::string> damaged, locked;
  auto list = arguments.trash ? repository->trashed_snapshots(&damaged, &locked)
                              : repository->snapshots(&damaged, &locked);
  if (!list.ok()) return context.fail(list.error());
  const auto notes = store::read_notes(*repository);
  if (!notes.ok()) return context.fail(notes.error());
  auto& unread = notes->locked() ? locked : damaged;
  unread.insert(unread.end(), notes->unreadable().begin(), notes->unreadable().end());
  if (!arguments.source.empty()) {
    const auto named =
        NamedSnapshots::read(*repository, arguments.trash ? Shelf::trash : Shelf::snapshots);
    const Result<void> kept =
        named.ok() ? keep_only(*named, arguments.source, *list) : Result<void>(named.error());
    if (!kept.ok()) return context.fail(kept.error());
  }
  if (!arguments.tags.empty()) keep_tagged(*notes, arguments.tags, *list);
  print(context.out, *list, *notes, arguments);
  for (const auto* list_of : {&locked, &damaged}) {
    for (const std::string& text : *list_of) context.out.error(text);
  }
  if (!damaged.empty()) return Exit::damage;
  return locked.empty() ? Exit::done : Exit::failed;
}

}  // namespace

Action add_snapshots(CLI::App& app) {
  const auto arguments = std::make_shared<SnapshotsArguments>();
  app.add_option("source", arguments->source, "only of this source")->type_name("SOURCE");
  app.add_option("--tag", arguments->tags, "only those with this tag; may be repeated")
      ->allow_extra_args(false)
      ->type_name("TAG");
  app.add_flag("--trash", arguments->trash, "those that were forgotten and can be brought back");
  app.footer(
      "Examples:\n"
      "  bygone snapshots\n"
      "  bygone snapshots db --tag before-upgrade\n"
      "  bygone snapshots --trash\n"
      "  bygone snapshots --json | jq -r .id");
  return [arguments](Context& context) { return snapshots(context, *arguments); };
}

}  // namespace bygone::cli
