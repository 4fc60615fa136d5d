// SPDX-License-Identifier: Apache-2.0
//
// The intent journal of a post hook: a small text file that names the command that a container is
// owed once its pre hook has begun. Knows no engine; owed_hooks.h says what a dead one means.
//
//   bygone hook journal 1
//   engine <address>
//   container <id> <name> <started at>
//   stopped <0 or 1>
//   user <user>
//   timeout <milliseconds>
//   failures <number>
//   argument <argument>                    one line each
//   end <number of arguments>
//
// Fields are written by escape_field().
#pragma once

#include <string>
#include <string_view>

#include "ingest/hook.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct HookRecord {
  std::string engine;       // address
  std::string container;    // id
  std::string name;         // of the source, for people
  std::string started_at;   // of the run that the pre hook ran in; empty when unknown
  bool is_stopped = false;  // bygone itself may have started the container anew since
  Hook hook;                // `on_error` is not kept
  unsigned failures = 0;    // how often it has failed
};

[[nodiscard]] std::string encode(const HookRecord& record);
// Errors: unsupported for another version; corrupt for anything else that encode() does not make.
Result<HookRecord> decode_hook_record(std::string_view text);

// Where the journals are.
[[nodiscard]] std::string hook_folder(const std::string& state_folder);

}  // namespace bygone::ingest
