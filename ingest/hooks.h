// SPDX-License-Identifier: Apache-2.0
//
// Commands of the user that run in a container before and after it is captured (labels bygone.pre
// and bygone.post), through the engine's exec: never on this host, never through a shell of ours.
// One HookPair a source and snapshot; one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Hook {
  enum class OnError {
    fail,   // of a pre hook: no snapshot is made; of a post hook: it is made, and reported
    go_on,  // a warning
  };
  std::vector<std::string> command;           // argv
  std::string user;                           // name or uid[:gid]; empty: the container's own
  std::chrono::milliseconds timeout{30'000};  // then the command is ended, and has failed
  OnError on_error = OnError::fail;
};

// The hooks of one backup. Where the container does not run there is nothing to prepare: both are
// left out, with a warning.
class HookPair {
 public:
  // `engine` may be null when `container` (its id) is empty: a source that is none. Both hooks are
  // copied; `engine` must outlive the pair.
  HookPair(docker::Engine* engine, std::string container, std::optional<Hook> pre,
           std::optional<Hook> post)
      : engine_(engine),
        container_(std::move(container)),
        pre_(std::move(pre)),
        post_(std::move(post)) {}

  [[nodiscard]] bool any() const { return pre_ || post_; }
  // Runs the pre hook. Errors: hook when it failed and says so, with the last of its output;
  // cancelled (it is ended then); unavailable when the engine is gone.
  Result<void> before(const std::atomic<bool>& cancel);
  // Runs the post hook, once, when before() was called, whatever came of it: what the pre hook
  // began has to be ended after a failure and a cancel, too. Its failure is in failed() or
  // warnings().
  void after();

  [[nodiscard]] const std::vector<std::string>& failed() const { return failed_; }
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  bool can_run();
  Result<void> run(const Hook& hook, const char* name, const std::atomic<bool>& cancel);

  docker::Engine* engine_;
  std::string container_;
  std::optional<Hook> pre_, post_;
  bool post_is_due_ = false;
  std::vector<std::string> failed_;
  std::vector<std::string> warnings_;
};

}  // namespace bygone::ingest
