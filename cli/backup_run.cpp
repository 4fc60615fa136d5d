// SPDX-License-Identifier: Apache-2.0
#include "cli/backup_run.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "cli/alarm.h"
#include "cli/backup_report.h"
#include "cli/cancel.h"
#include "cli/duration.h"
#include "cli/text.h"
#include "ingest/discover.h"
#include "ingest/freeze.h"
#include "ingest/judge.h"
#include "ingest/prepare.h"

namespace bygone::cli {
namespace {

class BackupRun {
 public:
  // All must outlive it.
  BackupRun(Context& context, store::Repository& repository, const ingest::Config& config,
            const BackupRequest& request)
      : context_(context),
        repository_(repository),
        config_(config),
        request_(request),
        limiter_(request.limit_read),
        spare_processor_(ingest::Surroundings::real().processors),
        options_(request.options) {
    options_.off_limits = ingest::off_limits(repository, Context::index_dir());
    options_.limiter = &limiter_;
    options_.spare_processor = &spare_processor_;
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
  const BackupRequest& request_;
  ingest::Limiter limiter_;
  ingest::SpareProcessor spare_processor_;
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
  for (const auto& [name, path] : request_.folders) {
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
    const auto& names = request_.sources;
    planned.source.named =
        std::find(names.begin(), names.end(), planned.source.name) != names.end();
    if (request_.all || planned.source.named) plans_.push_back(std::move(planned));
  }
}

Result<std::vector<ingest::Planned>> BackupRun::discover(const std::vector<std::string>& names) {
  engine_ = TRY(docker::connect(TRY(context_.engine_options())));
  const ingest::LastNames last = ingest::last_names(repository_);
  warn(last.warnings);
  const auto last_names = [&](store::SourceKind kind, const std::string& host,
                              const std::string& name) {
    return last.names(kind, request_.host.empty() ? host : request_.host, name);
  };
  return ingest::plan(*engine_, {.all = request_.all, .names = names}, last_names, config_);
}

void BackupRun::find_docker() {
  std::vector<std::string> names;
  for (const std::string& name : request_.sources) {
    if (config_.folders.count(name) == 0) names.push_back(name);
  }
  if (!request_.all && names.empty()) return;
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
  options.wish = request_.wish.value_or(options.wish);
  options.max_freeze = request_.max_freeze.value_or(options.max_freeze);
  if (request_.dump) options.dump = {.kind = *request_.dump};
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
  const auto report = retry_while_busy(request_.retry_lock, cancel_.flag(), [&] {
    return ingest::backup(
        session, planned.source, engine_.get(), options,
        [&](const ingest::BackupProgress& now) { reporter.update(now); }, cancel_.flag());
  });
  exits_.push_back(conclude(reporter, planned.source, report));
}

void BackupRun::back_up(store::Session& session, const Unit& unit) {
  if (unit.size() == 1) return back_up(session, *unit.front());
  std::vector<ingest::GroupMember> members;
  std::vector<std::unique_ptr<BackupReporter>> reporters;
  for (const ingest::Planned* planned : unit) {
    members.push_back({planned->source, options_of(*planned)});
    reporters.push_back(std::make_unique<BackupReporter>(context_.out, planned->source));
  }
  std::vector<Result<ingest::BackupReport>> reports;
  const auto progress = [&](std::size_t member, const ingest::BackupProgress& now) {
    reporters[member]->update(now);
  };
  // What it returns in the end is in the reports.
  (void)retry_while_busy(request_.retry_lock, cancel_.flag(), [&]() -> Result<void> {
    reports = ingest::backup_group(session, members, unit.front()->policy.group, engine_.get(),
                                   progress, cancel_.flag());
    for (const auto& report : reports) {
      if (!report.ok() && report.error().code == Code::busy) return report.error();
    }
    return {};
  });
  for (std::size_t i = 0; i < unit.size(); ++i) {
    exits_.push_back(conclude(*reporters[i], unit[i]->source, reports[i]));
  }
}

Exit BackupRun::run() {
  find_folders();
  find_docker();
  drop_disabled();
  for (ingest::Planned& planned : plans_) {
    if (!request_.host.empty()) planned.source.host_id = request_.host;
    for (const ingest::Problem& problem : planned.problems) {
      context_.out.warning(problem.where + ": " + problem.what);
    }
  }
  if (plans_.empty() && exits_.empty()) {
    context_.out.warning("nothing to back up: there is no container and no volume to take");
  }
  if (plans_.empty()) return gravest(exits_);
  auto session = retry_while_busy(request_.retry_lock, cancel_.flag(), [&] {
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

}  // namespace

Exit run_backups(Context& context, store::Repository& repository, const ingest::Config& config,
                 const BackupRequest& request) {
  return BackupRun(context, repository, config, request).run();
}

}  // namespace bygone::cli
