// SPDX-License-Identifier: Apache-2.0
//
// The fixture of discovery's tests: an engine written down by the test, whose volumes and binds
// are real folders below a temporary one. One thread.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "ingest/discover.h"
#include "tests/support/expect.h"
#include "tests/support/listed_engine.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {

class DiscoverFixture : public testing::Test {
 protected:
  using Names = std::vector<std::string>;

  void SetUp() override {
    root_ = std::filesystem::canonical(folder_.path());
    engine_.identity = {.id = "ENGINE", .name = "hostname", .root_dir = root_ + "/docker"};
    std::filesystem::create_directories(root_ + "/docker/volumes");
  }

  // A container that is running unless told otherwise; ids are 64 digits as Docker's.
  docker::Container& add(const std::string& name, docker::Status status = docker::Status::running) {
    docker::Container container;
    container.id = fmt::format("{:064x}", engine_.all.size() + 1);
    container.name = name;
    container.image = "image:1";
    container.image_id = "sha256:01";
    container.json = "{\"Name\":\"/" + name + "\"}";
    container.state.status = status;
    container.state.paused = status == docker::Status::paused;
    container.state.running = status == docker::Status::running || container.state.paused;
    container.state.pid = container.state.running ? 7 : 0;
    container.state.started_at = "2024-01-01T00:00:00Z";
    engine_.all.reserve(100);  // references stay good
    return engine_.all.emplace_back(std::move(container));
  }

  // A volume of the local driver whose data folder exists.
  docker::Volume& add_volume(const std::string& name) {
    docker::Volume volume;
    volume.name = name;
    volume.driver = "local";
    volume.mountpoint = root_ + "/docker/volumes/" + name + "/_data";
    std::filesystem::create_directories(volume.mountpoint);
    engine_.listed_volumes.reserve(100);
    return engine_.listed_volumes.emplace_back(std::move(volume));
  }

  static docker::Mount volume_at(const docker::Volume& volume, const std::string& destination,
                                 bool writable = true) {
    return {docker::MountType::volume,
            "volume",
            volume.name,
            volume.mountpoint,
            destination,
            volume.driver,
            writable};
  }
  static docker::Mount bind_at(const std::string& source, const std::string& destination,
                               bool writable = true) {
    return {docker::MountType::bind, "bind", "", source, destination, "", writable};
  }
  std::string make_folder(const std::string& name) {
    std::filesystem::create_directories(root_ + "/" + name);
    return root_ + "/" + name;
  }
  std::string make_file(const std::string& name) {
    std::ofstream(root_ + "/" + name) << "text";
    return root_ + "/" + name;
  }

  Result<std::vector<Source>> try_discover(const Selection& selection) {
    return discover(engine_, selection,
                    [this](store::SourceKind, const std::string&, const std::string&) {
                      return parent_names_;
                    });
  }
  std::vector<Source> all() { return test::value_of(try_discover({.all = true})); }
  std::vector<Source> named(const Names& names) {
    return test::value_of(try_discover({.names = names}));
  }
  Source one(const std::string& name) {
    std::vector<Source> sources = named({name});
    EXPECT_EQ(sources.size(), 1U);
    return sources.empty() ? Source{} : sources.front();
  }

  static Names names_of(const std::vector<Source>& sources) {
    Names names;
    for (const Source& source : sources) {
      names.push_back((source.kind == store::SourceKind::volume ? "volume:" : "") + source.name);
    }
    return names;
  }
  static Names folders_of(const Source& source) {
    Names names;
    for (const VolumeSource& volume : source.volumes) {
      names.push_back(volume.destination + "=" + volume.name);
    }
    return names;
  }
  static Names writers_of(const std::vector<Writer>& writers) {
    Names names;
    for (const Writer& writer : writers) names.push_back(writer.name);
    return names;
  }
  static bool fails(const Source& source, Code code, const std::string& part) {
    if (!source.error) return false;
    EXPECT_NE(source.error->message.find(part), std::string::npos) << source.error->message;
    return source.error->code == code;
  }

  test::TempFolder folder_;
  std::string root_;
  test::ListedEngine engine_;
  std::map<std::string, std::string> parent_names_;
};

}  // namespace bygone::ingest
