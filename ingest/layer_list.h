// SPDX-License-Identifier: Apache-2.0
//
// What an engine says that a container changed, as the tree that is to be got from it: every path
// and the folders above it, each pending until it came or is known not to come. Paths are below the
// root, without a slash in front. One thread.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/docker/engine.h"
#include "ingest/exclude.h"
#include "ingest/layer_mounts.h"
#include "store/base/result.h"

namespace bygone::ingest {

// Whether a walk comes by `a` before `b`.
[[nodiscard]] bool before_in_walk(std::string_view a, std::string_view b);

class LayerList {
 public:
  struct Node {
    std::string path;  // as listed: JSON has U+FFFD in the place of what is no UTF-8
    Node* parent = nullptr;
    std::map<std::string, std::unique_ptr<Node>, std::less<>> children;
    bool pending = true;
    std::size_t left = 1;     // pending ones in the subtree
    std::size_t listed = 0;   // how often
    std::size_t came = 0;     // how often
    std::size_t request = 0;  // the one that it came with last
  };

  // Leaves out what is covered by `mounts`, and of `excludes` what does not take to know whether it
  // is a folder. Errors: invalid for what is no path.
  static Result<LayerList> make(const std::vector<docker::Change>& changes,
                                const LayerMounts& mounts, const Excludes& excludes);

  // The deleted paths in the order of a walk.
  [[nodiscard]] const std::vector<std::string>& deleted() const { return deleted_; }
  // The first pending one in the order of a walk; null at the end.
  [[nodiscard]] Node* first_pending() const;
  // What stands for `path`, raw bytes; null when it is not listed.
  [[nodiscard]] Node* find(std::string_view path) const;

  // It came, with that request.
  void take(Node& node, std::size_t request);
  // It does not come, and nothing below it.
  void drop(Node& node);
  // Of what is at and below `node`, all that a walk passes before `path` does not come any more.
  void drop_before(Node& node, std::string_view path);
  // Nothing below `node` comes any more.
  void drop_below(Node& node);

  // Paths that cannot be told in JSON, and did not come as often as they were listed.
  [[nodiscard]] std::vector<std::string> unnameable() const;

 private:
  Node& add(std::string_view path);
  void add_change(docker::Change::Kind kind, std::string_view path);
  static std::size_t forget(Node& node);
  static std::size_t forget_before(Node& node, std::string_view path);
  static void count_off(Node* node, std::size_t count);

  std::unique_ptr<Node> root_ = std::make_unique<Node>();
  std::vector<std::string> deleted_;
};

}  // namespace bygone::ingest
