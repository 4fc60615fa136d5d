// SPDX-License-Identifier: Apache-2.0
// The part of discover.h that needs no engine.
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

#include "ingest/discover.h"
#include "ingest/host_view.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool valid_name(std::string_view name) {
  constexpr std::size_t kLongest = 255;
  return !name.empty() && name.size() <= kLongest && is_alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

std::string machine_id() {
  constexpr std::size_t kDigits = 32;  // machine-id(5)
  std::ifstream in("/etc/machine-id");
  std::string id;
  std::getline(in, id);
  const bool is_id =
      id.size() == kDigits && id.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_id ? id : "hostname-" + host_name();
}

Result<Source> folder_source(const std::string& name, const std::string& dir) {
  if (!valid_name(name)) {
    return Error{Code::invalid, 0,
                 fmt::format("'{}' cannot be a source's name; hint: letters, digits, '_', '.' and "
                             "'-', the first a letter or digit",
                             printable(name))};
  }
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(dir.c_str(), nullptr),
                                                         &std::free);
  const std::string what = fmt::format("folder '{}' of source {}", printable(dir), name);
  if (!real) return os_error(errno, what);
  if (kind_of(real.get()) != FileKind::folder) {
    return Error{Code::invalid, ENOTDIR, what + ": not a folder"};
  }
  VolumeSource volume;
  volume.origin = real.get();
  volume.host_path = real.get();
  volume.kind = store::VolumeKind::folder;
  Source source;
  source.kind = store::SourceKind::folder;
  source.name = name;
  source.host_id = machine_id();
  source.host = host_name();
  source.volumes.push_back(std::move(volume));
  return source;
}

}  // namespace bygone::ingest
