// SPDX-License-Identifier: Apache-2.0
//
// snapshot.json: a snapshot record in a form for people and scripts, made when it is read. Field
// names are restic's where the meaning is the same. Pure, callable from any thread.
#pragma once

#include <string>

#include "store/snapshot.h"

namespace bygone::fs {

// An indented JSON object and a newline. Texts that are not UTF-8 carry replacement characters and
// stand once more, exactly, as hexadecimal under the name with "_hex" behind it.
[[nodiscard]] std::string snapshot_json(const store::Snapshot& snapshot);

}  // namespace bygone::fs
