// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_codes.h"

#include <algorithm>

namespace bygone::cli {
namespace {

constexpr Exit kByGravity[] = {Exit::interrupted,   Exit::failed,    Exit::damage, Exit::wrong_key,
                               Exit::no_repository, Exit::usage,     Exit::locked, Exit::no_docker,
                               Exit::hook,          Exit::unreadable};

}  // namespace

Exit exit_for(const Error& error, Stage stage) {
  switch (error.code) {
    case Code::cancelled:
      return Exit::interrupted;
    case Code::hook:
      return Exit::hook;
    case Code::busy:
      return stage == Stage::docker ? Exit::failed : Exit::locked;
    case Code::corrupt:
      return Exit::damage;
    case Code::unavailable:
      return stage == Stage::docker ? Exit::no_docker : Exit::failed;
    case Code::not_found:
      return stage == Stage::opening ? Exit::no_repository : Exit::failed;
    case Code::denied:
      // With an errno it was the file system that refused, not the key.
      if (stage == Stage::opening && error.errnum == 0) return Exit::wrong_key;
      return stage == Stage::docker ? Exit::no_docker : Exit::failed;
    default:
      return Exit::failed;
  }
}

Exit gravest(const std::vector<Exit>& exits) {
  for (const Exit exit : kByGravity) {
    if (std::find(exits.begin(), exits.end(), exit) != exits.end()) return exit;
  }
  return Exit::done;
}

}  // namespace bygone::cli
