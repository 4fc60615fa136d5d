// SPDX-License-Identifier: Apache-2.0
//
// Freezing and thawing containers so that a crash at any point leaves none of them frozen for
// good: an intent journal (freeze_journal.h) is durable before the first pause, and whoever finds
// the journal of a dead process puts back what ran before. Those that are wanted so are stopped
// instead, and started again. One Freezer, one thread; it starts
// threads of its own, one a container, and they end before its calls return.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/freeze_journal.h"
#include "ingest/put_back.h"
#include "ingest/source.h"
#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::ingest {

class Freezer {
 public:
  // `engine` must outlive it. Containers that somebody else has paused are left as they are.
  Freezer(docker::Engine& engine, std::string state_folder, Clock clock);
  // Thaws what is still frozen.
  ~Freezer();
  Freezer(const Freezer&) = delete;
  Freezer& operator=(const Freezer&) = delete;

  // Writes the journal, then pauses all `writers` at once. A pause that the engine refuses is
  // tried again; when one cannot be paused within `deadline` (in all), the others are resumed.
  // Writers that have ended meanwhile, or wait in a crash loop for their next start (an engine
  // cannot pause those), are frozen enough: nothing of them runs now, and thaw() tells if that
  // changed. Once for each thaw(). Errors: unavailable, io, or the engine's refusal; if then a
  // container could not be resumed either, the message says so, the journal stays and thaw() (or
  // `bygone thaw`) may be tried.
  // Writers whose id is in `to_stop` are stopped first; the time that each has for its end, ten
  // seconds unless it was made with another stop timeout, does not count for the deadline.
  // Unsupported for one that its engine would remove then (--rm), or that has no stop timeout.
  Result<void> freeze(const std::vector<Writer>& writers,
                      std::chrono::milliseconds deadline = std::chrono::seconds(10),
                      const std::set<std::string>& to_stop = {});
  // When the time for it is over that freeze() was given.
  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const { return deadline_; }
  // Resumes and starts all and removes the journal. True when every member stood still: nobody
  // killed, resumed or started one from outside, those that somebody else paused included.
  // Errors: when one could not be resumed (may be tried again); the journal stays.
  Result<bool> thaw();

  // Ids of those that freeze() has paused or stopped itself, until thaw().
  [[nodiscard]] std::set<std::string> held() const;
  // Whether nothing of those that were to be stopped runs, for each was stopped or had ended.
  [[nodiscard]] bool all_stopped() const;
  [[nodiscard]] Nanoseconds frozen_at() const { return frozen_at_; }  // after the last pause
  [[nodiscard]] Nanoseconds window() const { return window_; }        // first pause to last resume
  [[nodiscard]] Nanoseconds skew() const { return skew_; }            // first pause to last pause

 private:
  struct Member {
    FreezeRecord::Container container;
    enum class Hold {
      none,     // not paused by us: not yet, or no longer
      ours,     // paused by us and nobody else
      unsure,   // a pause failed, and may take hold all the same
      foreign,  // paused by somebody else
      ended,    // nothing of it runs
    } hold = Hold::none;
    std::chrono::seconds stop_timeout{0};  // of one that is to be stopped
    bool crash_loop = false;               // has ended, and will be started again
    bool listed = false;                   // in the journal
    bool lasted = true;                    // stayed as it was until thaw()
    std::optional<Error> failure;
  };
  using Deadline = std::chrono::steady_clock::time_point;

  void look(Member& member);
  void pause(Member& member, Deadline deadline, std::atomic<bool>& give_up);
  void stop(Member& member);
  void prepare_stop(Member& member);
  void resume(Member& member);
  void start_again(Member& member);
  void check_stayed(Member& member);
  Result<void> prepare(const std::vector<Writer>& writers, const std::set<std::string>& to_stop);
  Result<void> open_journal();
  Result<void> settle_journal();
  Result<void> resume_all();
  [[nodiscard]] Error undo(Error cause);
  [[nodiscard]] FreezeRecord record(Member::Hold hold) const;
  Result<void> freeze_claimed(const std::vector<Writer>& writers,
                              std::chrono::milliseconds deadline,
                              const std::set<std::string>& to_stop);

  docker::Engine& engine_;
  std::string state_folder_;
  Clock clock_;
  FreezeJournal journal_;
  std::vector<Member> members_;
  std::set<std::string> claimed_;  // ids of containers that no other freeze of this process touches
  Deadline deadline_{};
  Nanoseconds begun_ = 0;
  Nanoseconds first_pause_ = 0;
  Nanoseconds frozen_at_ = 0;
  Nanoseconds window_ = 0;
  Nanoseconds skew_ = 0;
};

struct Thawed {
  std::string container;  // name
  bool was_paused = false;
  bool was_stopped = false;
};

// Whether anything is frozen or stopped, or about to be, by this process or another. Cheap.
[[nodiscard]] bool has_journals(const std::string& state_folder);
// Whether a process that died left a journal behind, be it one that cannot be read. Cheap: needs
// no engine.
[[nodiscard]] bool has_dead_journals(const std::string& state_folder);
// Resumes and starts what processes that died had frozen or stopped, all at once, and removes their
// journals. Those of living processes are left alone, and so is a container that was started anew
// since. Returns what was found. Errors: unavailable when the engine is needed and cannot be
// reached, or when a journal is about another engine; corrupt or unsupported for a journal that
// cannot be read; io. Each names the journal, which stays; all other journals are seen to first.
Result<std::vector<Thawed>> thaw_dead_journals(docker::Engine& engine,
                                               const std::string& state_folder,
                                               Late late = Late::wait);

}  // namespace bygone::ingest
