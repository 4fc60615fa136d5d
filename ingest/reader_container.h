// SPDX-License-Identifier: Apache-2.0
//
// How volumes are read that only their engine can see: a container of ours that mounts them
// read-only, each at a place of its own, and never starts. The engine makes archives of what is in
// it, and nothing that runs there has a say in what is read. Gone, with its image, when it is
// destroyed; what a backup that was killed leaves, a later one removes. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/source.h"
#include "store/base/result.h"

namespace bygone::ingest {

// The label of such a container, with the second in which it was made; discovery passes over it.
constexpr const char* kReaderLabel = "bygone.reader";

class ReaderContainer {
 public:
  // Makes the container for those of `volumes` that are read through the engine, which must outlive
  // it. Errors: the engine's; not_found for a volume or path that is gone.
  static Result<std::unique_ptr<ReaderContainer>> make(docker::Engine& engine,
                                                       const std::vector<VolumeSource>& volumes);
  ~ReaderContainer();
  ReaderContainer(const ReaderContainer&) = delete;
  ReaderContainer& operator=(const ReaderContainer&) = delete;

  [[nodiscard]] docker::Engine& engine() const { return engine_; }
  [[nodiscard]] const std::string& id() const { return id_; }
  // Where the volume with this number is in it.
  [[nodiscard]] static std::string path(std::size_t volume);

 private:
  ReaderContainer(docker::Engine& engine, std::string id) : engine_(engine), id_(std::move(id)) {}

  docker::Engine& engine_;
  std::string id_;
};

}  // namespace bygone::ingest
