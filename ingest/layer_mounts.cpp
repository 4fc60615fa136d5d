// SPDX-License-Identifier: Apache-2.0
#include "ingest/layer_mounts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "ingest/archive_tree.h"

namespace bygone::ingest {
namespace {

constexpr FeedOptions kHeadAlone{.block = 16u << 10, .blocks = 1, .over = nullptr};
constexpr int kMostLinks = 40;  // as in the kernel

// What no container can do without.
constexpr const char* kEverywhere[] = {"proc",         "sys",       "dev",
                                       "etc/hostname", "etc/hosts", "etc/resolv.conf"};

class LinkFollower {
 public:
  LinkFollower(docker::Engine& engine, const std::string& container,
               const std::atomic<bool>& cancel)
      : engine_(engine), container_(container), cancel_(cancel) {}

  // `path` without links, without a slash in front. What is not there is taken as it is written.
  Result<std::string> follow(const std::string& path) {
    std::vector<std::string> parts;  // the next one last
    push(parts, path);
    std::string at;
    for (int links = 0; !parts.empty();) {
      const std::string part = std::move(parts.back());
      parts.pop_back();
      if (part == "..") {
        const std::size_t slash = at.rfind('/');
        at.resize(slash == std::string::npos ? 0 : slash);
        continue;
      }
      std::string next = at.empty() ? part : at + "/" + part;
      const auto target = TRY(target_of(next));
      if (!target || ++links > kMostLinks) {
        at = std::move(next);
        continue;
      }
      if (target->starts_with('/')) at.clear();
      push(parts, *target);
    }
    return at;
  }

 private:
  static void push(std::vector<std::string>& parts, const std::string& path) {
    for (std::size_t end = path.size(); end > 0;) {
      const std::size_t slash = path.rfind('/', end - 1);
      const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
      std::string part = path.substr(begin, end - begin);
      if (!part.empty() && part != ".") parts.push_back(std::move(part));
      end = slash == std::string::npos ? 0 : slash;
    }
  }

  // Where a link leads; nothing for what is none.
  Result<std::optional<std::string>> target_of(const std::string& path) {
    const auto known = targets_.find(path);
    if (known != targets_.end()) return known->second;
    ArchiveTree tree(engine_, container_, "/" + path, nullptr, cancel_, kHeadAlone);
    auto head = tree.next();
    if (!head && head.error().code != Code::not_found) return std::move(head).error();
    std::optional<std::string> target;
    if (head && *head && (*head)->entry.type == store::FileType::symlink) {
      target = (*head)->entry.target;
    }
    targets_[path] = target;
    return target;
  }

  docker::Engine& engine_;
  const std::string& container_;
  const std::atomic<bool>& cancel_;
  std::map<std::string, std::optional<std::string>> targets_;
};

}  // namespace

Result<LayerMounts> LayerMounts::find(docker::Engine& engine, const std::string& container,
                                      const std::vector<std::string>& destinations,
                                      const std::vector<docker::Change>& changes,
                                      const std::atomic<bool>& cancel) {
  LayerMounts mounts;
  mounts.places_.insert(std::begin(kEverywhere), std::end(kEverywhere));
  LinkFollower follower(engine, container, cancel);
  for (const std::string& destination : destinations) {
    const bool listed = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
      return change.kind != docker::Change::Kind::deleted && change.path == destination;
    });
    std::string place = listed ? destination.substr(1) : TRY(follower.follow(destination));
    if (!place.empty()) mounts.places_.insert(std::move(place));
  }
  return mounts;
}

bool LayerMounts::cover(std::string_view path) const {
  for (std::size_t end = path.find('/');; end = path.find('/', end + 1)) {
    if (places_.find(path.substr(0, end)) != places_.end()) return true;
    if (end == std::string_view::npos) return false;
  }
}

}  // namespace bygone::ingest
