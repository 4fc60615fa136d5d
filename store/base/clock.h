// SPDX-License-Identifier: Apache-2.0
//
// Time as a value: nanoseconds since 1970 (UTC). Code that decides by time takes the time, or a
// Clock, as an argument, so that tests bring their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace bygone {

using Nanoseconds = std::int64_t;
// Returns the present; called from any thread.
using Clock = std::function<Nanoseconds()>;

inline constexpr Nanoseconds kSecond = 1'000'000'000;
inline constexpr Nanoseconds kDay = 86'400 * kSecond;

[[nodiscard]] inline Nanoseconds system_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace bygone
