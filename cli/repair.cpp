// SPDX-License-Identifier: Apache-2.0
#include "store/repair.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/cancel.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "store/chunk_store.h"

namespace bygone::cli {
namespace {

struct PackArguments {
  std::vector<std::string> packs;
  bool dry_run = false;
};

Exit repair_index(Context& context) {
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const Result<void> rebuilt = repository->chunks().rebuild_index();
  if (!rebuilt.ok()) return context.fail(rebuilt.error());
  if (context.out.json())
    context.out.object(Json{{"message_type", "summary"}, {"rebuilt", "index"}});
  context.out.info("rebuilt the index from the packs");
  return Exit::done;
}

void print_pack(Output& out, const store::PackRepair& pack, bool dry_run) {
  if (out.json()) {
    Json lost = Json::array();
    for (const ChunkId& chunk : pack.lost) lost.push_back(chunk.hex());
    return out.object(Json{{"message_type", "pack"},
                           {"pack", pack.pack.hex()},
                           {"fault", pack.fault},
                           {"records_kept", pack.kept},
                           {"records_lost", pack.lost.size()},
                           {"lost", lost},
                           {"complete", pack.complete},
                           {"new_pack", pack.copy ? Json(pack.copy->hex()) : Json(nullptr)},
                           {"moved_to", pack.moved_to},
                           {"dry_run", dry_run}});
  }
  std::string text = fmt::format("pack {}: {}; {} {}", pack.pack.hex(), pack.fault,
                                 counted(pack.kept, "record"), dry_run ? "can be kept" : "kept");
  if (!pack.lost.empty()) text += fmt::format(", {} lost", count_text(pack.lost.size()));
  if (!pack.complete) text += "; it may have held more";
  if (!pack.moved_to.empty()) text += "; moved to " + pack.moved_to;
  out.info(text);
  for (const ChunkId& chunk : pack.lost) out.info("  lost: chunk " + chunk.hex());
}

bool lost_anything(const store::RepairReport& report) {
  for (const store::PackRepair& pack : report.damaged) {
    if (!pack.lost.empty() || !pack.complete) return true;
  }
  return false;
}

Exit repair_packs(Context& context, const PackArguments& arguments) {
  store::RepairOptions options{.packs = {}, .dry_run = arguments.dry_run, .now = system_now()};
  for (const std::string& text : arguments.packs) {
    const auto id = PackId::from_hex_text(text);
    if (!id) {
      return context.usage(printable(text) +
                           " is no pack; hint: bygone verify names packs by 32 "
                           "hexadecimal digits");
    }
    options.packs.push_back(*id);
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  const CancelOnSignal cancel;
  Progress progress(context.out);
  ProgressState state;
  state.phase = "packs:";
  state.noun = "pack";
  const auto report = store::repair_packs(
      *repository, options,
      [&](std::uint64_t done, std::uint64_t total) {
        state.files_done = done;
        state.files_total = total;
        progress.update(state);
      },
      cancel.flag());
  if (!report.ok()) {
    context.out.progress_line("");
    return context.fail(report.error());
  }
  state.files_done = state.files_total;
  progress.finish(state);
  for (const store::PackRepair& pack : report->damaged) {
    print_pack(context.out, pack, arguments.dry_run);
  }
  const bool lost = lost_anything(*report);
  Json without_base = Json::array();
  for (const ChunkId& chunk : report->without_base) {
    without_base.push_back(chunk.hex());
    context.out.info("lost with its base: chunk " + chunk.hex());
  }
  if (context.out.json()) {
    context.out.object(Json{{"message_type", "summary"},
                            {"packs", report->packs},
                            {"packs_damaged", report->damaged.size()},
                            {"lost_with_base", without_base},
                            {"dry_run", arguments.dry_run}});
  }
  std::string text = fmt::format("looked at {}; {} damaged", counted(report->packs, "pack"),
                                 count_text(report->damaged.size()));
  if (lost) text += "; hint: back up again, then bygone verify tells what is still missing";
  context.out.info(text);
  return lost ? Exit::damage : Exit::done;
}

Exit list_damaged(Context& context, store::Repository& repository, store::RecordKind kind) {
  const bool snapshots = kind == store::RecordKind::snapshot;
  const auto found = store::find_damaged(repository, kind);
  if (!found.ok()) return context.fail(found.error());
  for (const store::DamagedRecord& record : *found) {
    if (context.out.json()) {
      context.out.object(Json{{"message_type", "damaged"},
                              {"id", record.name},
                              {"fault", record.fault},
                              {"can_be_restored", record.can_be_restored}});
    }
    context.out.info(record.name + ": " + record.fault +
                     (record.can_be_restored ? "; the index has a copy that is whole" : ""));
  }
  context.out.info(
      found->empty() ? std::string("nothing is damaged")
                     : fmt::format("hint: bygone repair {} ID moves one aside, and writes it again "
                                   "where a copy is left",
                                   snapshots ? "snapshots" : "notes"));
  return found->empty() ? Exit::done : Exit::damage;
}

Exit repair_records(Context& context, store::RecordKind kind,
                    const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!SnapshotId::from_hex_text(name)) {
      return context.usage(printable(name) + " is no id of 32 hexadecimal digits");
    }
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  if (names.empty()) return list_damaged(context, *repository, kind);
  for (const std::string& name : names) {
    const auto repaired = store::repair_record(*repository, kind, name);
    if (!repaired.ok()) return context.fail(repaired.error());
    if (context.out.json()) {
      context.out.object(Json{{"message_type", "repaired"},
                              {"id", name},
                              {"moved_to", repaired->moved_to},
                              {"restored", repaired->restored}});
    }
    context.out.info(name + ": moved to " + repaired->moved_to +
                     (repaired->restored ? ", and written again from the index" : ""));
  }
  return Exit::done;
}

std::shared_ptr<std::vector<std::string>> add_ids(CLI::App& app, const char* what) {
  auto names = std::make_shared<std::vector<std::string>>();
  app.add_option("id", *names, what)->type_name("ID");
  return names;
}

}  // namespace

Action add_repair(CLI::App& app) {
  app.require_subcommand(1);
  app.add_subcommand("index", "rebuild the index from the packs");
  CLI::App* const packs = app.add_subcommand("packs", "save what is good in damaged packs");
  const auto arguments = std::make_shared<PackArguments>();
  packs->add_option("pack", arguments->packs, "look at these packs only")->type_name("PACK");
  packs->add_flag("--dry-run", arguments->dry_run, "only say what would be done");
  CLI::App* const snapshots = app.add_subcommand("snapshots", "set damaged records aside");
  const auto snapshot_ids = add_ids(*snapshots, "without any, the damaged ones are listed");
  CLI::App* const notes = app.add_subcommand("notes", "set damaged notes aside");
  const auto note_ids = add_ids(*notes, "without any, the damaged ones are listed");
  app.footer(
      "Nothing is ever deleted: what is damaged is moved to the folder damaged/ of the\n"
      "repository, after what is good in it was copied. The index is a cache, and everything\n"
      "in it stands in the packs as well.\n\n"
      "packs reads every record, copies the good ones of a pack that is not whole to a new\n"
      "pack, and notes what is lost: the next backup stores it again where the source still\n"
      "has it. Ends with exit code 20 when something is lost.\n\n"
      "Examples:\n"
      "  bygone repair index\n"
      "  bygone repair packs --dry-run\n"
      "  bygone repair snapshots");
  return [=](Context& context) {
    if (packs->parsed()) return repair_packs(context, *arguments);
    if (snapshots->parsed()) {
      return repair_records(context, store::RecordKind::snapshot, *snapshot_ids);
    }
    if (notes->parsed()) return repair_records(context, store::RecordKind::note, *note_ids);
    return repair_index(context);
  };
}

}  // namespace bygone::cli
