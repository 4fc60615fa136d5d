// SPDX-License-Identifier: Apache-2.0
#include "ingest/put_back.h"

#include <thread>
#include <utility>

#include "ingest/container_claims.h"

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

Result<StartedAgain> start_unless_held(Engine& engine, const FreezeRecord::Container& found) {
  const auto claimed = container_claims().take({found.id}, steady_clock::now());
  if (!claimed) return StartedAgain::held;
  auto started = start_stopped(engine, found, milliseconds(0));
  container_claims().give({found.id});
  return started;
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

Result<StartedAgain> start_stopped(Engine& engine, const FreezeRecord::Container& container,
                                   milliseconds patience) {
  const auto end = steady_clock::now() + patience;
  for (;;) {
    const auto state = engine.state(container.id);
    if (!state && state.error().code == Code::not_found) return StartedAgain::left;
    if (!state) return state.error();
    const bool same_run = container.started_at.empty() || state->started_at == container.started_at;
    if (!same_run || is_paused(*state)) return StartedAgain::left;
    if (state->status == Status::exited) {
      TRY(start(engine, container.id));
      return StartedAgain::started;
    }
    if (steady_clock::now() >= end) return StartedAgain::runs_yet;
    std::this_thread::sleep_for(kStopGlance);
  }
}

Result<StartedAgain> start_found(Engine& engine, const FreezeRecord::Container& found, Late late) {
  const auto container = engine.container(found.id);
  if (!container && container.error().code == Code::not_found) return StartedAgain::left;
  if (!container) return container.error();
  const auto end = steady_clock::now() + late_stop(container->stop_timeout);
  for (;;) {
    auto started = start_unless_held(engine, found);
    const bool goes_on =
        started.ok() && (*started == StartedAgain::runs_yet || *started == StartedAgain::held);
    if (!goes_on || late == Late::leave || steady_clock::now() >= end) return started;
    std::this_thread::sleep_for(kStopGlance);
  }
}

}  // namespace bygone::ingest
