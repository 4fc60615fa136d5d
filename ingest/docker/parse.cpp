// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/parse.h"

#include <algorithm>
#include <array>
#include <utility>

#include "ingest/docker/json.h"

namespace bygone::docker {
namespace {

// A field without which the rest means nothing.
Result<std::string> required(const Json& json, std::string_view key) {
  std::string text = TRY(json.text(key));
  if (text.empty()) return Error{Code::invalid, 0, "no '" + std::string(key) + "' in the answer"};
  return text;
}

template <class Enum, std::size_t N>
Enum lookup(const std::array<std::pair<std::string_view, Enum>, N>& table, std::string_view text,
            Enum otherwise) {
  for (const auto& [name, value] : table) {
    if (name == text) return value;
  }
  return otherwise;
}

Status status_of(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, Status>, 8> kTable = {{
      {"created", Status::created},
      {"configured", Status::created},  // Podman's word
      {"running", Status::running},
      {"paused", Status::paused},
      {"restarting", Status::restarting},
      {"exited", Status::exited},
      {"removing", Status::removing},
      {"dead", Status::dead},
  }};
  return lookup(kTable, text, Status::other);
}

MountType mount_type_of(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, MountType>, 5> kTable = {{
      {"volume", MountType::volume},
      {"bind", MountType::bind},
      {"tmpfs", MountType::tmpfs},
      {"npipe", MountType::npipe},
      {"image", MountType::image},
  }};
  return lookup(kTable, text, MountType::other);
}

// Docker's own name has no slash but the first; "/web/db" is an alias made by a link.
std::string own_name(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::size_t slash = name.rfind('/');
    if (slash == 0 || slash == std::string::npos) return name.substr(slash == 0 ? 1 : 0);
  }
  return {};
}

Result<std::vector<Mount>> mounts_of(const Json& container) {
  std::vector<Mount> mounts;
  for (const Json& item : TRY(container.items("Mounts"))) {
    Mount mount;
    mount.type_text = TRY(item.text("Type"));
    mount.type = mount_type_of(mount.type_text);
    mount.name = TRY(item.text("Name"));
    mount.source = TRY(item.text("Source"));
    mount.destination = TRY(required(item, "Destination"));
    mount.driver = TRY(item.text("Driver"));
    mount.writable = TRY(item.flag("RW"));
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<ContainerState> state_of(const Json& container) {
  const Json json = TRY(container.object("State"));
  ContainerState state;
  state.status = status_of(TRY(required(json, "Status")));
  state.running = TRY(json.flag("Running"));
  state.paused = TRY(json.flag("Paused"));
  state.restarting = TRY(json.flag("Restarting"));
  state.pid = TRY(json.number("Pid"));
  state.started_at = TRY(json.text("StartedAt"));
  return state;
}

// The first field of a bind "SOURCE:DESTINATION[:MODE]"; none for "DESTINATION" alone.
std::string bind_source(const std::string& bind) {
  const std::size_t colon = bind.find(':');
  return colon == std::string::npos ? std::string() : bind.substr(0, colon);
}

Result<std::vector<std::string>> declared_sources(const Json& host_config) {
  std::vector<std::string> out;
  for (const std::string& bind : TRY(host_config.texts("Binds"))) {
    std::string source = bind_source(bind);
    if (!source.empty()) out.push_back(std::move(source));
  }
  for (const Json& mount : TRY(host_config.items("Mounts"))) {
    std::string source = TRY(mount.text("Source"));
    if (!source.empty()) out.push_back(std::move(source));
  }
  return out;
}

Result<Volume> volume_of(const Json& json) {
  Volume volume;
  volume.name = TRY(required(json, "Name"));
  volume.driver = TRY(json.text("Driver"));
  volume.mountpoint = TRY(json.text("Mountpoint"));
  volume.scope = TRY(json.text("Scope"));
  volume.labels = TRY(json.text_map("Labels"));
  volume.options = TRY(json.text_map("Options"));
  return volume;
}

}  // namespace

Result<EngineInfo> parse_info(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  const Json root = document.root();
  EngineInfo info;
  info.id = TRY(root.text("ID"));
  info.name = TRY(root.text("Name"));
  info.root_dir = TRY(root.text("DockerRootDir"));
  info.os_type = TRY(root.text("OSType"));
  info.version = TRY(root.text("ServerVersion"));
  return info;
}

Result<std::vector<ContainerSummary>> parse_containers(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  std::vector<ContainerSummary> out;
  for (const Json& item : TRY(document.root().elements())) {
    ContainerSummary summary;
    summary.id = TRY(required(item, "Id"));
    summary.name = own_name(TRY(item.texts("Names")));
    summary.labels = TRY(item.text_map("Labels"));
    summary.status = status_of(TRY(item.text("State")));
    summary.mounts = TRY(mounts_of(item));
    out.push_back(std::move(summary));
  }
  return out;
}

Result<Container> parse_container(std::string body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  const Json root = document.root();
  const Json config = TRY(root.object("Config"));
  const Json host_config = TRY(root.object("HostConfig"));
  Container container;
  container.id = TRY(required(root, "Id"));
  container.name = own_name({ TRY(required(root, "Name")) });
  container.image = TRY(config.text("Image"));
  container.image_id = TRY(root.text("Image"));
  container.labels = TRY(config.text_map("Labels"));
  container.state = TRY(state_of(root));
  container.mounts = TRY(mounts_of(root));
  container.tmpfs = TRY(host_config.keys("Tmpfs"));
  container.declared = TRY(declared_sources(host_config));
  container.json = std::move(body);
  return container;
}

Result<std::vector<Volume>> parse_volumes(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  std::vector<Volume> out;
  for (const Json& item : TRY(document.root().items("Volumes"))) {
    out.push_back(TRY(volume_of(item)));
  }
  const auto name = [](const Volume& a, const Volume& b) { return a.name < b.name; };
  std::sort(out.begin(), out.end(), name);
  const auto same = [](const Volume& a, const Volume& b) { return a.name == b.name; };
  out.erase(std::unique(out.begin(), out.end(), same), out.end());
  return out;
}

Result<Volume> parse_volume(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  return volume_of(document.root());
}

std::string parse_message(std::string_view body) {
  constexpr std::size_t kLongest = 1000;
  std::string text(body);
  if (const Result<JsonDocument> document = JsonDocument::parse(body)) {
    Result<std::string> message = document->root().text("message");
    if (message.ok() && !message->empty()) text = *std::move(message);
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text.substr(0, kLongest);
}

}  // namespace bygone::docker
