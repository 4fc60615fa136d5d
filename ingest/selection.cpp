// SPDX-License-Identifier: Apache-2.0
#include "ingest/selection.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/core.h>

#include "ingest/holder.h"
#include "ingest/suggest.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr const char* kProject = "com.docker.compose.project";
constexpr const char* kNameLabel = "bygone.name";

Called call(const docker::ContainerSummary& container) {
  Called called{container.name, std::nullopt};
  const std::string wanted = label(container.labels, kNameLabel);
  if (valid_name(wanted)) called.name = wanted;
  if (!valid_name(called.name)) {
    called.error = Error{Code::invalid, 0,
                         fmt::format("container {}: its name '{}' cannot be a source's; hint: give "
                                     "it a label bygone.name",
                                     printable(container.id), printable(called.name))};
  }
  return called;
}

// Selection by name, piece by piece.
class Selector {
 public:
  Selector(const Survey& survey, const std::vector<Called>& called, bool disabled_too)
      : survey_(survey), called_(called), disabled_too_(disabled_too) {}

  void take_all() {
    for (std::size_t i = 0; i < survey_.containers.size(); ++i) take_container(i);
    for (const auto& [name, volume] : survey_.volumes) take_volume(volume);
  }

  // False when `text` selects nothing.
  bool take(const std::string& text) {
    constexpr std::string_view kVolume = "volume:";
    if (text.rfind(kVolume, 0) == 0) return take_named_volume(text.substr(kVolume.size()));
    if (text.rfind('@', 0) == 0) return take_project(text.substr(1));
    return take_named_container(text.rfind('/', 0) == 0 ? text.substr(1) : text);
  }

  // Every name that selects something.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] Selected result() && { return std::move(selected_); }

 private:
  // Unless its label forbids; what was named itself stays so.
  void take_container(std::size_t i) {
    // Our own, beside a container that vanishes; what it mounts is captured in that one's name.
    if (survey_.containers[i].labels.count(kHolderLabel) != 0) return;
    if (disabled_too_ || !is_disabled(survey_.containers[i].labels)) {
      selected_.containers.emplace(i, false);
    }
  }
  void take_volume(const docker::Volume& volume) {
    if (is_disabled(volume.labels) && !disabled_too_) return;
    if (survey_.used_volumes.count(volume.name) != 0) return;
    selected_.volumes.emplace(volume.name, false);
  }

  bool take_named_volume(const std::string& name) {
    if (survey_.volumes.count(name) == 0) return false;
    selected_.volumes[name] = true;
    return true;
  }

  bool take_project(const std::string& project) {
    bool found = false;
    for (std::size_t i = 0; i < survey_.containers.size(); ++i) {
      if (project.empty() || label(survey_.containers[i].labels, kProject) != project) continue;
      found = true;
      take_container(i);
    }
    for (const auto& [name, volume] : survey_.volumes) {
      if (project.empty() || label(volume.labels, kProject) != project) continue;
      found = true;
      take_volume(volume);
    }
    return found;
  }

  // By the name as a source first, by Docker's name then.
  bool take_named_container(const std::string& name) {
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < called_.size(); ++i) {
      if (called_[i].name == name && !called_[i].error) found = i;
    }
    for (std::size_t i = 0; i < called_.size() && !found; ++i) {
      if (called_[i].name == name && !name.empty()) found = i;
    }
    for (std::size_t i = 0; i < called_.size() && !found; ++i) {
      if (survey_.containers[i].name == name && !name.empty()) found = i;
    }
    if (found) selected_.containers[*found] = true;
    return found.has_value();
  }

  const Survey& survey_;
  const std::vector<Called>& called_;
  const bool disabled_too_;
  Selected selected_;
};

std::vector<std::string> Selector::names() const {
  std::set<std::string> containers;
  std::set<std::string> others;
  for (std::size_t i = 0; i < called_.size(); ++i) {
    containers.insert(called_[i].name);
    const std::string project = label(survey_.containers[i].labels, kProject);
    if (!project.empty()) others.insert("@" + project);
  }
  for (const auto& [name, volume] : survey_.volumes) others.insert("volume:" + name);
  std::vector<std::string> all(containers.begin(), containers.end());
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

// A dozen names are read, a hundred are not.
std::string what_exists(const std::vector<std::string>& names) {
  if (names.empty()) return "the engine has no containers and no volumes";
  constexpr std::size_t kMost = 12;
  std::string text;
  for (std::size_t i = 0; i < std::min(kMost, names.size()); ++i) {
    text += (text.empty() ? "" : ", ") + printable(names[i]);
  }
  if (names.size() > kMost) text += fmt::format(" and {} more", names.size() - kMost);
  return "there are: " + text;
}

// The names that were meant, perhaps, for those that are `unknown`.
std::string what_was_meant(const std::vector<std::string>& unknown,
                           const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& typed : unknown) {
    constexpr std::size_t kLongest = 255;  // of a name; the distance costs the product of lengths
    const std::string near = typed.size() > kLongest ? "" : nearest(typed, names);
    if (!near.empty()) text += (text.empty() ? "" : ", ") + printable(near);
  }
  return text.empty() ? text : "did you mean " + text + "? ";
}

}  // namespace

std::vector<Called> call_containers(const Survey& survey) {
  std::vector<Called> called;
  for (const docker::ContainerSummary& container : survey.containers) {
    called.push_back(call(container));
  }
  std::vector<std::size_t> order(called.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto rank = [&](std::size_t i) {
      const docker::ContainerSummary& container = survey.containers[i];
      return std::tuple(is_disabled(container.labels), called[i].name != container.name,
                        std::string_view(container.name), std::string_view(container.id));
    };
    return rank(a) < rank(b);
  });
  std::map<std::string, std::size_t> owners;
  std::vector<std::size_t> losers;
  for (const std::size_t i : order) {
    if (called[i].error) continue;
    const auto [owner, is_first] = owners.emplace(called[i].name, i);
    if (is_first) continue;
    losers.push_back(i);
    called[i].error = Error{
        Code::exists, 0,
        fmt::format("container {}: the name '{}' belongs to container {} already; hint: give them "
                    "different labels bygone.name",
                    printable(survey.containers[i].name), printable(called[i].name),
                    printable(survey.containers[owner->second].name))};
  }
  // Under the same name it would be taken for the owner, by whoever looks for it by name.
  for (const std::size_t i : losers) {
    const docker::ContainerSummary& container = survey.containers[i];
    const bool is_free = valid_name(container.name) && owners.emplace(container.name, i).second;
    called[i].name = is_free ? container.name : container.id;
  }
  return called;
}

Result<Selected> select(const Survey& survey, const std::vector<Called>& called,
                        const Selection& selection) {
  Selector selector(survey, called, selection.disabled_too);
  std::vector<std::string> unknown;
  std::string list;
  for (const std::string& name : selection.names) {
    if (selector.take(name)) continue;
    unknown.push_back(name);
    list += fmt::format("{}'{}'", list.empty() ? "" : ", ", printable(name));
  }
  if (!unknown.empty()) {
    const std::vector<std::string> names = selector.names();
    return Error{Code::not_found, 0,
                 fmt::format("no container, volume or project {}; hint: {}{}", list,
                             what_was_meant(unknown, names), what_exists(names))};
  }
  if (selection.all) selector.take_all();
  return std::move(selector).result();
}

}  // namespace bygone::ingest
