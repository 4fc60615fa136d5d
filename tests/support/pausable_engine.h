// SPDX-License-Identifier: Apache-2.0
//
// A BareEngine with one container that can be paused, and that counts what is made beside it. Any
// thread, but for the counts.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "tests/support/bare_engine.h"

namespace bygone::test {

class PausableEngine : public BareEngine {
 public:
  std::size_t containers_made = 0;
  std::atomic<bool> paused{false};

  Result<std::string> create_container(const std::string&, const std::string&) override {
    ++containers_made;
    return std::string("reader");
  }
  Result<std::vector<docker::ContainerSummary>> running_containers() override {
    return std::vector<docker::ContainerSummary>();
  }
  Result<std::vector<docker::Volume>> volumes() override { return std::vector<docker::Volume>(); }
  Result<docker::ContainerState> state(const std::string&) override {
    docker::ContainerState state;
    state.status = paused ? docker::Status::paused : docker::Status::running;
    state.running = true;
    state.paused = paused;
    return state;
  }
  Result<docker::Paused> pause(const std::string&, std::chrono::milliseconds) override {
    paused = true;
    return docker::Paused::paused;
  }
  Result<docker::Unpaused> unpause(const std::string&) override {
    paused = false;
    return docker::Unpaused::unpaused;
  }
};

}  // namespace bygone::test
