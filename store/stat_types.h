// SPDX-License-Identifier: Apache-2.0
//
// Types and times of entries as stat(2) has them.
#pragma once

#include <ctime>
#include <optional>

#include <sys/types.h>

#include "store/node.h"

namespace bygone::store {

// S_IFREG and its like.
[[nodiscard]] mode_t format_bits(FileType type);
// Of these bits of a mode; nothing for a type that no entry has.
[[nodiscard]] std::optional<FileType> file_type(mode_t mode);

[[nodiscard]] timespec to_timespec(const Timestamp& time);
[[nodiscard]] Timestamp to_timestamp(const timespec& time);

}  // namespace bygone::store
