// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/select.h"
#include "cli/text.h"
#include "fs/summary.h"

namespace bygone::cli {
namespace {

std::string spelled_name(const store::Snapshot& snapshot) {
  const bool volume = snapshot.kind == store::SourceKind::volume;
  return (volume ? "volume:" : "") + printable(snapshot.display_name);
}

std::string consistency_text(const store::Snapshot& snapshot) {
  std::string text = store::to_text(snapshot.consistency);
  if (snapshot.window > 0) {
    text += " " + duration_text(static_cast<double>(snapshot.window) / 1e9);
  }
  return snapshot.partial ? text + ", partial" : text;
}

std::string tags_text(const store::Snapshot& snapshot) {
  std::string text;
  for (const std::string& tag : snapshot.tags) text += (text.empty() ? "" : ",") + printable(tag);
  return text;
}

void print_table(Output& out, const std::vector<store::Snapshot>& list) {
  Table table({{"ID"},
               {"SOURCE"},
               {"INSTANT"},
               {"CONSISTENCY"},
               {"FILES", true},
               {"SIZE", true},
               {"ADDED", true},
               {"TAGS"}});
  for (const store::Snapshot& s : list) {
    table.add({s.id.hex().substr(0, 8), spelled_name(s), s.listed_name, consistency_text(s),
               count_text(s.files), size_text(s.bytes), size_text(s.added_bytes), tags_text(s)});
  }
  for (const std::string& line : table.lines()) out.line(line);
}

// The snapshots of one source alone; `source` as on the command line.
Result<void> keep_only(store::Repository& repository, const std::string& source,
                       std::vector<store::Snapshot>& list) {
  const auto catalog = TRY(read_catalog(repository));
  const fs::History* history = catalog->find(source);
  if (history == nullptr) {
    // resolve() has the message with the names that exist.
    TRY(catalog->resolve({.source = source, .instant = "latest", .path = "", .has_path = false},
                         system_now()));
    return {};
  }
  std::erase_if(list, [&](const store::Snapshot& snapshot) {
    return std::none_of(history->records.begin(), history->records.end(),
                        [&](const fs::SnapshotPtr& kept) { return kept->id == snapshot.id; });
  });
  return {};
}

Exit snapshots(Context& context, const std::string& source) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  std::vector<std::string> damaged;
  auto list = repository->snapshots(&damaged);
  if (!list.ok()) return context.fail(list.error());
  if (!source.empty()) {
    const Result<void> kept = keep_only(*repository, source, *list);
    if (!kept.ok()) return context.fail(kept.error());
  }
  if (context.out.json()) {
    for (const store::Snapshot& snapshot : *list) {
      Json object{{"message_type", "snapshot"}};
      object.update(Json::parse(fs::snapshot_json(snapshot)));
      context.out.object(object);
    }
  } else if (list->empty()) {
    context.out.info("no snapshots yet; hint: bygone backup --help");
  } else {
    print_table(context.out, *list);
    context.out.info(counted(list->size(), "snapshot"));
  }
  for (const std::string& text : damaged) context.out.error(text);
  return damaged.empty() ? Exit::done : Exit::damage;
}

}  // namespace

Action add_snapshots(CLI::App& app) {
  const auto source = std::make_shared<std::string>();
  app.add_option("source", *source, "only of this source")->type_name("SOURCE");
  app.footer(
      "Examples:\n"
      "  bygone snapshots\n"
      "  bygone snapshots db\n"
      "  bygone snapshots --json | jq -r .id");
  return [source](Context& context) { return snapshots(context, *source); };
}

}  // namespace bygone::cli
