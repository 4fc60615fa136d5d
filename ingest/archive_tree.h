// SPDX-License-Identifier: Apache-2.0
//
// The tree at a path of a container: one archive of its engine. One thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "ingest/archive_feed.h"
#include "ingest/tar.h"
#include "ingest/tree_stream.h"

namespace bygone::ingest {

class ArchiveTree final : public EngineTree {
 public:
  // As ArchiveFeed's. Errors of next(): those of TarReader and of the engine, not_found when
  // nothing is at `path`.
  ArchiveTree(docker::Engine& engine, std::string container, std::string path, Limiter* limiter,
              const std::atomic<bool>& cancel, FeedOptions options = {})
      : feed_(engine, std::move(container), std::move(path), limiter, cancel, options),
        tar_([this] { return feed_.next(); }) {}

  Result<std::optional<TarEntry>> next() override { return tar_.next(); }
  Result<std::optional<Block>> read() override { return tar_.read(); }
  [[nodiscard]] bool ended_early() const override { return tar_.ended_early(); }
  // Ends the transfer if it goes on.
  [[nodiscard]] std::chrono::nanoseconds transfer_time() override {
    feed_.stop();
    return feed_.transfer_time();
  }
  // Bytes that the engine has sent.
  [[nodiscard]] std::uint64_t received() const { return feed_.received(); }

 private:
  ArchiveFeed feed_;
  TarReader tar_;
};

}  // namespace bygone::ingest
