// SPDX-License-Identifier: Apache-2.0
//
// An engine of containers and volumes that a test writes down, for discovery: it answers from its
// public members and pauses nothing. One thread.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ingest/docker/engine.h"
#include "tests/support/bare_engine.h"

namespace bygone::test {

class ListedEngine final : public BareEngine {
 public:
  std::string socket = "/run/engine.sock";  // empty: reached over TCP
  docker::EngineInfo identity;
  std::vector<docker::Container> all;
  std::vector<docker::Volume> listed_volumes;
  std::vector<docker::Volume> unlisted_volumes;  // known to volume() alone
  std::map<std::string, Error> inspect_errors;   // by container id
  std::vector<std::string> inspected;            // ids, in order
  std::size_t volume_lists = 0;                  // how often they were listed

  [[nodiscard]] std::string address() const override {
    return socket.empty() ? "tcp://far:2376" : "unix://" + socket;
  }
  [[nodiscard]] std::string socket_path() const override { return socket; }
  Result<docker::EngineInfo> info() override { return identity; }

  Result<std::vector<docker::ContainerSummary>> containers() override {
    std::vector<docker::ContainerSummary> list;
    for (const docker::Container& c : all) {
      list.push_back({c.id, c.name, c.labels, c.state.status, c.mounts, c.image, c.image_id});
    }
    return list;
  }

  Result<std::vector<docker::ContainerSummary>> running_containers() override {
    std::vector<docker::ContainerSummary> list = TRY(containers());
    std::erase_if(list, [](const docker::ContainerSummary& c) {
      return c.status != docker::Status::running && c.status != docker::Status::paused &&
             c.status != docker::Status::restarting;
    });
    return list;
  }

  Result<docker::Container> container(const std::string& id) override {
    inspected.push_back(id);
    const auto error = inspect_errors.find(id);
    if (error != inspect_errors.end()) return error->second;
    for (const docker::Container& c : all) {
      if (c.id == id) return c;
    }
    return Error{Code::not_found, 0, "No such container: " + id};
  }

  Result<docker::ContainerState> state(const std::string& id) override {
    return TRY(container(id))
    .state;
  }

  Result<std::vector<docker::Volume>> volumes() override {
    ++volume_lists;
    return listed_volumes;
  }

  Result<docker::Volume> volume(const std::string& name) override {
    for (const auto* volumes : {&listed_volumes, &unlisted_volumes}) {
      for (const docker::Volume& volume : *volumes) {
        if (volume.name == name) return volume;
      }
    }
    return Error{Code::not_found, 0, "get " + name + ": no such volume"};
  }
};

}  // namespace bygone::test
