// SPDX-License-Identifier: Apache-2.0
//
// The commands before and after the capture of one container (hook.h). What the first one begins,
// the second one ends: a journal says so before the first one starts, so that whoever finds the
// journal of a process that died runs the second one (owed_hooks.h). One HookPair a source and
// snapshot; one thread.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/hook.h"
#include "ingest/intent_journal.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct HookedContainer {
  std::string id;            // empty: a source that is no container
  std::string name;          // of the source, for messages
  bool is_stopped = false;   // it may be stopped for the capture, and started again
  std::string state_folder;  // where the journal is kept
};

// The hooks of one backup. Where the container does not run there is nothing to prepare: both are
// left out, with a warning.
class HookPair {
 public:
  // `engine` may be null when there is no container, and must outlive the pair.
  HookPair(docker::Engine* engine, HookedContainer container, std::optional<Hook> pre,
           std::optional<Hook> post)
      : engine_(engine),
        container_(std::move(container)),
        pre_(std::move(pre)),
        post_(std::move(post)) {}

  [[nodiscard]] bool any() const { return pre_ || post_; }
  // Runs what an earlier backup owed to the container, writes the journal of the post hook, and
  // runs the pre hook. Errors: those of run_hook(); io, no_space or denied when the journal cannot
  // be written.
  Result<void> before(const std::atomic<bool>& cancel);
  // Runs the post hook, once, when before() was called, whatever came of it: what the pre hook
  // began has to be ended after a failure and a cancel, too. Its failure is in failed() or
  // warnings(). When the engine is gone the journal stays, for whoever sees it come back. Where the
  // container stands still, for it could not be thawed, the next call tries it again.
  void after();
  // After the last after(): what still could not run is in failed() or warnings(), and owed.
  void leave_owed();

  [[nodiscard]] const std::vector<std::string>& failed() const { return failed_; }
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  void settle(const std::atomic<bool>& cancel);
  bool runs();
  bool stands_still();
  Result<void> open_journal();
  void note(std::string why);

  docker::Engine* engine_;
  HookedContainer container_;
  std::optional<Hook> pre_, post_;
  std::string started_at_;  // empty when unknown
  IntentJournal journal_;
  bool post_is_due_ = false;
  std::string waits_because_;  // of a post hook that is due and could not run
  std::vector<std::string> failed_;
  std::vector<std::string> warnings_;
};

}  // namespace bygone::ingest
