// SPDX-License-Identifier: Apache-2.0
//
// What the process tells its caller, and which failure becomes which code. Scripts rely on these
// numbers (README, `bygone --help`): they never change their meaning. Pure, any thread.
#pragma once

#include <vector>

#include "store/base/result.h"

namespace bygone::cli {

enum class Exit {
  done = 0,
  failed = 1,
  usage = 2,
  unreadable = 3,  // done, but some source files could not be read
  no_repository = 10,
  locked = 11,
  wrong_key = 12,
  damage = 20,
  hook = 22,  // a hook or a dump failed
  no_docker = 23,
  overdue = 24,
  interrupted = 130,
};

// What the program was doing when an error came up: the same error means different things.
enum class Stage {
  working,
  opening,  // a repository
  docker,   // talking to the engine
};

[[nodiscard]] Exit exit_for(const Error& error, Stage stage);
// Of several sources the gravest counts.
[[nodiscard]] Exit gravest(const std::vector<Exit>& exits);

}  // namespace bygone::cli
