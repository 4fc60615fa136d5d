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

struct RecordCommand {
  const char* name;
  store::RecordKind kind;
  const char* about;
  const char* restored;  // what was written in place of what was moved
};

constexpr RecordCommand kRecordCommands[] = {
    {"snapshots", store::RecordKind::snapshot, "set damaged records aside",
     "written again from a copy"},
    {"trash", store::RecordKind::trashed, "the same for those of forgotten snapshots",
     "written again from a copy"},
    {"notes", store::RecordKind::note, "the same for notes", ""},
    {"lists", store::RecordKind::list, "the same for the lists of prune",
     "written again without packs"},
    {"keys", store::RecordKind::key, "the same for key slots that open for nobody", ""},
    {"config", store::RecordKind::config, "the same for the configuration and its copy",
     "written again"},
};

Exit list_damaged(Context& context, store::Repository& repository, store::RecordKind kind) {
  const auto found = store::find_damaged(repository, kind);
  if (!found.ok()) return context.fail(found.error());
  for (const store::DamagedRecord& record : *found) {
    if (context.out.json()) {
      context.out.object(Json{{"message_type", "damaged"},
                              {"id", record.name},
                              {"fault", record.fault},
                              {"can_be_restored", record.can_be_restored},
                              {"must_stay", record.must_stay}});
    }
    context.out.info(record.name + ": " + record.fault + "; " + record.remedy);
  }
  if (found->empty()) context.out.info("nothing is damaged");
  return found->empty() ? Exit::done : Exit::damage;
}

const char* no_name(store::RecordKind kind) {
  if (kind == store::RecordKind::list) return " is no number of a list";
  if (kind == store::RecordKind::config) return " is neither config nor config-copy";
  return " is no id of 32 hexadecimal digits";
}

Exit repair_records(Context& context, const RecordCommand& command,
                    const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (store::is_record_name(command.kind, name)) continue;
    return context.usage(printable(name) + no_name(command.kind));
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  if (names.empty()) return list_damaged(context, *repository, command.kind);
  for (const std::string& name : names) {
    const auto repaired = store::repair_record(*repository, command.kind, name);
    if (!repaired.ok()) return context.fail(repaired.error());
    if (context.out.json()) {
      context.out.object(Json{{"message_type", "repaired"},
                              {"id", name},
                              {"moved_to", repaired->moved_to},
                              {"restored", repaired->restored}});
    }
    std::string text = name + ": ";
    // What the disk cannot read has no copy to be moved.
    if (!repaired->moved_to.empty()) text += "moved to " + repaired->moved_to;
    if (repaired->restored) {
      text += (repaired->moved_to.empty() ? "" : ", and ") + std::string(command.restored);
    }
    context.out.info(text);
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
  std::vector<std::pair<CLI::App*, std::shared_ptr<std::vector<std::string>>>> records;
  for (const RecordCommand& command : kRecordCommands) {
    CLI::App* const sub = app.add_subcommand(command.name, command.about);
    records.emplace_back(sub, add_ids(*sub, "without any, the damaged ones are listed"));
  }
  app.footer(
      "Nothing is ever deleted: what is damaged is moved to the folder damaged/ of the\n"
      "repository, after what is good in it was copied. The index is a cache, and everything\n"
      "in it stands in the packs as well.\n\n"
      "packs reads every record, copies the good ones of a pack that is not whole to a new\n"
      "pack, and notes what is lost: the next backup stores it again where the source still\n"
      "has it. Ends with exit code 20 when something is lost.\n\n"
      "keys leaves a slot alone that may still open, and the one that opened the repository.\n\n"
      "Examples:\n"
      "  bygone repair index\n"
      "  bygone repair packs --dry-run\n"
      "  bygone repair snapshots");
  return [=](Context& context) {
    if (packs->parsed()) return repair_packs(context, *arguments);
    for (std::size_t i = 0; i < records.size(); ++i) {
      const auto& [sub, ids] = records[i];
      if (sub->parsed()) return repair_records(context, kRecordCommands[i], *ids);
    }
    return repair_index(context);
  };
}

}  // namespace bygone::cli
