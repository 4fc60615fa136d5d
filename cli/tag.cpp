// SPDX-License-Identifier: Apache-2.0
//
// tag, pin and unpin: notes on snapshots.
#include <functional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/named.h"
#include "cli/options.h"
#include "cli/text.h"
#include "store/format.h"
#include "store/locks.h"
#include "store/snapshot_notes.h"

namespace bygone::cli {
namespace {

using MakeNote = std::function<std::optional<store::NewNote>(const store::Notes& notes,
                                                             const store::Snapshot& snapshot)>;

// Who forgets reads notes under the same lock: a pin is seen, or the snapshot is gone before it.
Result<std::size_t> write(store::Repository& repository, const std::vector<std::string>& names,
                          const MakeNote& make) {
  const Fd lock = TRY(store::lock_names(repository.files(), repository.path(), Lock::exclusive));
  const auto snapshots = TRY(NamedSnapshots::read(repository, Shelf::snapshots));
  store::Notes notes = TRY(store::read_notes(repository));
  std::map<SnapshotId, store::NewNote> list;  // by id: one may be named twice
  for (const std::string& name : names) {
    const fs::SnapshotPtr snapshot = TRY(snapshots.find(name));
    if (auto note = make(notes, *snapshot)) list.emplace(snapshot->id, std::move(*note));
  }
  std::vector<store::NewNote> wanted;
  wanted.reserve(list.size());
  for (auto& [id, note] : list) wanted.push_back(std::move(note));
  TRY(store::write_notes(repository, notes, wanted, system_now()));
  return wanted.size();
}

Exit annotate(Context& context, const std::vector<std::string>& names, const std::string& word,
              const MakeNote& make) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const auto changed = write(*repository, names, make);
  if (!changed.ok()) {
    return changed.error().code == Code::invalid ? context.usage(changed.error().message)
                                                 : context.fail(changed.error());
  }
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "summary"}, {"changed_snapshots", *changed}});
  }
  context.out.info(word + " " + counted(*changed, "snapshot") +
                   (*changed == 0 ? ": that is how it was already" : ""));
  return Exit::done;
}

struct TagArguments {
  std::string tag;
  std::vector<std::string> snapshots;
};

void add_snapshots_option(CLI::App& app, std::vector<std::string>& names) {
  app.add_option("snapshots", names, "SOURCE@INSTANT or id:1a2b")
      ->type_name("SNAPSHOT")
      ->required();
}

Action pinning(CLI::App& app, store::Pinning pinning, const char* word) {
  const auto names = std::make_shared<std::vector<std::string>>();
  add_snapshots_option(app, *names);
  return [names, pinning, word](Context& context) {
    return annotate(context, *names, word,
                    [pinning](const store::Notes& notes, const store::Snapshot& snapshot) {
                      return store::pin_note(notes, snapshot.id, pinning);
                    });
  };
}

}  // namespace

Action add_tag(CLI::App& app) {
  const auto arguments = std::make_shared<TagArguments>();
  app.require_subcommand(1);
  const CLI::App* adding = nullptr;
  for (const bool adds : {true, false}) {
    CLI::App* sub = app.add_subcommand(adds ? "add" : "remove",
                                       adds ? "give snapshots a tag" : "take a tag away");
    sub->add_option("tag", arguments->tag, "a word to remember snapshots by")
        ->type_name("TAG")
        ->required();
    add_snapshots_option(*sub, arguments->snapshots);
    if (adds) adding = sub;
  }
  app.footer(
      "Examples:\n"
      "  bygone tag add before-upgrade db@latest\n"
      "  bygone tag remove before-upgrade db@2024-03-16T05:57\n"
      "  bygone snapshots --tag before-upgrade");
  return [arguments, adding](Context& context) {
    const bool adds = adding->parsed();
    if (arguments->tag.empty() || arguments->tag.size() > store::kMaxTagBytes) {
      return context.usage("a tag has 1 to " + std::to_string(store::kMaxTagBytes) + " bytes");
    }
    return annotate(context, arguments->snapshots, adds ? "tagged" : "took the tag from",
                    [&](const store::Notes& notes, const store::Snapshot& snapshot) {
                      return store::tag_note(notes, snapshot,
                                             adds ? store::Tagging::add : store::Tagging::remove,
                                             arguments->tag);
                    });
  };
}

Action add_pin(CLI::App& app) {
  app.footer(
      "A pinned snapshot is never forgotten, whatever the rules, until it is unpinned.\n\n"
      "Example:\n"
      "  bygone pin db@2024-03-16T05:57");
  return pinning(app, store::Pinning::pin, "pinned");
}

Action add_unpin(CLI::App& app) {
  app.footer(
      "Example:\n"
      "  bygone unpin db@2024-03-16T05:57");
  return pinning(app, store::Pinning::unpin, "unpinned");
}

}  // namespace bygone::cli
