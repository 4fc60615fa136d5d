// SPDX-License-Identifier: Apache-2.0
#include "store/forget.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/alarm.h"
#include "cli/cancel.h"
#include "cli/duration.h"
#include "cli/named.h"
#include "cli/options.h"
#include "cli/prune.h"
#include "cli/text.h"
#include "ingest/backup.h"
#include "store/locks.h"
#include "store/memory.h"
#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "store/zone.h"

namespace bygone::cli {
namespace {

struct ForgetArguments {
  std::vector<std::string> targets;
  store::RetentionRules rules;
  bool dry_run = false;
  bool no_trash = false;
  bool prune = false;
  bool accept_rollback = false;
  bool accept_shrink = false;
  bool accept_clock = false;
  Nanoseconds retry_lock = 0;
};

bool names_snapshot(const std::string& target) {
  return target.starts_with("id:") || target.find('@') != std::string::npos;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + printable(word);
  return text;
}

class ForgetRun {
 public:
  ForgetRun(Context& context, store::Repository& repository, const ForgetArguments& arguments)
      : context_(context), repository_(repository), arguments_(arguments) {}

  Exit run();
  // There was an alarm that nobody accepted: what is named goes all the same, nothing is pruned.
  [[nodiscard]] bool alarmed() const { return alarmed_; }

 private:
  Result<void> by_name();
  Result<void> by_rule();
  Result<bool> rollback_is_accepted();
  Result<std::set<SourceId>> chosen_sources();
  void show(const store::ForgetPlan::Source& source);
  void say(const store::Snapshot& snapshot, bool keep, const std::vector<std::string>& reasons);
  Result<void> accept_shrunk(const store::ForgetPlan& plan);
  Result<void> let_go(const std::vector<store::Snapshot>& list);
  void summarise();

  Context& context_;
  store::Repository& repository_;
  const ForgetArguments& arguments_;
  const Nanoseconds now_ = system_now();
  std::size_t kept_ = 0, forgotten_ = 0, blocked_ = 0;
  bool alarmed_ = false;
  Exit exit_ = Exit::done;
};

// What is missing may be an attack; a rule would thin what is left of it.
Result<bool> ForgetRun::rollback_is_accepted() {
  if (arguments_.accept_rollback && !arguments_.dry_run) {
    TRY(store::accept_rollback(repository_, ingest::default_state_folder()));
    return true;
  }
  return !shows_rollback(context_, repository_) || arguments_.accept_rollback;
}

Result<std::set<SourceId>> ForgetRun::chosen_sources() {
  std::set<SourceId> chosen;
  if (arguments_.targets.empty()) return chosen;
  const auto named = TRY(NamedSnapshots::read(repository_, Shelf::snapshots));
  for (const std::string& target : arguments_.targets) {
    const fs::History* history = named.catalog().find(target);
    if (history == nullptr) {
      // resolve() has the message with the names that exist.
      TRY(named.catalog().resolve(
          {.source = target, .instant = "latest", .path = "", .has_path = false}, now_));
      continue;
    }
    for (const fs::SnapshotPtr& record : history->records) chosen.insert(record->source);
  }
  return chosen;
}

void ForgetRun::say(const store::Snapshot& snapshot, bool keep,
                    const std::vector<std::string>& reasons) {
  if (!context_.out.json()) return;
  Json object{{"message_type", "forget"}, {"id", snapshot.id.hex()}};
  put_raw(object, "source", snapshot.display_name);
  object["source_kind"] = store::to_text(snapshot.kind);
  object["instant"] = snapshot.listed_name;
  object["time"] = store::to_rfc3339(snapshot.zone, snapshot.instant);
  object["action"] = keep ? "keep" : "remove";
  object["reasons"] = Json::array();
  for (const std::string& reason : reasons) object["reasons"].push_back(lossy_utf8(reason));
  context_.out.object(object);
}

void ForgetRun::show(const store::ForgetPlan::Source& source) {
  const std::string name = spelled_source(source.snapshots.front());
  Table table({{"INSTANT"}, {"ID"}, {"ACTION"}, {"REASONS"}});
  for (std::size_t i = 0; i < source.snapshots.size(); ++i) {
    const store::Snapshot& snapshot = source.snapshots[i];
    const store::Verdict& verdict = source.thinning.verdicts[i];
    say(snapshot, verdict.keep, verdict.reasons);
    table.add({snapshot.listed_name, snapshot.id.hex().substr(0, 8),
               verdict.keep ? "keep" : "forget", joined(verdict.reasons)});
    if (verdict.keep) ++kept_;
  }
  if (!context_.out.json()) {
    context_.out.info(name);
    for (const std::string& line : table.lines()) context_.out.info("  " + line);
  }
  if (source.thinning.blocked.empty()) return;
  ++blocked_;
  context_.out.warning(name + ": nothing is forgotten: " + source.thinning.blocked);
}

// The next run shall not ask again.
Result<void> ForgetRun::accept_shrunk(const store::ForgetPlan& plan) {
  if (!arguments_.accept_shrink || arguments_.dry_run) return {};
  std::vector<store::NewNote> list;
  for (const auto& source : plan.sources) {
    for (const SnapshotId& id : source.thinning.shrunk) list.push_back(store::shrink_note(id));
  }
  const Fd lock = TRY(store::lock_names(repository_.files(), repository_.path(), Lock::exclusive));
  store::Notes notes = TRY(store::read_notes(repository_));
  return store::write_notes(repository_, notes, list, now_);
}

Result<void> ForgetRun::let_go(const std::vector<store::Snapshot>& list) {
  if (arguments_.dry_run) {
    forgotten_ += list.size();
    return {};
  }
  std::vector<SnapshotId> ids, lacking_note;
  for (const store::Snapshot& snapshot : list) ids.push_back(snapshot.id);
  const auto moved =
      TRY(arguments_.no_trash ? store::remove_for_good(repository_, list, now_, &lacking_note)
                              : store::move_to_trash(repository_, ids, now_));
  forgotten_ += moved.done.size();
  for (const SnapshotId& id : moved.pinned) {
    ++kept_;
    context_.out.error("snapshot " + id.hex().substr(0, 8) +
                       " is pinned and stays; hint: bygone unpin id:" + id.hex().substr(0, 8));
    exit_ = Exit::failed;
  }
  for (const SnapshotId& id : lacking_note) {
    context_.out.warning("snapshot " + id.hex() +
                         " was removed, but the full disk had no room to note that: verify will "
                         "name it as missing");
  }
  return {};
}

Result<void> ForgetRun::by_rule() {
  const auto chosen = TRY(chosen_sources());
  const auto plan = TRY(store::plan_forgetting(repository_, arguments_.rules,
                                               {.clock = system_now,
                                                .only = chosen,
                                                .accept_shrink = arguments_.accept_shrink,
                                                .accept_clock = arguments_.accept_clock}));
  for (const std::string& line : plan.damaged) {
    context_.out.error(line);
    exit_ = Exit::damage;
  }
  for (const auto& source : plan.sources) show(source);
  TRY(accept_shrunk(plan));
  return let_go(plan.let_go());
}

Result<void> ForgetRun::by_name() {
  const auto live = TRY(NamedSnapshots::read(repository_, Shelf::snapshots));
  const auto trash = TRY(NamedSnapshots::read(repository_, Shelf::trash));
  std::map<SnapshotId, store::Snapshot> list;  // by id: one may be named twice
  for (const std::string& target : arguments_.targets) {
    auto found = live.find(target);
    // What is in the trash already can still be removed for good.
    if (!found.ok() && arguments_.no_trash) {
      if (auto there = trash.find(target); there.ok()) found = std::move(there);
    }
    if (!found.ok()) return std::move(found).error();
    list.emplace((*found)->id, **found);
  }
  std::vector<store::Snapshot> named;
  for (const auto& [id, snapshot] : list) {
    say(snapshot, false, {"named"});
    context_.out.info(spelled(snapshot) + "  " + id.hex().substr(0, 8));
    named.push_back(snapshot);
  }
  return let_go(named);
}

void ForgetRun::summarise() {
  if (context_.out.json()) {
    return context_.out.object(Json{{"message_type", "summary"},
                                    {"snapshots_kept", kept_},
                                    {"snapshots_forgotten", forgotten_},
                                    {"sources_blocked", blocked_},
                                    {"trash", !arguments_.no_trash},
                                    {"dry_run", arguments_.dry_run}});
  }
  const std::string count = counted(forgotten_, "snapshot");
  if (arguments_.dry_run) return context_.out.info("would forget " + count);
  if (forgotten_ == 0) return context_.out.info("forgot nothing");
  context_.out.info(arguments_.no_trash
                        ? "removed " + count + " for good"
                        : "moved " + count +
                              " to the trash; bygone restore-snapshot brings them back");
}

Exit ForgetRun::run() {
  const CancelOnSignal cancel;
  const auto lock = retry_while_busy(arguments_.retry_lock, cancel.flag(), [&] {
    return store::lock_forget(repository_.files(), repository_.path());
  });
  // A dry run changes nothing, and works where nothing can be written.
  if (!lock.ok() && !arguments_.dry_run) return context_.fail(lock.error());
  const auto accepted = rollback_is_accepted();
  if (!accepted.ok()) return context_.fail(accepted.error());
  const bool named = !arguments_.targets.empty() && names_snapshot(arguments_.targets.front());
  alarmed_ = !*accepted;
  if (alarmed_ && !named) return Exit::damage;
  if (arguments_.rules.empty() && !named) {
    context_.out.info("the repository is taken as it is now");
    return Exit::done;
  }
  const auto done = named ? by_name() : by_rule();
  if (!done.ok()) return context_.fail(done.error());
  summarise();
  return exit_;
}

Exit forget(Context& context, const ForgetArguments& arguments) {
  const auto named = static_cast<std::size_t>(
      std::count_if(arguments.targets.begin(), arguments.targets.end(), names_snapshot));
  const bool has_rules = !arguments.rules.empty();
  if (named > 0 && (has_rules || named < arguments.targets.size())) {
    return context.usage(
        "snapshots by name and sources by rule are two things; hint: bygone forget --help");
  }
  const bool accepting = arguments.accept_rollback && arguments.targets.empty();
  if (named == 0 && !has_rules && !accepting) {
    return context.usage(
        "forget by which rule? Without one nothing would be kept; hint: --keep-daily 7 "
        "--keep-weekly 5, or SOURCE@INSTANT for one snapshot");
  }
  Exit exit = Exit::done;
  const auto repository = context.open(exit);
  if (repository == nullptr) return exit;
  ForgetRun run(context, *repository, arguments);
  const Exit forgotten = run.run();
  if (!arguments.prune || forgotten != Exit::done) return forgotten;
  if (run.alarmed()) {
    // As prune alone: what is missing may come back; what is deleted for want of it will not.
    context.out.error(
        "nothing is pruned while the repository shows less than this host has seen; hint: bygone "
        "prune --accept-rollback, if that is meant");
    return Exit::damage;
  }
  store::PruneOptions options;
  options.dry_run = arguments.dry_run;
  return run_prune(context, *repository, options, arguments.retry_lock);
}

void add_rules(CLI::App& app, store::RetentionRules& rules) {
  const char* const group = "What is kept";
  const auto number = [&](const char* name, std::uint64_t& target, const char* description) {
    app.add_option(name, target, description)->type_name("N")->group(group);
  };
  number("--keep-last", rules.last, "the newest N of each source");
  number("--keep-hourly", rules.hourly, "the newest of each of the last N hours that have one");
  number("--keep-daily", rules.daily, "the same of days");
  number("--keep-weekly", rules.weekly, "the same of weeks, which begin on Monday");
  number("--keep-monthly", rules.monthly, "the same of months");
  number("--keep-yearly", rules.yearly, "the same of years");
  add_duration(app, "--keep-within", rules.within, "all within this time of the newest: 7d");
  app.get_option("--keep-within")->group(group);
  app.add_option("--keep-tag", rules.tags, "all that have this tag; may be repeated")
      ->allow_extra_args(false)
      ->type_name("TAG")
      ->group(group);
}

}  // namespace

Action add_forget(CLI::App& app) {
  const auto arguments = std::make_shared<ForgetArguments>();
  app.add_option("targets", arguments->targets, "of these sources, or these snapshots by name")
      ->type_name("SOURCE|SNAPSHOT");
  add_rules(app, arguments->rules);
  app.add_flag("--dry-run", arguments->dry_run, "only say what would be forgotten, and why");
  app.add_flag("--no-trash", arguments->no_trash, "remove for good, now");
  app.add_flag("--prune", arguments->prune, "then free the space of what no snapshot needs");
  app.add_flag("--accept-shrink", arguments->accept_shrink,
               "snapshots with under half of what the one before them had are meant");
  app.add_flag("--accept-clock", arguments->accept_clock, "the clock is right, although it leapt");
  app.add_flag("--accept-rollback", arguments->accept_rollback,
               "the repository shows less than this host has seen, and that is meant");
  add_duration(app, "--retry-lock", arguments->retry_lock,
               "wait this long for another forget to end: 5m");
  app.footer(
      "Keeps the union of all rules, source by source, and moves the rest to the trash, from "
      "where\n"
      "bygone restore-snapshot brings it back. Hours, days, weeks, months and years are those of\n"
      "the place where the snapshot was made. Pinned snapshots stay, and of each source the "
      "newest\n"
      "complete and the newest verified one. Space is freed by prune.\n\n"
      "Examples:\n"
      "  bygone forget --keep-hourly 24 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 "
      "--dry-run\n"
      "  bygone forget db --keep-last 10 --keep-tag release\n"
      "  bygone forget db@2024-03-16T05:57\n"
      "  bygone forget --no-trash id:1a2b3c4d");
  return [arguments](Context& context) { return forget(context, *arguments); };
}

}  // namespace bygone::cli
