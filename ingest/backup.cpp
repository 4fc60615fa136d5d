// SPDX-License-Identifier: Apache-2.0
#include "ingest/backup.h"

#include <algorithm>
#include <cstdlib>
#include <tuple>
#include <utility>

#include <unistd.h>

#include "ingest/freeze.h"
#include "ingest/lookout.h"
#include "ingest/members.h"
#include "store/base/log.h"
#include "store/crypto.h"

namespace bygone::ingest {
namespace {

// The backups of one or several sources, phase by phase: none goes on to the next before all have
// come so far.
class Run {
 public:
  // `group` is empty for a source of its own.
  Run(store::Session& session, std::vector<Member> members, std::string group,
      docker::Engine* engine, const std::atomic<bool>& cancel)
      : session_(session),
        members_(std::move(members)),
        group_(std::move(group)),
        engine_(engine),
        lookout_(engine, host_view()),
        cancel_(cancel) {}

  std::vector<Result<BackupReport>> run();

 private:
  void record_image(Member& member);
  Result<void> claim(Member& member);
  void claim_all();
  void read(Member& member);
  [[nodiscard]] std::vector<Member*> with(bool (SourceBackup::*phase)() const);
  void hold();
  std::vector<Member*> hold_at_once(const std::vector<Member*>& native,
                                    std::vector<Member*> frozen);
  void hold_prepared(const std::vector<Member*>& prepared);
  void keep_one_native();
  void spare_natives();
  [[nodiscard]] const HostView* host_view() const;
  void take_up_newcomers(const std::vector<Member*>& members);
  void confirm_idle();
  void confirm_rest(const Stillness& stillness);
  void end_failed();
  std::vector<Member*> store_captured(const std::vector<Member*>& frozen,
                                      const Stillness& stillness);
  void prepare_again(Member& member);
  void capture_again(std::vector<Member*> members);
  void commit();
  [[nodiscard]] std::string missing() const;

  store::Session& session_;
  std::vector<Member> members_;
  std::string group_;
  docker::Engine* engine_;
  Lookout lookout_;
  const std::atomic<bool>& cancel_;
  Nanoseconds instant_ = 0;
};

void Run::record_image(Member& member) {
  const std::string& id = member.source->image_id;
  if (engine_ == nullptr || id.empty()) return;
  auto image = engine_->image(id);
  if (image) {
    member.backup->set_image_digests(std::move(image->repo_digests));
  } else if (image.error().code != Code::not_found) {  // a container may outlive its image's name
    member.backup->warn("the digests of its image are not recorded: " + image.error().message);
  }
}

Result<void> Run::claim(Member& member) {
  auto opened = SourceBackup::open(session_, *member.source, *member.options, member.progress,
                                   cancel_, members_.size());
  if (!opened) return std::move(opened).error();
  member.backup = std::move(*opened);
  return {};
}

// An instant of the group without one that somebody else backs up just now would be of little use:
// nobody is read before all have been claimed. Everybody claims in the same order, so that of two
// groups one gets all.
void Run::claim_all() {
  std::vector<Member*> in_order;
  for (Member& member : members_) in_order.push_back(&member);
  std::sort(in_order.begin(), in_order.end(), [](const Member* a, const Member* b) {
    return std::tie(a->source->kind, a->source->host_id, a->source->name) <
           std::tie(b->source->kind, b->source->host_id, b->source->name);
  });
  for (Member* member : in_order) {
    auto claimed = claim(*member);
    if (claimed) continue;
    member->fail(claimed.error());
    if (group_.empty() || claimed.error().code != Code::busy) continue;
    const Error error = std::move(claimed).error().with("group " + printable(group_));
    for (Member& other : members_) other.fail(error);
    return;
  }
}

void Run::read(Member& member) {
  record_image(member);
  member.hooks = hooks_of(member, members_, engine_);
  member.take(member.backup->dump(engine_));
  if (member.failure) return;
  const bool is_hot_pass = member.backup->must_freeze();
  if (is_hot_pass) {
    member.take(member.backup->read(engine_));
    if (member.failure || !member.backup->is_too_far() || !member.hooks->any()) return;
  }
  // This pass is the capture: nothing comes after it.
  member.take(member.hooks->before(cancel_));
  if (!member.failure) {
    member.take(is_hot_pass ? member.backup->read_after_hook() : member.backup->read(engine_));
  }
  member.hooks->after();
}

std::vector<Member*> Run::with(bool (SourceBackup::*phase)() const) {
  std::vector<Member*> found;
  for (Member& member : members_) {
    if (!member.failure && (*member.backup.*phase)()) found.push_back(&member);
  }
  return found;
}

const HostView* Run::host_view() const {
  const HostView* host = nullptr;
  for (const Member& member : members_) {
    if (member.source->host_view) host = member.source->host_view.get();
  }
  return host;
}

// Whoever can write to the members' volumes was looked up by the discovery, which may be long ago.
void Run::take_up_newcomers(const std::vector<Member*>& members) {
  if (members.empty()) return;
  const auto now = lookout_.look();
  for (Member* member : members) {
    if (!member->failure) member->take(member->backup->take_up(now));
  }
}

// Not where they fail: to end a session of a container that stands still takes seconds.
void Run::end_failed() {
  for (Member& member : members_) {
    if (member.failure && member.backup) member.backup->abandon();
  }
}

void Run::confirm_idle() {
  for (Member& member : members_) {
    if (!member.failure) member.take(member.backup->confirm_idle());
  }
}

// Stores what was captured of one moment, or without one. Returns those that have gone back to
// their backup mode.
std::vector<Member*> Run::store_captured(const std::vector<Member*>& frozen,
                                         const Stillness& stillness) {
  std::vector<Member*> native;
  for (Member* member : frozen) {
    if (member->failure || member->has_left_snapshot()) continue;
    member->take(member->backup->judge(stillness));
    if (member->failure) continue;
    if (member->backup->is_native()) {
      native.push_back(member);
    } else {
      member->take(member->backup->store());
    }
  }
  return native;
}

// Who was at rest when it was read must have been until the others stood still.
void Run::confirm_rest(const Stillness& stillness) {
  if (group_.empty() || !stillness.held) return;
  for (Member& member : members_) {
    if (!member.failure) member.take(member.backup->confirm_rest(stillness.after));
  }
}

// Backup modes end one after the other, and nobody stands still between two: whoever writes to one
// database and then to another would have the second in a snapshot without the first. So of a group
// one ends its mode, that with the longest freeze, and the others stand still meanwhile.
void Run::keep_one_native() {
  const std::vector<Member*> native = with(&SourceBackup::is_native);
  if (group_.empty() || native.size() < 2) return;
  const auto insists = [](const Member* m) { return m->options->wish == Wish::native; };
  const Member* kept =
      *std::max_element(native.begin(), native.end(), [&](const Member* a, const Member* b) {
        return std::pair(insists(a), a->backup->bytes_read()) <
               std::pair(insists(b), b->backup->bytes_read());
      });
  for (Member* member : native) {
    // One server is of one moment, whatever sources it is part of.
    if (member->backup->native_container() == kept->backup->native_container()) continue;
    if (insists(member)) {
      member->backup->warn("its backup mode ends a moment before or after that of " +
                           printable(kept->source->name) + ", which is native, too");
      continue;
    }
    member->take(member->backup->put_native_aside(
        Error{Code::unsupported, 0,
              printable(kept->source->name) + " of its group is, and only one can"}));
  }
}

// A database that is to stand still for somebody else cannot end its backup mode meanwhile.
void Run::spare_natives() {
  const std::vector<Writer> writers = writers_of(with(&SourceBackup::must_freeze));
  for (Member* member : with(&SourceBackup::is_native)) {
    const std::string& container = member->backup->native_container();
    const auto same = [&](const Writer& writer) { return writer.id == container; };
    if (std::none_of(writers.begin(), writers.end(), same)) continue;
    member->take(member->backup->put_native_aside(
        Error{Code::unsupported, 0, "its container is frozen for others of the group"}));
  }
}

// Captures the members of both kinds at one moment. Returns those of the second that have gone back
// to the first, because their freeze has failed.
std::vector<Member*> Run::hold_at_once(const std::vector<Member*>& native,
                                       std::vector<Member*> frozen) {
  std::optional<SubvolumeSnapshots> snapshots;
  if (!frozen.empty()) {
    const BackupOptions& first = *frozen.front()->options;
    snapshots.emplace(first.state_folder, first.clock);
    prepare(*snapshots, frozen);
  }
  // The last thing before the pause: what is dirty then lengthens it.
  for (Member* member : frozen) member->take(member->backup->sync());
  std::erase_if(frozen, [](const Member* member) {
    return member->failure.has_value() || member->has_left_snapshot();
  });
  if (frozen.empty()) {
    lookout_.unwatch();
    if (!native.empty() && !group_.empty()) instant_ = native.front()->options->clock();
    end_natives(native, instant_);
    run_post_hooks(native);
    return {};
  }
  CHECK(engine_ != nullptr);
  const BackupOptions& first = *frozen.front()->options;
  Freezer freezer(*engine_, first.state_folder, first.clock);
  const Nanoseconds begun = first.clock();
  const Stillness stillness = capture_frozen(native, frozen, freezer, *snapshots, lookout_);
  end_failed();
  confirm_rest(stillness);
  if (instant_ == 0) instant_ = stillness.since;
  if (instant_ == 0 && !native.empty()) instant_ = begun;  // what is later they do not have
  std::vector<Member*> back = store_captured(frozen, stillness);
  end_natives(back, instant_);
  const auto removed = snapshots->remove();
  if (removed) return back;
  for (Member* member : frozen) {
    if (!member->failure && member->backup->is_by_snapshot()) {
      member->backup->warn(removed.error().message + "; hint: bygone thaw");
    }
  }
  return back;
}

// For a member that is held later than the others: its hooks have run for nothing.
void Run::prepare_again(Member& member) {
  member.take(member.backup->look_ahead());
  if (!member.failure) member.take(member.hooks->before(cancel_));
}

// For the members whose snapshot by the file system did not come about: they have had no hot pass.
void Run::capture_again(std::vector<Member*> members) {
  std::erase_if(members, [](const Member* member) { return !member->has_left_snapshot(); });
  for (Member* member : members) {
    member->hooks->after();
    if (!group_.empty()) member->backup->warn("it is captured later than the rest of its group");
    member->take(member->backup->read_hot());
    if (!member->failure) prepare_again(*member);
  }
  if (members.empty()) return;
  lookout_.watch();
  take_up_newcomers(members);
  hold_at_once({}, std::move(members));
}

void Run::hold() {
  end_failed();
  confirm_idle();
  take_up_newcomers(with(&SourceBackup::may_have_newcomers));
  spare_natives();
  keep_one_native();
  spare_natives();  // those that it has stand still may hold another
  std::vector<Member*> prepared = with(&SourceBackup::must_freeze);
  for (Member* member : with(&SourceBackup::is_native)) prepared.push_back(member);
  for (Member* member : prepared) {
    if (member->backup->must_freeze()) member->take(member->backup->look_ahead());
  }
  for (Member* member : prepared) {
    if (!member->failure) member->take(member->hooks->before(cancel_));
    if (member->failure) member->hooks->after();
  }
  hold_prepared(prepared);
  end_failed();
  for (Member& member : members_) {
    if (member.hooks) member.hooks->after();
  }
}

void Run::hold_prepared(const std::vector<Member*>& prepared) {
  // Where nobody was prepared no time has passed since the last look.
  if (!prepared.empty()) {
    lookout_.watch();
    take_up_newcomers(with(&SourceBackup::may_have_newcomers));
  }
  std::vector<Member*> native = with(&SourceBackup::is_native);
  for (Member* member : with(&SourceBackup::must_freeze)) {
    const bool is_late = std::find(prepared.begin(), prepared.end(), member) == prepared.end();
    if (is_late) prepare_again(*member);
  }
  const std::vector<Member*> frozen = with(&SourceBackup::must_freeze);
  const std::vector<Member*> back = hold_at_once(native, frozen);
  native.insert(native.end(), back.begin(), back.end());
  take_up_newcomers(native);
  for (Member* member : native) {
    if (!member->failure && member->backup->is_native()) member->take(member->backup->amend());
  }
  capture_again(frozen);
  std::vector<Member*> left;
  for (Member* member : native) {
    if (member->failure || !member->backup->must_freeze()) continue;
    if (!group_.empty()) member->backup->warn("it is captured later than the rest of its group");
    member->hooks->after();
    prepare_again(*member);
    if (!member->failure) left.push_back(member);
  }
  if (left.empty()) return;
  lookout_.watch();
  take_up_newcomers(left);
  hold_at_once({}, std::move(left));
}

// Names of the members that have failed; empty for none.
std::string Run::missing() const {
  std::string names;
  for (const Member& member : members_) {
    if (member.failure) names += (names.empty() ? "" : ", ") + printable(member.source->name);
  }
  return names;
}

void Run::commit() {
  if (!group_.empty()) {
    GroupRun group{.name = group_, .run = store::random_id<store::RunId>(), .members = {}};
    for (const Member& member : members_) group.members.push_back(member.source->name);
    if (instant_ == 0) instant_ = members_.front().options->clock();
    const std::string without = missing();
    for (Member& member : members_) {
      if (member.failure) continue;
      member.backup->set_group(group, instant_);
      if (!without.empty()) {
        member.backup->warn("group " + printable(group_) +
                            " is incomplete at this instant: " + "without " + without);
      }
    }
  }
  for (Member& member : members_) {
    if (member.failure) continue;
    auto report = member.backup->commit();
    if (report) {
      member.report = std::move(*report);
    } else {
      member.fail(std::move(report).error());
    }
  }
}

std::vector<Result<BackupReport>> Run::run() {
  std::optional<SpareProcessor::Watch> watch;
  if (SpareProcessor* spare = members_.front().options->spare_processor) watch.emplace(*spare);
  claim_all();
  for (Member& member : members_) {
    if (!member.failure) read(member);
    if (cancel_) break;
  }
  if (cancel_) {
    for (Member& member : members_) member.fail(Error{Code::cancelled, 0, "cancelled"});
  }
  hold();
  for (Member& member : members_) {
    if (member.hooks) member.take_hooks();
  }
  commit();
  std::vector<Result<BackupReport>> outcomes;
  for (Member& member : members_) {
    if (member.failure) {
      outcomes.emplace_back(std::move(*member.failure));
    } else {
      outcomes.emplace_back(std::move(*member.report));
    }
  }
  return outcomes;
}

}  // namespace

std::string default_state_folder() {
  if (const char* folder = std::getenv("BYGONE_STATE_DIR"); folder != nullptr && *folder != '\0') {
    return folder;
  }
  if (::geteuid() == 0) return "/var/lib/bygone";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/tmp") + "/.local/state/bygone";
}

Result<BackupReport> backup(store::Session& session, const Source& source, docker::Engine* engine,
                            const BackupOptions& options, const ProgressCallback& progress,
                            const std::atomic<bool>& cancel) {
  std::vector<Member> members(1);
  members[0].source = &source;
  members[0].options = &options;
  members[0].progress = progress;
  return std::move(Run(session, std::move(members), "", engine, cancel).run().front());
}

std::vector<Result<BackupReport>> backup_group(store::Session& session,
                                               const std::vector<GroupMember>& group,
                                               const std::string& name, docker::Engine* engine,
                                               const GroupProgress& progress,
                                               const std::atomic<bool>& cancel) {
  CHECK(!name.empty());
  std::vector<Member> members(group.size());
  for (std::size_t i = 0; i < group.size(); ++i) {
    members[i].source = &group[i].source;
    members[i].options = &group[i].options;
    if (progress) {
      members[i].progress = [&progress, i](const BackupProgress& now) { progress(i, now); };
    }
  }
  return Run(session, std::move(members), name, engine, cancel).run();
}

}  // namespace bygone::ingest
