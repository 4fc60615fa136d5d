// SPDX-License-Identifier: Apache-2.0
#include "ingest/host_view.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include <fmt/core.h>
#include <sys/stat.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

// The next word of `line`, which is cut off its front.
std::string_view next_word(std::string_view& line) {
  const std::size_t space = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, space);
  line.remove_prefix(std::min(space + 1, line.size()));
  return word;
}

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescaped(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && digit(text[i + 1]) && digit(text[i + 2]) &&
        digit(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The first component of `path` that looks like a container's id.
std::string id_in(std::string_view path) {
  constexpr std::size_t kIdLength = 64;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    if (part.size() == kIdLength &&
        part.find_first_not_of("0123456789abcdef") == std::string_view::npos) {
      return std::string(part);
    }
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return {};
}

Result<std::string> read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return os_error(errno, "opening " + printable(path));
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return os_error(EIO, "reading " + printable(path));
  return text;
}

// Whether the data root here is another engine's: engines since 23.0 keep their id in it.
bool belongs_to_another(const docker::EngineInfo& info) {
  const Result<std::string> id = read_text(info.root_dir + "/engine-id");
  if (!id.ok()) return false;
  const std::string trimmed = id->substr(0, id->find_last_not_of(" \n") + 1);
  return !trimmed.empty() && !info.id.empty() && trimmed != info.id;
}

std::optional<Error> find_blindness(const docker::Engine& engine, const docker::EngineInfo& info) {
  const std::string where = printable(engine.address());
  if (!engine.is_local()) {
    return Error{Code::unsupported, 0,
                 fmt::format("the engine {} is remote: its files cannot be read from this host; "
                             "hint: run bygone on the engine's host",
                             where)};
  }
  if (info.root_dir.empty() || kind_of(info.root_dir) == FileKind::missing) {
    return Error{Code::unsupported, 0,
                 fmt::format("the engine's folder '{}' is not on this host: the socket {} is "
                             "forwarded, or bygone runs in a container; hint: run bygone on the "
                             "engine's host, or bind that folder at the same path",
                             printable(info.root_dir), where)};
  }
  if (belongs_to_another(info)) {
    return Error{Code::unsupported, 0,
                 fmt::format("the folder '{}' on this host belongs to another engine than {}; "
                             "hint: run bygone on the engine's host",
                             printable(info.root_dir), where)};
  }
  return std::nullopt;
}

}  // namespace

MountTable parse_mountinfo(std::string_view text) {
  MountTable table;
  while (!text.empty()) {
    const std::size_t newline = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(std::min(newline + 1, text.size()));
    // Mount id, parent id, major:minor, root within the file system, mount point.
    for (int skipped = 0; skipped < 3; ++skipped) next_word(line);
    const std::string root = unescaped(next_word(line));
    std::string mount_point = unescaped(next_word(line));
    if (mount_point == "/etc/hostname" || mount_point == "/etc/hosts") {
      if (table.own_container.empty()) table.own_container = id_in(root);
    }
    if (!mount_point.empty()) table.mount_points.insert(std::move(mount_point));
  }
  return table;
}

Result<MountTable> read_mounts() { return parse_mountinfo(TRY(read_text("/proc/self/mountinfo"))); }

Result<HostView> HostView::look(const docker::Engine& engine, const docker::EngineInfo& info) {
  HostView view;
  view.table_ = TRY(read_mounts());
  view.blind_ = find_blindness(engine, info);
  return view;
}

std::string HostView::place(const std::string& path) const {
  return blind_ ? path : canonical(path);
}

bool HostView::is_mounted(const std::string& path) const {
  return table_.mount_points.count(path) != 0;
}

bool HostView::is_own_container(const std::string& id) const {
  return !id.empty() && id == table_.own_container;
}

std::string canonical(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? std::string(real.get()) : path;
}

FileKind kind_of(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? FileKind::missing : FileKind::denied;
  }
  if (S_ISDIR(status.st_mode)) return FileKind::folder;
  if (S_ISREG(status.st_mode)) return FileKind::file;
  if (S_ISSOCK(status.st_mode)) return FileKind::socket;
  return FileKind::other;
}

bool is_at_or_below(std::string_view path, std::string_view folder) {
  if (folder == "/") return true;
  if (path.substr(0, folder.size()) != folder) return false;
  return path.size() == folder.size() || path[folder.size()] == '/';
}

}  // namespace bygone::ingest
