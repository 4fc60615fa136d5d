// SPDX-License-Identifier: Apache-2.0
#include "ingest/usable_memory.h"

#include <algorithm>
#include <fstream>

#include <unistd.h>

namespace bygone::ingest {
namespace {

// "max", and what is not there, is no limit.
std::uint64_t limit_in(const std::string& path) {
  std::ifstream in(path);
  std::uint64_t limit = 0;
  return in >> limit ? limit : UINT64_MAX;
}

// Of the group at `path` below `top` and all above it. In a container `path` may be that of the
// host, of which only `top` is there.
std::uint64_t least_limit(const std::string& top, std::string path, const std::string& file) {
  std::uint64_t least = limit_in(top + "/" + file);
  while (path.size() > 1) {
    least = std::min(least, limit_in(top + path + "/" + file));
    path.erase(path.rfind('/'));
  }
  return least;
}

}  // namespace

std::uint64_t memory_limit(const std::string& root) {
  std::uint64_t least = UINT64_MAX;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "0::/path" for version 2, "4:memory:/path" for version 1.
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos || line.compare(second + 1, 1, "/") != 0) continue;
    const std::string kind = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (kind.empty())
      least = std::min(least, least_limit(root + "/sys/fs/cgroup", path, "memory.max"));
    if (kind == "memory") {
      least = std::min(least,
                       least_limit(root + "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
    }
  }
  return least;
}

std::uint64_t usable_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  const auto machine = pages > 0 && page > 0
                           ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page)
                           : UINT64_MAX;
  return std::min(machine, memory_limit());
}

}  // namespace bygone::ingest
