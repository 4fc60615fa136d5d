// SPDX-License-Identifier: Apache-2.0
#include "ingest/segments.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace bygone::ingest {
namespace {

constexpr std::size_t kExtentsAtOnce = 32;

// The first reserved range that meets [begin, end), or an empty one at `end`.
Segment find_reserved(const Fd& fd, std::uint64_t begin, std::uint64_t end) {
  const Segment none{.kind = Segment::Kind::reserved, .begin = end, .end = end};
  alignas(fiemap) std::array<char, sizeof(fiemap) + kExtentsAtOnce * sizeof(fiemap_extent)> raw{};
  auto* map = reinterpret_cast<fiemap*>(raw.data());
  std::uint64_t at = begin;
  while (at < end) {
    raw.fill(0);
    map->fm_start = at;
    map->fm_length = end - at;
    map->fm_extent_count = kExtentsAtOnce;
    // Not every file system maps its extents; what it does not tell is a hole.
    if (::ioctl(fd.get(), FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents == 0) return none;
    const auto* extents = reinterpret_cast<const fiemap_extent*>(raw.data() + sizeof(fiemap));
    for (std::size_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = extents[i];
      const std::uint64_t extent_end = extent.fe_logical + extent.fe_length;
      if ((extent.fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0 && extent_end > at) {
        return {.kind = Segment::Kind::reserved,
                .begin = std::clamp<std::uint64_t>(extent.fe_logical, at, end),
                .end = std::min<std::uint64_t>(extent_end, end)};
      }
      at = std::max(at, extent_end);
      if ((extent.fe_flags & FIEMAP_EXTENT_LAST) != 0) return none;
    }
  }
  return none;
}

Result<bool> visit_gap(const Fd& fd, std::uint64_t begin, std::uint64_t end,
                       const std::function<Result<bool>(const Segment&)>& visit) {
  while (begin < end) {
    const Segment reserved = find_reserved(fd, begin, end);
    if (reserved.begin > begin) {
      const Segment hole{.kind = Segment::Kind::hole, .begin = begin, .end = reserved.begin};
      if (!TRY(visit(hole))) return false;
    }
    if (reserved.end > reserved.begin && !TRY(visit(reserved))) return false;
    begin = std::max(reserved.end, reserved.begin);
  }
  return true;
}

}  // namespace

Result<void> for_each_segment(const Fd& fd, std::uint64_t size,
                              const std::function<Result<bool>(const Segment&)>& visit) {
  std::uint64_t at = 0;
  while (at < size) {
    const off_t found = ::lseek(fd.get(), static_cast<off_t>(at), SEEK_DATA);
    // ENXIO: nothing but a hole to the end. A file system that cannot tell answers EINVAL.
    std::uint64_t begin = found >= 0 ? static_cast<std::uint64_t>(found) : size;
    if (found < 0 && errno != ENXIO) begin = at;
    begin = std::min(begin, size);
    if (begin > at && !TRY(visit_gap(fd, at, begin, visit))) return {};
    if (begin == size) break;
    const off_t next = ::lseek(fd.get(), static_cast<off_t>(begin), SEEK_HOLE);
    const std::uint64_t end = next >= 0 ? std::min(size, static_cast<std::uint64_t>(next)) : size;
    // A hole that is filled while we look can make both calls answer `begin`: take the rest.
    at = end > begin ? end : size;
    if (!TRY(visit({.kind = Segment::Kind::data, .begin = begin, .end = at}))) break;
  }
  return {};
}

}  // namespace bygone::ingest
