// SPDX-License-Identifier: Apache-2.0
#include "store/stat_types.h"

#include <algorithm>
#include <iterator>

#include <sys/stat.h>

namespace bygone::store {
namespace {

struct TypeBits {
  FileType type;
  mode_t bits;
};

constexpr TypeBits kTypes[] = {
    {FileType::regular, S_IFREG},      {FileType::directory, S_IFDIR},
    {FileType::symlink, S_IFLNK},      {FileType::fifo, S_IFIFO},
    {FileType::socket, S_IFSOCK},      {FileType::char_device, S_IFCHR},
    {FileType::block_device, S_IFBLK},
};

}  // namespace

mode_t format_bits(FileType type) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const TypeBits& each) { return each.type == type; });
  return found == std::end(kTypes) ? 0 : found->bits;
}

std::optional<FileType> file_type(mode_t mode) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeBits& each) {
    return each.bits == (mode & S_IFMT);
  });
  if (found == std::end(kTypes)) return std::nullopt;
  return found->type;
}

timespec to_timespec(const Timestamp& time) {
  timespec out{};
  out.tv_sec = time.seconds;
  out.tv_nsec = static_cast<long>(time.nanoseconds);
  return out;
}

Timestamp to_timestamp(const timespec& time) {
  return {.seconds = time.tv_sec, .nanoseconds = static_cast<std::uint32_t>(time.tv_nsec)};
}

}  // namespace bygone::store
