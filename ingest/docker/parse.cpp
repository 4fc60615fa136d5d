// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/parse.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <utility>

#include "ingest/docker/json.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

constexpr std::int64_t kLongStop = 86'400;  // seconds; nobody means more

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

Result<std::string> upper_dir_of(const Json& container) {
  const Json driver = TRY(container.object("GraphDriver"));
  return TRY(driver.object("Data"))
  .text("UpperDir");
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
    summary.image = TRY(item.text("Image"));
    summary.image_id = TRY(item.text("ImageID"));
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
  container.environment = TRY(config.texts("Env"));
  container.user = TRY(config.text("User"));
  container.entrypoint = TRY(config.texts("Entrypoint"));
  container.command = TRY(config.texts("Cmd"));
  container.auto_remove = TRY(host_config.flag("AutoRemove"));
  if (TRY(config.has("StopTimeout"))) {
    const std::int64_t seconds = TRY(config.number("StopTimeout"));
    container.stop_timeout = std::chrono::seconds(std::clamp<std::int64_t>(seconds, -1, kLongStop));
  }
  container.upper_dir = TRY(upper_dir_of(root));
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

Result<Image> parse_image(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  Image image;
  image.id = TRY(required(document.root(), "Id"));
  image.repo_tags = TRY(document.root().texts("RepoTags"));
  image.repo_digests = TRY(document.root().texts("RepoDigests"));
  return image;
}

Result<std::vector<Change>> parse_changes(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  std::vector<Change> out;
  for (const Json& item : TRY(document.root().elements())) {
    const std::int64_t kind = TRY(item.number("Kind"));
    if (kind < 0 || kind > 2) return Error{Code::invalid, 0, "an unknown kind of change"};
    out.push_back({ static_cast<Change::Kind>(kind), TRY(required(item, "Path")) });
  }
  return out;
}

Result<std::vector<std::string>> parse_top(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  std::vector<std::string> out;
  for (const Json& process : TRY(document.root().items("Processes"))) {
    std::vector<std::string> columns = TRY(process.element_texts());
    if (!columns.empty()) out.push_back(std::move(columns.back()));
  }
  return out;
}

Result<std::string> parse_id(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  return required(document.root(), "Id");
}

Result<Event> parse_event(std::string_view line) {
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  const JsonDocument document = TRY(JsonDocument::parse(line));
  const Json root = document.root();
  const Json actor = TRY(root.object("Actor"));
  Event event;
  event.type = TRY(required(root, "Type"));
  event.action = TRY(required(root, "Action"));
  event.id = TRY(actor.text("ID"));
  event.attributes = TRY(actor.text_map("Attributes"));
  event.time = TRY(root.number("timeNano"));
  if (event.time != 0) return event;
  const std::int64_t seconds = TRY(root.number("time"));
  if (seconds < 0 || seconds > INT64_MAX / kNanoseconds) {
    return Error{Code::invalid, 0, "an event of an impossible time"};
  }
  event.time = seconds * kNanoseconds;
  return event;
}

Result<ExecState> parse_exec(std::string_view body) {
  const JsonDocument document = TRY(JsonDocument::parse(body));
  const Json root = document.root();
  ExecState state;
  state.running = TRY(root.flag("Running"));
  state.pid = TRY(root.number("Pid"));
  state.container_id = TRY(root.text("ContainerID"));
  if (TRY(root.has("ExitCode"))) {
    const std::int64_t code = TRY(root.number("ExitCode"));
    if (code < INT_MIN || code > INT_MAX) return Error{Code::invalid, 0, "no such exit code"};
    state.exit_code = static_cast<int>(code);
  }
  return state;
}

Result<void> parse_progress(std::string_view body) {
  while (!body.empty()) {
    const std::string_view line = body.substr(0, body.find('\n'));
    body.remove_prefix(std::min(line.size() + 1, body.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const JsonDocument document = TRY(JsonDocument::parse(line));
    const std::string error = TRY(document.root().text("error"));
    if (!error.empty()) return Error{Code::io, 0, printable(error)};
  }
  return {};
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
