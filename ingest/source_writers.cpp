// SPDX-License-Identifier: Apache-2.0
//
// Who can write to a source, and what that makes of its capture, as a part of source_backup.h.
#include <algorithm>

#include "ingest/source_backup.h"
#include "ingest/volume_pass.h"
#include "store/base/log.h"

namespace bygone::ingest {

using store::Consistency;
using store::Entry;

namespace {

constexpr const char* kUntold =
    "the engine does not tell whether a container began to run meanwhile";

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
  const Writer& first = found.writers.front();
  if (!now.is_gone(first.id)) return has_begun(first);
  return "container " + printable(first.name) +
         " ran meanwhile and is gone: it may have written to its volumes";
}

// What is not of one moment, for the reason `why`, is live, or fails who insists.
Result<void> SourceBackup::leave_moment(const std::string& why) {
  snapshot_.consistency = Consistency::live;
  if (options_.wish == Wish::live) return {};
  if (options_.wish != Wish::automatic) {
    return Error{Code::io, 0, why + "; hint: accept it with --consistency live"};
  }
  settle_for_live(why);
  return {};
}

void SourceBackup::settle_for_live(const std::string& why) {
  report_.live_because = why;
  warn(why + ": captured live");
}

Result<void> SourceBackup::take_up(const std::optional<RunningNow>& now) {
  if (!now) {
    const bool has_times = std::count(here_.begin(), here_.end(), nullptr) == 0;
    return is_idle() && !has_times ? leave_moment(kUntold) : Result<void>();
  }
  Newcomers found = now->beyond(source_, writer_ids());
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
  // It was read as idle: for a snapshot it is too late.
  if (options_.wish == Wish::snapshot) return leave_snapshot(Error{Code::unsupported, 0, why});
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
  if (!is_idle()) return {};
  const auto same = is_as_read();
  if (same && *same) return {};
  snapshot_.consistency = Consistency::live;
  if (!same) {
    // It may be gone by now: what was read of it is all there is.
    if (same.error().code == Code::cancelled) return same.error();
    return leave_moment("it could not be looked at once more: " + same.error().message);
  }
  disturbed_ = true;
  log::info(printable(source_.name) + " changed while it was read, though nothing runs on it");
  return {};
}

Result<void> SourceBackup::confirm_rest(const std::optional<RunningNow>& now) {
  if (!is_idle() || snapshot_.consistency != Consistency::idle) return {};
  auto why = now ? find_newcomer(*now) : std::nullopt;
  const auto same = is_as_read();
  if (!why && !(same && *same)) why = "it changed before the rest of its group stood still";
  return why ? leave_moment(*why) : Result<void>();
}

// Nobody could be held. Once more it may have been at rest; if not, `hot` is as good, and whole
// where all was being deleted.
Result<void> SourceBackup::confirm_still(const std::vector<Entry>& hot) {
  if (!writers().empty() || failed_capture_) return {};
  const auto same = is_as_read();
  if (same && *same) return {};
  if (!same && same.error().code == Code::cancelled) return same.error();
  roots_ = hot;
  return leave_moment("it changed meanwhile, though no container that runs can write to it");
}

Result<void> SourceBackup::judge(const Stillness& stillness) {
  std::string why_not = stillness.why_not;
  if (stillness.held && !writers().empty()) {
    why_not = stillness.after ? find_newcomer(*stillness.after).value_or("") : kUntold;
  }
  const bool held = stillness.held && why_not.empty();
  if (aside_ && !held) {
    warn(why_not + ": its backup mode is to end a moment after the rest of its group");
    aside_.reset();
    return {};
  }
  if (aside_) TRY(leave_native(Error(*aside_)));
  if (failed_capture_) {
    settle_for_live(*failed_capture_);
    return {};
  }
  snapshot_.instant = stillness.since != 0 ? stillness.since : options_.clock();
  if (!held) return leave_moment(why_not);
  snapshot_.consistency = writers().empty()                                  ? Consistency::idle
                          : is_by_snapshot()                                 ? Consistency::snapshot
                          : options_.wish == Wish::stop && stillness.stopped ? Consistency::stop
                                                                             : Consistency::freeze;
  if (options_.wish == Wish::stop && snapshot_.consistency == Consistency::freeze) {
    warn(
        "somebody else has paused one of its containers, or it crashes again and again: it was "
        "not stopped in good order");
  }
  snapshot_.window = stillness.window;
  snapshot_.skew = stillness.skew;
  return {};
}

}  // namespace bygone::ingest
