// SPDX-License-Identifier: Apache-2.0
#include "ingest/discover.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/core.h>

#include "ingest/capability.h"
#include "ingest/mounts.h"
#include "ingest/selection.h"
#include "ingest/survey.h"
#include "ingest/writers.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using docker::Status;

// Whether a listed container may be running by the time that we ask.
bool may_run(Status status) {
  return status != Status::created && status != Status::exited && status != Status::dead &&
         status != Status::removing;
}

// Whether the list says of a container all that makes a writer. Podman, which names no id, may
// leave its mounts out, and others where a volume is that they do not list.
bool is_told(const docker::ContainerSummary& container, const Survey& survey) {
  if (container.status == Status::other || survey.info.id.empty()) return false;
  return std::all_of(container.mounts.begin(), container.mounts.end(), [&](const auto& mount) {
    if (mount.type != docker::MountType::volume || !mount.writable || !mount.source.empty()) {
      return true;
    }
    const auto volume = survey.volumes.find(mount.name);
    return volume != survey.volumes.end() && !volume->second.mountpoint.empty();
  });
}

// An engine that is gone ends the discovery; one container that makes it wait (a volume that
// mounts slowly blocks its inspect) or that it cannot read does not.
bool ends_discovery(const Error& error) {
  return error.code == Code::unavailable && error.errnum != ETIMEDOUT;
}

class Discovery {
 public:
  Discovery(docker::Engine& engine, const Survey& survey, const ParentNames& parent_names,
            const Selection& selection)
      : engine_(engine), survey_(survey), parent_names_(parent_names), selection_(selection) {}

  Result<std::vector<Source>> run(const std::vector<Called>& called, const Selected& selected) {
    for (std::size_t i = 0; i < survey_.containers.size(); ++i) {
      const auto chosen = selected.containers.find(i);
      TRY(look_at(survey_.containers[i], called[i],
                  chosen == selected.containers.end() ? nullptr : &chosen->second));
    }
    for (const auto& [name, named] : selected.volumes) add_volume(name, named);
    for (Source& source : sources_) writers_.find(source, survey_);
    std::sort(sources_.begin(), sources_.end(), [](const Source& a, const Source& b) {
      return std::tie(a.kind, a.name) < std::tie(b.kind, b.name);
    });
    return std::move(sources_);
  }

 private:
  // Inspects a container when it is selected (`named` tells how), or may be a writer and the list
  // does not say enough of it.
  Result<void> look_at(const docker::ContainerSummary& summary, const Called& called,
                       const bool* named) {
    if (named == nullptr && !may_run(summary.status)) return {};
    if (named == nullptr && is_told(summary, survey_)) {
      writers_.add(summary, survey_);
      return {};
    }
    const Result<docker::Container> container = engine_.container(summary.id);
    if (container.ok()) {
      writers_.add(*container, survey_);
      if (named != nullptr) add_container(*container, called, *named);
      return {};
    }
    const Error& error = container.error();
    if (ends_discovery(error)) return error;
    if (error.code != Code::not_found) writers_.add(summary, survey_);
    if (named != nullptr && (error.code != Code::not_found || *named)) {
      Source source = new_source(store::SourceKind::container, called.name);
      source.error = error;
      source.labels = summary.labels;
      source.named = *named;
      sources_.push_back(std::move(source));
    }
    return {};
  }

  void add_container(const docker::Container& container, const Called& called, bool named) {
    Source source = new_source(store::SourceKind::container, called.name);
    source.project = label(container.labels, "com.docker.compose.project");
    source.labels = container.labels;
    source.named = named;
    source.container_id = container.id;
    source.container_json = container.json;
    source.image = container.image;
    source.image_id = container.image_id;
    source.error = called.error;
    add_mounts(source, container, survey_, engine_,
               parent_names_(source.kind, source.host_id, source.name), selection_.leave_out);
    if (selection_.wants_layer && selection_.wants_layer(source)) add_layer(source, container);
    sources_.push_back(std::move(source));
  }

  void add_layer(Source& source, const docker::Container& container) {
    VolumeSource layer;
    layer.name = layer.destination = kLayerName;
    layer.origin = container.upper_dir.empty() ? container.id : container.upper_dir;
    layer.kind = store::VolumeKind::layer;
    layer.host_path = survey_.host.place(layer_place(container, survey_));
    // What overlayfs notes of folders that were made anew is in attributes `trusted.*`.
    const bool is_here = !survey_.host.blind() && !container.upper_dir.empty() &&
                         may_administer() && kind_of(layer.host_path) == FileKind::folder;
    if (!is_here) layer.access = Access::engine;
    for (const docker::Mount& mount : container.mounts) add_nested(layer, mount.destination);
    for (const std::string& destination : container.tmpfs) add_nested(layer, destination);
    source.volumes.push_back(std::move(layer));
  }

  static void add_nested(VolumeSource& layer, const std::string& destination) {
    const std::size_t begin = destination.find_first_not_of('/');
    if (begin != std::string::npos) layer.nested.push_back(destination.substr(begin));
  }

  void add_volume(const std::string& name, bool named) {
    const docker::Volume& volume = survey_.volumes.at(name);
    Source source = new_source(store::SourceKind::volume, name);
    source.project = label(volume.labels, "com.docker.compose.project");
    source.labels = volume.labels;
    source.named = named;
    Verdict verdict = judge_volume(survey_, volume, {});
    if (const auto* left_out = std::get_if<LeftOut>(&verdict)) {
      if (!named) return;
      source.error = Error{Code::unsupported, 0,
                           fmt::format("volume {}: {}", printable(name), left_out->reason)};
    } else if (auto* error = std::get_if<Error>(&verdict)) {
      source.error = std::move(*error).with("volume " + printable(name));
    } else {
      source.volumes.push_back(std::get<VolumeSource>(std::move(verdict)));
    }
    if (!valid_name(name)) {
      source.error =
          Error{Code::invalid, 0,
                fmt::format("volume {}: its name cannot be a source's", printable(name))};
    }
    sources_.push_back(std::move(source));
  }

  [[nodiscard]] Source new_source(store::SourceKind kind, const std::string& name) const {
    Source source;
    source.kind = kind;
    source.name = name;
    source.host_id = survey_.host_id;
    source.host = survey_.info.name;
    source.host_view = host_view_;
    return source;
  }

  docker::Engine& engine_;
  const Survey& survey_;
  const ParentNames& parent_names_;
  const Selection& selection_;
  std::shared_ptr<const HostView> host_view_ = std::make_shared<const HostView>(survey_.host);
  WriterIndex writers_;
  std::vector<Source> sources_;
};

}  // namespace

Result<std::vector<Source>> discover(docker::Engine& engine, const Selection& selection,
                                     const ParentNames& parent_names) {
  const Survey survey = TRY(take_survey(engine));
  const std::vector<Called> called = call_containers(survey);
  const Selected selected = TRY(select(survey, called, selection));
  return Discovery(engine, survey, parent_names, selection).run(called, selected);
}

}  // namespace bygone::ingest
