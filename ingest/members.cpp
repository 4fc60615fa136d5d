// SPDX-License-Identifier: Apache-2.0
#include "ingest/members.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace bygone::ingest {

std::vector<Writer> writers_of(const std::vector<Member*>& members) {
  std::vector<Writer> writers;
  std::set<std::string> ids;
  for (const Member* member : members) {
    for (Writer& writer : member->backup->writers()) {
      if (ids.insert(writer.id).second) writers.push_back(std::move(writer));
    }
  }
  return writers;
}

HookPair hooks_of(const Member& member, const std::vector<Member>& all, docker::Engine* engine) {
  // Whoever is to be stopped may take writers of another member with it.
  const bool any_stop = std::any_of(
      all.begin(), all.end(), [](const Member& one) { return one.options->wish == Wish::stop; });
  return HookPair(engine,
                  {.id = member.source->container_id,
                   .name = member.source->name,
                   .is_stopped = any_stop,
                   .state_folder = member.options->state_folder},
                  member.options->pre, member.options->post);
}

void run_post_hooks(const std::vector<Member*>& native) {
  for (Member* member : native) {
    if (member->failure || !member->backup->must_freeze()) member->hooks->after();
  }
}

void leave_snapshots(const std::vector<Member*>& members, const Error& why) {
  for (Member* member : members) {
    if (member->failure || !member->backup->is_by_snapshot()) continue;
    member->take(member->backup->leave_snapshot(why));
  }
}

void prepare(SubvolumeSnapshots& snapshots, const std::vector<Member*>& members) {
  for (Member* member : members) {
    if (member->backup->is_by_snapshot()) member->backup->add_to(snapshots);
  }
  if (snapshots.empty()) return;
  const auto prepared = snapshots.prepare();
  if (!prepared) leave_snapshots(members, prepared.error());
}

void take(SubvolumeSnapshots& snapshots, const std::vector<Member*>& members) {
  const bool any = std::any_of(members.begin(), members.end(), [](const Member* member) {
    return !member->failure && member->backup->is_by_snapshot();
  });
  if (!any || !snapshots.is_prepared()) return;
  const auto taken = snapshots.take();
  if (!taken) leave_snapshots(members, taken.error());
}

void end_natives(const std::vector<Member*>& native, Nanoseconds since) {
  for (Member* member : native) {
    if (!member->failure) member->take(member->backup->end_native(since));
  }
}

namespace {

// Work of a thread of its own, or of this one where none is to be had. Whoever stands still
// meanwhile must not do so for ever: what the work throws is thrown by join().
class Task {
 public:
  explicit Task(const std::function<void()>& work) : task_(work), done_(task_.get_future()) {
    try {
      thread_ = std::thread([this] { task_(); });
    } catch (const std::system_error&) {
      task_();
    }
  }
  ~Task() {
    if (thread_.joinable()) thread_.join();
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  [[nodiscard]] bool is_done_by(std::chrono::steady_clock::time_point deadline) const {
    return done_.wait_until(deadline) == std::future_status::ready;
  }
  void join() {
    if (thread_.joinable()) thread_.join();
    done_.get();
  }

 private:
  std::packaged_task<void()> task_;
  std::future<void> done_;
  std::thread thread_;
};

}  // namespace

Stillness capture_frozen(const std::vector<Member*>& native, const std::vector<Member*>& members,
                         Freezer& freezer, SubvolumeSnapshots& snapshots, Lookout& lookout) {
  const std::vector<Writer> writers = writers_of(members);
  auto limit = members.front()->options->max_freeze;
  for (const Member* member : members) limit = std::min(limit, member->options->max_freeze);
  std::set<std::string> to_stop;
  for (Member* member : members) {
    if (member->options->wish != Wish::stop) continue;
    for (const Writer& writer : writers_of({member})) to_stop.insert(writer.id);
  }
  Stillness stillness;
  std::optional<SpareProcessor::Hurry> hurry;
  if (SpareProcessor* spare = members.front()->options->spare_processor) hurry.emplace(*spare);
  auto frozen = freezer.freeze(writers, limit, to_stop);
  const auto deadline = freezer.deadline();
  const std::set<std::string> held = freezer.held();
  stillness.stopped = freezer.all_stopped();
  if (!frozen) {
    hurry.reset();
    stillness.why_not = frozen.error().message;
    // Whoever insists learns at once, and with the engine's own error.
    for (Member* member : members) {
      if (member->options->wish != Wish::automatic) member->fail(frozen.error());
    }
  }
  // A server that takes its time to end its mode is no reason to capture the others later.
  Task ending([&] { end_natives(native, freezer.frozen_at()); });
  Task capturing([&] {
    take(snapshots, members);
    for (Member* member : members) {
      const bool is_captured = member->backup->is_by_snapshot() || member->has_left_snapshot();
      if (!member->failure && !is_captured) member->take(member->backup->capture());
    }
  });
  const bool in_time = capturing.is_done_by(deadline);
  const bool ended_in_time = ending.is_done_by(deadline);
  if (!in_time) {
    for (Member* member : members) member->backup->let_go();
  }
  auto thawed = freezer.thaw();
  hurry.reset();
  stillness.held = frozen.ok() && in_time && thawed.ok() && *thawed;
  if (stillness.held) {
    stillness.after = lookout.look_after(held);
  } else {
    lookout.unwatch();
  }
  // Also while a capture that took too long goes on: nobody waits for it any more.
  for (Member* member : members) member->hooks->after();
  capturing.join();
  ending.join();
  run_post_hooks(native);
  if (!thawed) {
    for (Member* member : members) member->fail(thawed.error());
    return stillness;
  }
  if (!in_time) {
    stillness.why_not = "the freeze passed its limit of " + std::to_string(limit.count()) +
                        " ms (--max-freeze) and was ended";
  } else if (!*thawed) {
    stillness.why_not = "something from outside resumed a frozen container";
  }
  for (Member* member : native) {
    if (ended_in_time || member->failure || !member->backup->is_native()) continue;
    member->backup->warn("its backup mode ended after the rest of its group ran again");
  }
  stillness.since = freezer.frozen_at();
  stillness.window = freezer.window();
  stillness.skew = freezer.skew();
  return stillness;
}

}  // namespace bygone::ingest
