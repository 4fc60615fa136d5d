// SPDX-License-Identifier: Apache-2.0
#include "ingest/layer_list.h"

#include <algorithm>

#include "ingest/source_tree.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
constexpr std::size_t kLongestPath = 4096;                 // PATH_MAX

// `name` as Go writes it into JSON: each byte that belongs to no character is replaced.
std::string in_json(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    std::size_t length = 1;
    while (length <= 4 && !is_utf8(name.substr(0, length))) ++length;
    if (length > std::min<std::size_t>(4, name.size())) {
      out += kReplacement;
      name.remove_prefix(1);
    } else {
      out += name.substr(0, length);
      name.remove_prefix(length);
    }
  }
  return out;
}

bool is_path(std::string_view path) {
  if (!path.starts_with('/') || path.size() > kLongestPath) return false;
  if (path.find('\0') != std::string_view::npos) return false;
  for (std::string_view rest = path.substr(1); !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash + 1 == rest.size()) return false;
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  return true;
}

// Cuts the first name off a path.
std::string_view next_name(std::string_view& path) {
  const std::size_t slash = std::min(path.find('/'), path.size());
  const std::string_view name = path.substr(0, slash);
  path.remove_prefix(std::min(slash + 1, path.size()));
  return name;
}

// What lies below a folder that is left out is left out, too.
bool is_excluded(std::string_view path, const Excludes& excludes) {
  if (excludes.empty() || path.empty()) return false;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    if (excludes.matches(path.substr(0, slash), true)) return true;
  }
  return excludes.matches(path, false);
}

bool is_unnameable(const LayerList::Node& node) {
  return node.path.find(kReplacement) != std::string::npos && node.came < node.listed;
}

void gather_unnameable(const LayerList::Node& node, std::vector<std::string>& out) {
  if (is_unnameable(node)) {
    out.push_back(node.path);
    if (node.came == 0) return;
  }
  for (const auto& [name, child] : node.children) gather_unnameable(*child, out);
}

}  // namespace

bool before_in_walk(std::string_view a, std::string_view b) {
  const auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c); };
  return std::lexicographical_compare(
      a.begin(), a.end(), b.begin(), b.end(),
      [&](char left, char right) { return rank(left) < rank(right); });
}

Result<LayerList> LayerList::make(const std::vector<docker::Change>& changes,
                                  const LayerMounts& mounts, const Excludes& excludes) {
  LayerList list;
  for (const docker::Change& change : changes) {
    if (!is_path(change.path)) {
      return Error{Code::invalid, 0,
                   "the list of changes cannot be believed: '" +
                       printable(std::string_view(change.path).substr(0, kLongestPath)) +
                       "' is no path"};
    }
    const std::string_view path = std::string_view(change.path).substr(1);
    if (mounts.cover(path) || is_excluded(path, excludes)) continue;
    list.add_change(change.kind, path);
  }
  std::sort(list.deleted_.begin(), list.deleted_.end(), before_in_walk);
  return list;
}

void LayerList::add_change(docker::Change::Kind kind, std::string_view path) {
  if (kind != docker::Change::Kind::deleted) {
    ++add(path).listed;
    return;
  }
  deleted_.emplace_back(path);
  const std::size_t slash = path.rfind('/');
  add(path.substr(0, slash == std::string_view::npos ? 0 : slash));
}

LayerList::Node& LayerList::add(std::string_view path) {
  Node* node = root_.get();
  for (std::string_view rest = path; !rest.empty();) {
    const std::string name(next_name(rest));
    auto& child = node->children[name];
    if (!child) {
      child = std::make_unique<Node>();
      child->path = join_path(node->path, name);
      child->parent = node;
      for (Node* above = node; above != nullptr; above = above->parent) ++above->left;
    }
    node = child.get();
  }
  return *node;
}

LayerList::Node* LayerList::first_pending() const {
  if (root_->left == 0) return nullptr;
  for (Node* node = root_.get();;) {
    if (node->pending) return node;
    const auto next = std::find_if(node->children.begin(), node->children.end(),
                                   [](const auto& child) { return child.second->left > 0; });
    node = next->second.get();
  }
}

LayerList::Node* LayerList::find(std::string_view path) const {
  Node* node = root_.get();
  while (!path.empty()) {
    const std::string_view name = next_name(path);
    auto child = node->children.find(name);
    if (child == node->children.end() && !is_utf8(name)) {
      child = node->children.find(in_json(name));
    }
    if (child == node->children.end()) return nullptr;
    node = child->second.get();
  }
  return node;
}

void LayerList::count_off(Node* node, std::size_t count) {
  for (; node != nullptr; node = node->parent) node->left -= count;
}

std::size_t LayerList::forget(Node& node) {
  const std::size_t count = node.left;
  if (count == 0) return 0;
  node.pending = false;
  node.left = 0;
  for (const auto& [name, child] : node.children) forget(*child);
  return count;
}

// As forget(), for what comes before `path`.
std::size_t LayerList::forget_before(Node& node, std::string_view path) {
  if (node.left == 0 || !before_in_walk(node.path, path)) return 0;
  if (node.pending) return forget(node);  // a folder that did not come has nothing that does
  std::size_t count = 0;
  for (const auto& [name, child] : node.children) {
    if (!before_in_walk(child->path, path)) break;
    count += forget_before(*child, path);
  }
  node.left -= count;
  return count;
}

void LayerList::take(Node& node, std::size_t request) {
  ++node.came;
  node.request = request;
  if (!node.pending) return;
  node.pending = false;
  count_off(&node, 1);
}

void LayerList::drop(Node& node) {
  Node* const parent = node.parent;
  count_off(parent, forget(node));
}

void LayerList::drop_before(Node& node, std::string_view path) {
  Node* const parent = node.parent;
  count_off(parent, forget_before(node, path));
}

void LayerList::drop_below(Node& node) {
  for (const auto& [name, child] : node.children) drop(*child);
}

std::vector<std::string> LayerList::unnameable() const {
  std::vector<std::string> paths;
  gather_unnameable(*root_, paths);
  return paths;
}

}  // namespace bygone::ingest
