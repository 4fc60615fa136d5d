// SPDX-License-Identifier: Apache-2.0
#include "ingest/dataless.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <fmt/core.h>
#include <sys/sysmacros.h>

namespace bygone::ingest {
namespace {

constexpr std::string_view kKernelTypes[] = {
    "binfmt_misc", "bpf",       "cgroup",     "cgroup2", "configfs", "debugfs", "devpts",
    "efivarfs",    "fusectl",   "hugetlbfs",  "mqueue",  "nsfs",     "proc",    "pstore",
    "rpc_pipefs",  "selinuxfs", "securityfs", "sysfs",   "tracefs"};
constexpr std::string_view kMemoryTypes[] = {"devtmpfs", "ramfs", "tmpfs"};

template <std::size_t size>
bool is_one_of(const std::string_view (&types)[size], std::string_view type) {
  return std::find(std::begin(types), std::end(types), type) != std::end(types);
}

}  // namespace

std::string_view file_system_type(std::string_view mountinfo, std::uint64_t device) {
  // "36 35 98:0 /root /mount/point options - type source options"; blanks in paths are escaped.
  const std::string wanted = fmt::format(" {}:{} ", major(device), minor(device));
  constexpr std::string_view kBeforeType = " - ";
  while (!mountinfo.empty()) {
    const std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
    mountinfo.remove_prefix(std::min(mountinfo.size(), line.size() + 1));
    const std::size_t slash = line.find('/');
    const std::size_t at = line.find(kBeforeType);
    if (line.find(wanted) >= slash || at == std::string_view::npos) continue;
    const std::string_view rest = line.substr(at + kBeforeType.size());
    return rest.substr(0, rest.find(' '));
  }
  return {};
}

std::string dataless(std::uint64_t device) {
  std::ifstream in("/proc/self/mountinfo", std::ios::binary);
  const std::string table{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const std::string_view type = file_system_type(table, device);
  if (is_one_of(kMemoryTypes, type)) return "in memory alone";
  return is_one_of(kKernelTypes, type) ? "the kernel's" : "";
}

}  // namespace bygone::ingest
