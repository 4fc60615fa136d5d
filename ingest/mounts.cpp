// SPDX-License-Identifier: Apache-2.0
#include "ingest/mounts.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using docker::MountType;
using store::VolumeKind;

bool is_anonymous(const docker::Volume& volume, const std::vector<std::string>& declared) {
  if (volume.labels.count("com.docker.volume.anonymous") != 0) return true;
  constexpr std::size_t kGivenLength = 64;
  return volume.name.size() == kGivenLength &&
         volume.name.find_first_not_of("0123456789abcdef") == std::string::npos &&
         volume.labels.empty() &&
         std::find(declared.begin(), declared.end(), volume.name) == declared.end();
}

std::string option(const docker::Volume& volume, const std::string& key) {
  const auto found = volume.options.find(key);
  return found == volume.options.end() ? std::string() : found->second;
}

// Volumes of the local driver with a device or file system type are mounted at their mountpoint
// only while a container that uses them runs; before and after there is an empty folder.
bool needs_mount(const docker::Volume& volume) {
  return !option(volume, "device").empty() || !option(volume, "type").empty();
}

std::optional<Error> unseen(const Survey& survey, const docker::Volume& volume,
                            const std::string& path) {
  const FileKind kind = kind_of(path);
  if (kind == FileKind::denied) {
    return Error{Code::denied, 0,
                 fmt::format("no permission to look at '{}'; hint: run as root", printable(path))};
  }
  if (kind != FileKind::folder) {
    return Error{Code::not_found, 0,
                 fmt::format("its folder '{}' is not on this host", printable(path))};
  }
  if (needs_mount(volume) && !survey.host.is_mounted(path)) {
    return Error{Code::not_found, 0,
                 fmt::format("it is a mount of '{}' that is not mounted now; hint: start a "
                             "container that uses it, or label it bygone.enable=false",
                             printable(option(volume, "device")))};
  }
  return std::nullopt;
}

Verdict capture(VolumeKind kind, std::string origin, std::string host_path,
                Access access = Access::host) {
  VolumeSource volume;
  volume.access = access;
  volume.kind = kind;
  volume.origin = std::move(origin);
  volume.host_path = std::move(host_path);
  return volume;
}

// What stands below /dev/shm is somebody's folder, in memory or not.
bool is_kernel_place(const std::string& path) {
  return is_at_or_below(path, "/proc") || is_at_or_below(path, "/sys") ||
         (is_at_or_below(path, "/dev") && path.rfind("/dev/shm/", 0) != 0);
}

// The engine's layers, metadata and the whole of its volumes; one volume's data below it is what
// somebody bound by its path, and is not.
bool is_engine_data(const Survey& survey, const std::string& path) {
  if (survey.root_dir.empty() || survey.root_dir == "/") return false;
  if (!is_at_or_below(path, survey.root_dir)) return false;
  const std::string volumes = survey.root_dir + "/volumes";
  return path == volumes || !is_at_or_below(path, volumes);
}

// `path` as seen from `folder`; empty when it is not below.
std::string below(const std::string& path, const std::string& folder) {
  if (path.empty() || path == folder || !is_at_or_below(path, folder)) return {};
  return path.substr(folder == "/" ? 1 : folder.size() + 1);
}

// A pattern as in .gitignore that means just this path.
std::string escaped_pattern(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (std::string_view("*?[\\ ").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

bool is_engine_socket(const Survey& survey, const std::string& path) {
  if (!survey.socket.empty() && path == survey.socket) return true;
  const std::string name = path.substr(path.rfind('/') + 1);
  return name == "docker.sock" || name == "podman.sock";
}

// The writable place of some container above `path` within which a symbolic link leads elsewhere:
// that container could point us at any file of this host. "/" is no such place: whoever writes
// there is root of the host already.
std::optional<std::string> steered_from(const Survey& survey, const std::string& path,
                                        const std::string& real) {
  for (std::size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1)) {
    const std::string above = path.substr(0, slash);
    if (survey.writable_places.count(above) == 0) continue;
    if (real != canonical(above) + path.substr(slash)) return above;
  }
  return std::nullopt;
}

// What cannot be looked at is judged by its name.
Verdict judge_bind_elsewhere(const Survey& survey, const docker::Mount& mount) {
  if (is_kernel_place(mount.source)) {
    return LeftOut{fmt::format("'{}' belongs to the kernel", printable(mount.source))};
  }
  if (is_engine_socket(survey, mount.source)) return LeftOut{"the engine's socket"};
  if (mount.source.ends_with(".sock")) return LeftOut{"a socket, by its name"};
  if (is_engine_data(survey, mount.source)) return LeftOut{"the engine's own data"};
  return capture(VolumeKind::bind, mount.source, mount.source, Access::engine);
}

Verdict judge_bind(const Survey& survey, const docker::Mount& mount) {
  if (survey.host.blind()) return judge_bind_elsewhere(survey, mount);
  const std::string real = canonical(mount.source);
  if (is_kernel_place(mount.source) || is_kernel_place(real)) {
    return LeftOut{fmt::format("'{}' belongs to the kernel", printable(mount.source))};
  }
  if (is_engine_socket(survey, real)) return LeftOut{"the engine's socket"};
  if (const std::optional<std::string> place = steered_from(survey, mount.source, real)) {
    return Error{Code::denied, 0,
                 fmt::format("'{}' passes through a symbolic link below '{}', where a container "
                             "can write; hint: bind the real path",
                             printable(mount.source), printable(*place))};
  }
  if (is_engine_data(survey, real)) return LeftOut{"the engine's own data"};
  switch (kind_of(real)) {
    case FileKind::missing:
      return Error{Code::not_found, 0,
                   fmt::format("'{}' is not on this host", printable(mount.source))};
    case FileKind::denied:
      return Error{
          Code::denied, 0,
          fmt::format("no permission to look at '{}'; hint: run as root", printable(mount.source))};
    case FileKind::socket:
      return LeftOut{"a socket"};
    case FileKind::other:
      return LeftOut{"a device or fifo"};
    case FileKind::folder:
    case FileKind::file:
      break;
  }
  Verdict verdict = capture(VolumeKind::bind, mount.source, real);
  // The data of volumes is captured with their own containers, and layers are not for others.
  if (const std::string data = below(survey.root_dir, real); !data.empty()) {
    std::get<VolumeSource>(verdict).exclude.push_back("/" + escaped_pattern(data));
  }
  return verdict;
}

Verdict judge_volume_mount(const Survey& survey, const docker::Mount& mount,
                           const docker::Container& container, docker::Engine& engine) {
  const auto known = survey.volumes.find(mount.name);
  if (known != survey.volumes.end()) {
    if (is_disabled(known->second.labels)) return LeftOut{"label bygone.enable of the volume"};
    return judge_volume(survey, known->second, container.declared);
  }
  // The list lacks what was made after it and what belongs to a plugin that is down.
  const Result<docker::Volume> volume = engine.volume(mount.name);
  if (!volume.ok()) return volume.error();
  if (is_disabled(volume->labels)) return LeftOut{"label bygone.enable of the volume"};
  return judge_volume(survey, *volume, container.declared);
}

Verdict judge_mount(const Survey& survey, const docker::Mount& mount,
                    const docker::Container& container, docker::Engine& engine) {
  switch (mount.type) {
    case MountType::volume:
      return judge_volume_mount(survey, mount, container, engine);
    case MountType::bind:
      return judge_bind(survey, mount);
    case MountType::tmpfs:
      return LeftOut{"tmpfs, gone with the container"};
    case MountType::npipe:
      return LeftOut{"a named pipe of Windows"};
    case MountType::image:
      return LeftOut{"the content of an image"};
    case MountType::other:
      break;
  }
  return Error{Code::unsupported, 0,
               fmt::format("mounts of type '{}' are not known", printable(mount.type_text))};
}

// A volume that the engine still knows is there, whatever hides its folder from us.
bool has_gone(const docker::Mount& mount, const Error& error, docker::Engine& engine) {
  if (error.code != Code::not_found) return false;
  if (mount.type != MountType::volume) return true;
  const Result<docker::Volume> volume = engine.volume(mount.name);
  return !volume.ok() && volume.error().code == Code::not_found;
}

// All that a container sees mounted, sorted by destination, HostConfig.Tmpfs included.
std::vector<docker::Mount> sorted_mounts(const docker::Container& container) {
  std::vector<docker::Mount> mounts = container.mounts;
  for (const std::string& destination : container.tmpfs) {
    docker::Mount mount;
    mount.type = MountType::tmpfs;
    mount.destination = destination;
    mounts.push_back(std::move(mount));
  }
  std::stable_sort(mounts.begin(), mounts.end(),
                   [](const auto& a, const auto& b) { return a.destination < b.destination; });
  return mounts;
}

// Notes in each captured volume where another mount stands in it. `captured_as[i]` is the place in
// `volumes` of what is mounted by `mounts[i]`.
void note_nested(const std::vector<docker::Mount>& mounts,
                 const std::vector<std::optional<std::size_t>>& captured_as,
                 std::vector<VolumeSource>& volumes) {
  for (const docker::Mount& inner : mounts) {
    std::optional<std::size_t> nearest;
    for (std::size_t i = 0; i < mounts.size(); ++i) {
      const std::string& outer = mounts[i].destination;
      if (outer == inner.destination || !is_at_or_below(inner.destination, outer)) continue;
      if (!nearest || outer.size() > mounts[*nearest].destination.size()) nearest = i;
    }
    if (!nearest || !captured_as[*nearest]) continue;
    const std::string& outer = mounts[*nearest].destination;
    std::vector<std::string>& nested = volumes[*captured_as[*nearest]].nested;
    std::string below = inner.destination.substr(outer == "/" ? 1 : outer.size() + 1);
    if (std::find(nested.begin(), nested.end(), below) == nested.end()) {
      nested.push_back(std::move(below));
    }
  }
}

docker::Labels labels_of(const Survey& survey, const docker::Mount& mount) {
  const auto known = survey.volumes.find(mount.name);
  return mount.type != MountType::volume || known == survey.volumes.end() ? docker::Labels()
                                                                          : known->second.labels;
}

// The source with all that is mounted in its container, as a VolumeChooser is shown it.
Source with_mounts(Source source, const std::vector<docker::Mount>& mounts, const Survey& survey) {
  for (const docker::Mount& mount : mounts) {
    VolumeSource volume;
    volume.destination = mount.destination;
    volume.origin = mount.type == MountType::volume ? mount.name : mount.source;
    volume.kind = mount.type == MountType::volume ? VolumeKind::named : VolumeKind::bind;
    volume.labels = labels_of(survey, mount);
    source.volumes.push_back(std::move(volume));
  }
  return source;
}

std::string wanted_name(const VolumeSource& volume) {
  std::string name = volume.kind == VolumeKind::named ? volume.origin : volume.destination;
  name.erase(0, std::min(name.find_first_not_of('/'), name.size()));
  while (!name.empty() && name.back() == '/') name.pop_back();
  std::replace(name.begin(), name.end(), '/', '-');
  if (name.empty()) name = "root";  // mounted at "/"
  if (name == "." || name == "..") name.insert(0, "_");
  // Room for "~2" within the 255 bytes of a file name.
  constexpr std::size_t kLongest = 240;
  return name.substr(0, kLongest);
}

bool is_folder_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

}  // namespace

Verdict judge_volume(const Survey& survey, const docker::Volume& volume,
                     const std::vector<std::string>& declared) {
  const VolumeKind kind =
      is_anonymous(volume, declared) ? VolumeKind::anonymous : VolumeKind::named;
  if (survey.host.blind() && option(volume, "type") != "tmpfs") {
    // Drivers elsewhere may not say where; the name tells one from another as well.
    const std::string place = volume.mountpoint.empty() ? "/" + volume.name : volume.mountpoint;
    return capture(kind, volume.name, place, Access::engine);
  }
  if (volume.driver != "local") {
    return Error{Code::unsupported, 0,
                 fmt::format("its driver is '{}', and only data of the driver 'local' can be read "
                             "on this host; hint: label it bygone.enable=false",
                             printable(volume.driver))};
  }
  if (option(volume, "type") == "tmpfs") return LeftOut{"tmpfs, gone with its containers"};
  const std::string path = canonical(volume.mountpoint);
  if (std::optional<Error> error = unseen(survey, volume, path)) return *std::move(error);
  return capture(kind, volume.name, path);
}

void assign_names(std::vector<VolumeSource>& volumes,
                  const std::map<std::string, std::string>& parent_names) {
  std::set<std::string> taken = {".bygone", kLayerName};
  for (VolumeSource& volume : volumes) {
    const auto kept = parent_names.find(volume.destination);
    if (kept == parent_names.end() || !is_folder_name(kept->second)) continue;
    if (taken.insert(kept->second).second) volume.name = kept->second;
  }
  for (VolumeSource& volume : volumes) {
    if (!volume.name.empty()) continue;
    const std::string wanted = wanted_name(volume);
    volume.name = wanted;
    for (unsigned n = 2; !taken.insert(volume.name).second; ++n) {
      volume.name = fmt::format("{}~{}", wanted, n);
    }
  }
}

void add_mounts(Source& source, const docker::Container& container, const Survey& survey,
                docker::Engine& engine, const std::map<std::string, std::string>& parent_names,
                const VolumeChooser& leave_out, Missing missing) {
  const std::vector<docker::Mount> mounts = sorted_mounts(container);
  const std::map<std::size_t, std::string> unwanted =
      leave_out ? leave_out(with_mounts(source, mounts, survey))
                : std::map<std::size_t, std::string>();
  std::vector<std::optional<std::size_t>> captured_as(mounts.size());
  std::map<std::string, std::size_t> places;  // of host paths in source.volumes
  std::optional<Error> gone;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string& destination = mounts[i].destination;
    if (const auto reason = unwanted.find(i); reason != unwanted.end()) {
      source.skipped.push_back(printable(destination) + ": " + reason->second);
      continue;
    }
    Verdict verdict = judge_mount(survey, mounts[i], container, engine);
    if (auto* left_out = std::get_if<LeftOut>(&verdict)) {
      source.skipped.push_back(printable(destination) + ": " + left_out->reason);
    } else if (auto* error = std::get_if<Error>(&verdict)) {
      const std::string what = mounts[i].name.empty() ? "the mount" : "volume " + mounts[i].name;
      const bool is_gone = missing == Missing::leave_out && has_gone(mounts[i], *error, engine);
      if (is_gone) source.skipped.push_back(printable(destination) + ": " + error->message);
      std::optional<Error>& reason = is_gone ? gone : source.error;
      if (reason) continue;  // one is enough
      reason = std::move(*error).with(
          printable(fmt::format("container {}: {} at {}", source.name, what, destination)));
    } else {
      auto& volume = std::get<VolumeSource>(verdict);
      const auto [place, is_new] = places.emplace(volume.host_path, source.volumes.size());
      captured_as[i] = place->second;
      if (!is_new) continue;
      if (!volume.exclude.empty()) {
        source.skipped.push_back(printable(destination) + ": the engine's own data in it");
      }
      volume.destination = destination;
      volume.labels = labels_of(survey, mounts[i]);
      source.volumes.push_back(std::move(volume));
    }
  }
  if (source.volumes.empty() && !source.error) source.error = std::move(gone);
  note_nested(mounts, captured_as, source.volumes);
  assign_names(source.volumes, parent_names);
}

}  // namespace bygone::ingest
