// SPDX-License-Identifier: Apache-2.0
//
// Who can write to a source, and what that makes of its capture, as a part of source_backup.h.
#include <algorithm>

#include "ingest/source_backup.h"
#include "ingest/volume_pass.h"
#include "store/base/log.h"

namespace bygone::ingest {

using store::Consistency;

namespace {

std::string has_begun(const Writer& writer) {
  return "container " + printable(writer.name) + " has begun to run on its volumes";
}

}  // namespace

std::vector<Writer> SourceBackup::writers() const {
  std::vector<Writer> all = source_.writers;
  all.insert(all.end(), source_.restarting.begin(), source_.restarting.end());
  all.insert(all.end(), newcomers_.begin(), newcomers_.end());
  return all;
}

std::set<std::string> SourceBackup::writer_ids() const {
  std::set<std::string> ids;
  for (const Writer& writer : writers()) ids.insert(writer.id);
  return ids;
}

std::optional<std::string> SourceBackup::find_newcomer(const RunningNow& now) const {
  const Newcomers found = now.beyond(source_, writer_ids());
  if (found.writers.empty()) return std::nullopt;
  return has_begun(found.writers.front());
}

Result<void> SourceBackup::take_up(const RunningNow& now) {
  Newcomers found = now.beyond(source_, writer_ids());
  if (found.writers.empty()) return {};
  const std::string why = has_begun(found.writers.front());
  log::info(printable(source_.name) + ": " + why);
  newcomers_.insert(newcomers_.end(), found.writers.begin(), found.writers.end());
  written_.merge(found.volumes);
  snapshot_.consistency = Consistency::live;  // until it was judged
  if (native_) return leave_native(Error{Code::unsupported, 0, "PostgreSQL: " + why});
  if (is_by_snapshot()) {
    places_.clear();
    TRY(plan_snapshot());
    return is_by_snapshot() ? Result<void>() : read_hot();
  }
  return must_freeze() ? judge_transfer() : Result<void>();
}

// As far as times tell. What only its engine sees has none that can be believed.
Result<bool> SourceBackup::is_as_read() {
  for (std::size_t i = 0; i < here_.size(); ++i) {
    if (here_[i] != nullptr && !TRY(here_[i]->is_unchanged(roots_[i]))) return false;
  }
  return true;
}

Result<void> SourceBackup::confirm_idle() {
  if (!may_have_newcomers() || can_be_written()) return {};
  if (TRY(is_as_read())) return {};
  disturbed_ = true;
  snapshot_.consistency = Consistency::live;
  log::info(printable(source_.name) + " changed while it was read, though nothing runs on it");
  return {};
}

// Nobody could be held. Once more it may have been at rest.
Result<void> SourceBackup::confirm_still() {
  if (!writers().empty() || TRY(is_as_read())) return {};
  const std::string why = "it changed meanwhile, though no container that runs can write to it";
  if (options_.wish != Wish::automatic) {
    return Error{Code::io, 0, why + "; hint: --consistency live"};
  }
  snapshot_.consistency = Consistency::live;
  warn(why + ": captured live");
  return {};
}

Result<void> SourceBackup::judge(const Stillness& stillness) {
  if (aside_) {
    if (stillness.held) {
      TRY(leave_native(Error(*aside_)));
    } else {
      warn(stillness.why_not + ": captured natively, a moment after the rest of its group");
      aside_.reset();
      return {};
    }
  }
  if (failed_capture_) {
    warn(*failed_capture_ + ": captured live");
    return {};
  }
  snapshot_.instant = stillness.since != 0 ? stillness.since : options_.clock();
  if (stillness.held) {
    snapshot_.consistency = writers().empty()             ? Consistency::idle
                            : options_.wish == Wish::stop ? Consistency::stop
                            : is_by_snapshot()            ? Consistency::snapshot
                                                          : Consistency::freeze;
    snapshot_.window = stillness.window;
    snapshot_.skew = stillness.skew;
    return {};
  }
  snapshot_.consistency = Consistency::live;
  if (options_.wish == Wish::automatic) {
    warn(stillness.why_not + ": captured live");
    return {};
  }
  return Error{Code::io, 0, stillness.why_not + "; hint: accept it with --consistency live"};
}

}  // namespace bygone::ingest
