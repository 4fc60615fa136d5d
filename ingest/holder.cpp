// SPDX-License-Identifier: Apache-2.0
#include "ingest/holder.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/json.h"
#include "ingest/docker/parse.h"
#include "ingest/mounts.h"
#include "ingest/survey.h"
#include "ingest/writers.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using docker::MountType;

// The engine's answer about the held container, byte for byte.
constexpr const char* kHeldLabel = "bygone.held";
constexpr const char* kImageName = "bygone-holder";
constexpr const char* kImageTag = "1";

std::string image() { return std::string(kImageName) + ":" + kImageTag; }

// A volume that goes with its container: named by the engine, not by whoever made the container.
bool is_anonymous(const docker::Container& container, const docker::Mount& mount) {
  constexpr std::size_t kGivenLength = 64;
  return mount.type == MountType::volume && mount.name.size() == kGivenLength &&
         mount.name.find_first_not_of("0123456789abcdef") == std::string::npos &&
         std::find(container.declared.begin(), container.declared.end(), mount.name) ==
             container.declared.end();
}

// Volumes cannot be taken over from a container with a tmpfs among its mounts: "no such volume".
bool needs_names(const docker::Container& container) {
  return std::any_of(container.mounts.begin(), container.mounts.end(),
                     [](const docker::Mount& mount) { return mount.type == MountType::tmpfs; });
}

bool is_held_always(const docker::Container& container) {
  return label(container.labels, "bygone.hold") == "always";
}

bool is_held(const docker::Container& container, const docker::Mount& mount) {
  return is_anonymous(container, mount) ||
         (mount.type == MountType::volume && is_held_always(container));
}

// An engine writes all of them in the same form, "2024-03-16T05:57:00.1Z", which without its Z goes
// by time. Empty for what cannot be understood.
std::string created_at(const docker::Container& container) {
  const auto document = docker::JsonDocument::parse(container.json);
  if (!document.ok()) return {};
  auto text = document->root().text("Created");
  if (!text.ok()) return {};
  if (text->ends_with('Z')) text->pop_back();
  return std::move(*text);
}

// The oldest first, by when what they hold was created; Docker lists the newest first.
void sort_by_age(std::vector<Held>& held) {
  std::vector<std::pair<std::string, Held>> dated;
  dated.reserve(held.size());
  for (Held& one : held) {
    std::string time = created_at(one.container);
    dated.emplace_back(std::move(time), std::move(one));
  }
  std::reverse(dated.begin(), dated.end());
  std::stable_sort(dated.begin(), dated.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t i = 0; i < held.size(); ++i) held[i] = std::move(dated[i].second);
}

// Each volume at a place of its own.
std::vector<std::string> binds_of(const docker::Container& container) {
  std::vector<std::string> binds;
  for (const docker::Mount& mount : container.mounts) {
    if (is_held(container, mount)) {
      binds.push_back(fmt::format("{}:/{}:ro", mount.name, binds.size()));
    }
  }
  return binds;
}

Result<std::string> body_of(const docker::Container& container, bool by_name) {
  const std::string mounts = by_name ? "\"Binds\":" + TRY(docker::json_texts(binds_of(container)))
              : "\"VolumesFrom\":" + TRY(docker::json_texts({container.id + ":ro"}));
              return fmt::format(
                  R"({{"Image":{},"Cmd":["never started"],"Labels":{{{}:{},{}:{},"bygone.enable":"false"}},)"
                  R"("HostConfig":{{{},"NetworkMode":"none"}}}})",
                  TRY(docker::json_text(image())), TRY(docker::json_text(kHolderLabel)),
                  TRY(docker::json_text(container.id)), TRY(docker::json_text(kHeldLabel)),
                  TRY(docker::json_text(container.json)), mounts);
}

}  // namespace

bool is_to_be_held(const docker::Container& container) {
  if (container.labels.count(kHolderLabel) != 0 || is_disabled(container.labels)) return false;
  const std::string wish = label(container.labels, "bygone.hold");
  if (wish == "never") return false;
  if (!is_held_always(container) && !container.auto_remove) return false;
  return std::any_of(container.mounts.begin(), container.mounts.end(),
                     [&](const docker::Mount& mount) { return is_held(container, mount); });
}

Result<std::string> Holders::create(const docker::Container& container, bool by_name) {
  return engine_.create_container("bygone-holder-" + container.id,
                                  TRY(body_of(container, by_name)));
}

Result<void> Holders::hold(const docker::Container& container) {
  const bool by_name = needs_names(container);
  Result<std::string> id = create(container, by_name);
  if (!id.ok() && id.error().code == Code::not_found) {
    // One at a time: a second import would take the name away from the first one's image, which
    // then nobody would find to remove.
    static std::mutex importing;
    const std::lock_guard lock(importing);
    if (!engine_.image(image()).ok()) TRY(engine_.import_empty_image(kImageName, kImageTag));
    id = create(container, by_name);
  }
  if (!id.ok() && id.error().code == Code::busy) return {};  // it has its holder
  if (!id.ok()) return std::move(id).error();
  return by_name ? check_there({*std::move(id), container, true}) : Result<void>();
}

// A volume that was gone already came into being anew when it was named, and is empty.
Result<void> Holders::check_there(const Held& held) {
  const Result<docker::Container> now = engine_.container(held.container.id);
  if (now.ok() && now->state.status != docker::Status::removing &&
      now->state.status != docker::Status::dead) {
    return {};
  }
  for (const docker::Mount& mount : held.container.mounts) {
    std::error_code failed;
    if (is_held(held.container, mount) && !std::filesystem::is_empty(mount.source, failed) &&
        !failed) {
      return {};
    }
  }
  TRY(release(held));
  return Error{Code::not_found, 0,
               fmt::format("container {} and its data were gone before they could be held",
                           printable(held.container.name))};
}

Result<Holders::List> Holders::list() {
  List list;
  for (const docker::ContainerSummary& summary : TRY(engine_.containers())) {
    list.present.push_back(summary.id);
    const std::string of = label(summary.labels, kHolderLabel);
    // Only what never ran and has our name: a label alone is anybody's.
    if (of.empty() || summary.name != "bygone-holder-" + of ||
        summary.status != docker::Status::created) {
      continue;
    }
    Held held;
    held.holder_id = summary.id;
    auto container = docker::parse_container(label(summary.labels, kHeldLabel));
    if (container.ok() && container->id == of) held.container = *std::move(container);
    held.container.id = of;
    held.by_name = needs_names(held.container);
    list.held.push_back(std::move(held));
  }
  sort_by_age(list.held);
  return list;
}

bool Holders::has_data(const Held& held) {
  const auto& mounts = held.container.mounts;
  return std::any_of(mounts.begin(), mounts.end(), [&](const docker::Mount& mount) {
    if (mount.type != MountType::volume) return false;
    const Result<docker::Volume> volume = engine_.volume(mount.name);
    return volume.ok() || volume.error().code != Code::not_found;
  });
}

Result<void> Holders::release(const Held& held) {
  const auto volumes = held.by_name ? docker::RemoveVolumes::no : docker::RemoveVolumes::anonymous;
  Result<void> removed = engine_.remove_container(held.holder_id, volumes, docker::Force::no);
  if (!removed.ok() && removed.error().code != Code::not_found) return removed;
  if (!held.by_name) return {};
  for (const docker::Mount& mount : held.container.mounts) {
    if (!is_anonymous(held.container, mount)) continue;
    Result<void> gone = engine_.remove_volume(mount.name);
    if (!gone.ok() && gone.error().code != Code::not_found && gone.error().code != Code::busy) {
      return gone;
    }
  }
  return {};
}

Result<void> Holders::remove_image() {
  Result<void> removed = engine_.remove_image(image());
  return !removed.ok() && removed.error().code == Code::not_found ? Result<void>() : removed;
}

bool is_lost_by_release(const docker::Container& container, const Source& source,
                        const std::vector<Unreadable>& unreadable) {
  std::set<std::string> staying;  // folders, as in Unreadable
  for (const VolumeSource& volume : source.volumes) {
    // The folder of a volume may be bound by its path as well, and is captured once.
    const bool goes = std::any_of(
        container.mounts.begin(), container.mounts.end(), [&](const docker::Mount& mount) {
          return is_anonymous(container, mount) &&
                 (mount.name == volume.origin || mount.source == volume.host_path);
        });
    if (!goes) staying.insert(volume.name);
  }
  return std::any_of(unreadable.begin(), unreadable.end(), [&](const Unreadable& one) {
    return staying.count(one.path.substr(0, one.path.find('/'))) == 0;
  });
}

std::string held_name(const docker::Container& container) {
  std::string wanted = label(container.labels, "bygone.name");
  return valid_name(wanted) ? wanted : container.name;
}

Result<Source> held_source(docker::Engine& engine, const docker::Container& container,
                           const ParentNames& parent_names, const VolumeChooser& leave_out) {
  const Survey survey = TRY(take_survey(engine));
  Source source;
  source.kind = store::SourceKind::container;
  source.name = held_name(container);
  if (!valid_name(source.name)) {
    return Error{Code::invalid, 0,
                 fmt::format("container {}: its name '{}' cannot be a source's; hint: give it a "
                             "label bygone.name",
                             printable(container.id), printable(container.name))};
  }
  source.host_id = survey.host_id;
  source.host = survey.info.name;
  source.project = label(container.labels, "com.docker.compose.project");
  source.labels = container.labels;
  source.container_json = container.json;
  source.image = container.image;
  source.image_id = container.image_id;
  add_mounts(source, container, survey, engine,
             parent_names(source.kind, source.host_id, source.name), leave_out, Missing::leave_out);
  WriterIndex writers;
  for (const docker::ContainerSummary& summary : survey.containers) {
    if (summary.status != docker::Status::running && summary.status != docker::Status::paused &&
        summary.status != docker::Status::restarting) {
      continue;
    }
    const Result<docker::Container> other = engine.container(summary.id);
    if (other.ok()) {
      writers.add(*other, survey);
    } else if (other.error().code != Code::not_found) {
      writers.add(summary, survey);
    }
  }
  writers.find(source, survey);
  return source;
}

}  // namespace bygone::ingest
