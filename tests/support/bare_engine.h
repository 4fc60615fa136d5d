// SPDX-License-Identifier: Apache-2.0
//
// An engine that answers `unsupported` to every call: what test doubles derive from, so that each
// writes down only the calls that its tests are about. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"

namespace bygone::test {

class BareEngine : public docker::Engine {
 public:
  [[nodiscard]] std::string address() const override { return "unix:///run/bare.sock"; }
  [[nodiscard]] std::string socket_path() const override { return "/run/bare.sock"; }
  Result<docker::EngineInfo> info() override { return no(); }
  Result<std::vector<docker::ContainerSummary>> containers() override { return no(); }
  Result<std::vector<docker::ContainerSummary>> running_containers() override { return no(); }
  Result<docker::Container> container(const std::string&) override { return no(); }
  Result<docker::ContainerState> state(const std::string&) override { return no(); }
  Result<std::vector<docker::Volume>> volumes() override { return no(); }
  Result<docker::Volume> volume(const std::string&) override { return no(); }
  Result<docker::Paused> pause(const std::string&, std::chrono::milliseconds) override {
    return no();
  }
  Result<docker::Unpaused> unpause(const std::string&) override { return no(); }
  Result<docker::Stopped> stop(const std::string&, std::chrono::seconds) override { return no(); }
  Result<docker::Started> start(const std::string&) override { return no(); }
  Result<std::string> create_container(const std::string&, const std::string&) override {
    return no();
  }
  Result<void> remove_container(const std::string&, docker::RemoveVolumes, docker::Force) override {
    return no();
  }
  Result<void> remove_volume(const std::string&) override { return no(); }
  Result<void> import_empty_image(const std::string&, const std::string&) override { return no(); }
  Result<docker::Image> image(const std::string&) override { return no(); }
  Result<void> remove_image(const std::string&) override { return no(); }
  Result<std::vector<docker::Change>> changes(const std::string&) override { return no(); }
  Result<void> archive(const std::string&, const std::string&,
                       const std::function<Result<void>(ByteView)>&,
                       const std::atomic<bool>&) override {
    return no();
  }
  Result<std::vector<std::string>> top(const std::string&) override { return no(); }
  Result<std::unique_ptr<docker::Exec>> exec(const docker::ExecRequest&) override { return no(); }
  Result<std::unique_ptr<docker::EventStream>> events(const std::vector<std::string>&,
                                                      const std::vector<std::string>&,
                                                      std::int64_t) override {
    return no();
  }

 private:
  static Error no() { return {Code::unsupported, 0, "this double does not know the call"}; }
};

}  // namespace bygone::test
