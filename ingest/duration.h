// SPDX-License-Identifier: Apache-2.0
//
// Lengths of time as people write them. Pure, any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "store/base/clock.h"

namespace bygone::ingest {

// "90s", "5m", "36h", "7d", "2w", "1y" (365 days), also joined: "1d12h". Nothing for anything else,
// for a length of zero, and for more than 200 years.
[[nodiscard]] std::optional<Nanoseconds> parse_duration(std::string_view text);

// A length of up to an hour, with parts of a second: "500ms", "2.5s", "10" (seconds), "1m". Nothing
// for anything else, and for less than a millisecond.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_short_duration(std::string_view text);

}  // namespace bygone::ingest
