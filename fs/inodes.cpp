// SPDX-License-Identifier: Apache-2.0
#include "fs/inodes.h"

#include <algorithm>
#include <cerrno>

#include <fmt/core.h>

namespace bygone::fs {

Inodes::Inodes() {
  auto root = std::make_shared<const Made>();
  made_by_key_[root->key()] = kRootNode;
  made_[kRootNode] = {std::move(root), 1};
}

NodeId Inodes::remember(const Made& made) {
  std::string key = made.key();
  const std::lock_guard lock(mutex_);
  if (const auto found = made_by_key_.find(key); found != made_by_key_.end()) {
    ++made_[found->second].count;
    return found->second;
  }
  const NodeId node = kMadeBit | next_made_++;
  made_[node] = {std::make_shared<const Made>(made), 1};
  made_by_key_.emplace(std::move(key), node);
  return node;
}

Result<KnownNode> Inodes::get(NodeId node) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = made_.find(node); found != made_.end()) {
    return KnownNode(found->second.made);
  }
  const auto place = places_.find(node >> kPositionBits);
  if ((node & kMadeBit) != 0 || place == places_.end()) {
    return Error{Code::not_found, ESTALE, fmt::format("node {:x} is not known", node)};
  }
  return KnownNode(Spot{place->second.place, node & ((NodeId{1} << kPositionBits) - 1)});
}

std::optional<NodeId> Inodes::find(const Made& made) const {
  const std::string key = made.key();
  const std::lock_guard lock(mutex_);
  const auto found = made_by_key_.find(key);
  if (found == made_by_key_.end()) return std::nullopt;
  return found->second;
}

void Inodes::forget(NodeId node, std::uint64_t count) { release(node, count); }

std::uint64_t Inodes::pin(const Place& place) {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = place_of_folder_.try_emplace(place.folder, next_place_);
  if (!is_new) {
    ++places_[found->second].count;
    return found->second;
  }
  const std::uint64_t number = next_place_++;
  places_[number] = {place, 1};
  retain(place.folder);
  return number;
}

Result<NodeId> Inodes::remember(std::uint64_t place, std::uint64_t position) {
  if (position >> kPositionBits != 0) {
    return Error{Code::unsupported, EOVERFLOW, "a directory has more entries than can be mounted"};
  }
  const std::lock_guard lock(mutex_);
  ++places_[place].count;
  return (place << kPositionBits) | position;
}

std::size_t Inodes::size() const {
  const std::lock_guard lock(mutex_);
  return made_.size() + places_.size();
}

// Under mutex_: the number of a place's own folder is in use by the place.
void Inodes::retain(NodeId node) {
  if (const auto made = made_.find(node); made != made_.end()) {
    ++made->second.count;
  } else if (const auto place = places_.find(node >> kPositionBits); place != places_.end()) {
    ++place->second.count;
  }
}

void Inodes::release(NodeId node, std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  // A place that goes releases its folder's number, and so on upwards.
  while (true) {
    if (const auto made = made_.find(node); made != made_.end()) {
      made->second.count -= std::min(count, made->second.count);
      if (made->second.count == 0 && node != kRootNode) {
        made_by_key_.erase(made->second.made->key());
        made_.erase(made);
      }
      return;
    }
    const auto place = places_.find(node >> kPositionBits);
    if (place == places_.end()) return;
    place->second.count -= std::min(count, place->second.count);
    if (place->second.count != 0) return;
    node = place->second.place.folder;
    count = 1;
    place_of_folder_.erase(node);
    places_.erase(place);
  }
}

}  // namespace bygone::fs
