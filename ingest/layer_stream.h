// SPDX-License-Identifier: Apache-2.0
//
// A container's writable layer where its engine does not show the folder in which it lies: the tree
// of what the engine lists as changed, gathered from archives of the container's own file system.
// What is not listed, or lies where something is mounted, is passed over: nothing of the image or
// of a volume is in it. One thread.
//
// An engine mounts and unmounts all of a container for each archive, 95 ms with Docker 20.10, so
// the fewest are asked for: the archive of a folder is read on as long as it brings what is wanted,
// and cut off when it passes much that is not. A file of several names that is in two of them
// becomes two files.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ingest/archive_tree.h"
#include "ingest/docker/engine.h"
#include "ingest/exclude.h"
#include "ingest/layer_list.h"
#include "ingest/layer_mounts.h"
#include "ingest/limiter.h"
#include "ingest/tree_stream.h"
#include "ingest/walk.h"
#include "store/base/result.h"

namespace bygone::ingest {

// What all streams of a layer share.
struct LayerOrigin {
  docker::Engine& engine;
  std::string container;                  // its id
  std::vector<std::string> destinations;  // of all that is mounted in it
  Excludes excludes;                      // need not be asked for
  const std::atomic<bool>& cancel;
  // When this is set there is no time for it any more: the stream ends with `unavailable`.
  const std::atomic<bool>& over;
  std::optional<LayerMounts> mounts = std::nullopt;  // when they were looked for
};

class LayerStream final : public EngineTree {
 public:
  // `limiter` may be null. `notes` get what was deleted, what cannot be asked for, and what is left
  // out.
  LayerStream(LayerOrigin& origin, Limiter* limiter, WalkNotes& notes);
  ~LayerStream() override;

  // Of a path that is gone nothing comes. Errors: those of the engine, not_found for a container
  // that is gone; those of TarReader; invalid for a list or an order that is none.
  Result<std::optional<TarEntry>> next() override;
  Result<std::optional<Block>> read() override;
  [[nodiscard]] bool ended_early() const override;
  [[nodiscard]] std::chrono::nanoseconds transfer_time() override;

 private:
  struct Request;
  enum class Verdict { take, pass_over, cut_off };
  Result<void> begin();
  void end();
  Result<void> close();
  Result<std::optional<TarEntry>> step();
  Result<void> judge_failure(Error error);
  void finish();
  Verdict judge(const TarEntry& entry, const LayerList::Node* node);
  void take(TarEntry& entry, LayerList::Node& node);

  LayerOrigin& origin_;
  Limiter* limiter_;
  WalkNotes& notes_;
  std::optional<LayerList> list_;
  std::unique_ptr<Request> request_;
  std::size_t requests_ = 0;
  std::chrono::nanoseconds earlier_{0};  // the time of all before the request
};

}  // namespace bygone::ingest
