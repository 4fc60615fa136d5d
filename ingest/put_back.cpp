// SPDX-License-Identifier: Apache-2.0
#include "ingest/put_back.h"

#include <thread>
#include <utility>

namespace bygone::ingest {
namespace {

using docker::Engine;
using docker::Status;
using docker::Unpaused;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Engines fail at an unpause now and then under heavy I/O.
constexpr int kAttempts = 5;
constexpr milliseconds kFirstWait{50};  // doubles with every attempt
constexpr milliseconds kStopGlance{200};

Result<void> start(Engine& engine, const std::string& id) {
  milliseconds wait = kFirstWait;
  for (int attempt = 1;; ++attempt, wait *= 2) {
    auto done = engine.start(id);
    if (done) return {};
    if (attempt == kAttempts) return std::move(done).error();
    std::this_thread::sleep_for(wait);
  }
}

}  // namespace

Result<bool> unpause(Engine& engine, const std::string& id) {
  milliseconds wait = kFirstWait;
  for (int attempt = 1;; ++attempt, wait *= 2) {
    auto done = engine.unpause(id);
    if (done) return *done == Unpaused::unpaused;
    if (done.error().code == Code::not_found) return false;
    if (attempt == kAttempts) return std::move(done).error();
    std::this_thread::sleep_for(wait);
  }
}

Result<bool> start_stopped(Engine& engine, const FreezeRecord::Container& container,
                           milliseconds patience) {
  const auto end = steady_clock::now() + patience;
  for (;;) {
    const auto state = engine.state(container.id);
    if (!state && state.error().code == Code::not_found) return false;
    if (!state) return state.error();
    if (!container.started_at.empty() && state->started_at != container.started_at) return false;
    if (state->status == Status::exited) {
      TRY(start(engine, container.id));
      return true;
    }
    if (is_paused(*state) || steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kStopGlance);
  }
}

}  // namespace bygone::ingest
