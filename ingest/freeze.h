// SPDX-License-Identifier: Apache-2.0
//
// Freezing and thawing containers so that a crash at any point leaves none of them frozen for
// good: an intent journal is durable before the first pause, and whoever finds the journal of a
// dead process puts back what ran before. One Freezer, one thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/source.h"
#include "store/base/clock.h"
#include "store/base/files.h"

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
  // tried again; when one cannot be paused at all, the others are resumed. Writers that have
  // ended meanwhile are frozen enough. Errors: unavailable, io, or the engine's refusal.
  Result<void> freeze(const std::vector<Writer>& writers);
  // Resumes all and removes the journal. True when every member was paused throughout: nobody
  // killed or resumed one from outside. Errors: when one could not be resumed; the journal stays.
  Result<bool> thaw();

  [[nodiscard]] Nanoseconds frozen_at() const { return frozen_at_; }  // after the last pause
  [[nodiscard]] Nanoseconds window() const { return window_; }  // first pause to last resume
  [[nodiscard]] Nanoseconds skew() const { return skew_; }      // first pause to last pause

 private:
  Result<void> write_journal(const std::vector<Writer>& writers);
  Result<void> remove_journal();
  Result<bool> pause(const Writer& writer);
  Result<void> resume_all();

  docker::Engine& engine_;
  std::string state_folder_;
  Clock clock_;
  Fd journal_;
  std::string journal_path_;
  std::vector<Writer> frozen_;
  Nanoseconds first_pause_ = 0;
  Nanoseconds frozen_at_ = 0;
  Nanoseconds window_ = 0;
  Nanoseconds skew_ = 0;
};

struct Thawed {
  std::string container;  // name
  bool was_paused = false;
};

// Whether a process that died left a journal behind. Cheap: needs no engine.
[[nodiscard]] bool has_dead_journals(const std::string& state_folder);
// Resumes what processes that died had frozen, and removes their journals. Those of living
// processes are left alone. Returns what was found. Errors: unavailable when the engine is needed
// and cannot be reached (the journals stay); io.
Result<std::vector<Thawed>> thaw_dead_journals(docker::Engine& engine,
                                               const std::string& state_folder);

}  // namespace bygone::ingest
