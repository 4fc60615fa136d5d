// SPDX-License-Identifier: Apache-2.0
//
// Time zones and the names under which instants are listed: a wrapper of Howard Hinnant's tz
// library, its only includer. Pure functions of their arguments but for local_zone_name().
// Callable from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::store {

// A reading of a wall clock.
struct CivilTime {
  int year = 1970;
  unsigned month = 1;  // 1 to 12
  unsigned day = 1;    // 1 to 31
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
};

// The zone of this process: TZ when it names one, else the system's, else "UTC".
[[nodiscard]] std::string local_zone_name();
// Whether this machine knows a zone of that name; "UTC" it always knows.
[[nodiscard]] bool is_zone(const std::string& name);
// What the clock in `zone` shows at `instant`, and its offset from UTC in seconds.
// An unknown zone counts as UTC.
[[nodiscard]] CivilTime to_civil(const std::string& zone, Nanoseconds instant,
                                 std::int64_t* utc_offset_seconds = nullptr);
// The instant at which the clock in `zone` shows `civil`; the first of the two in a doubled hour
// (or the second with `later`), and the moment of the change in an hour that does not exist.
// Nothing for a date that no calendar has (February 30) or a time out of range.
[[nodiscard]] std::optional<Nanoseconds> from_civil(const std::string& zone, const CivilTime& civil,
                                                    bool later = false);
// The name for a new snapshot at `instant`: `2024-03-16T05:57`; with seconds when that is taken,
// `.2`, `.3`, ... after the seconds when those are taken too, and with the offset (`+0100`) after
// the time in the second pass through a doubled hour. `taken`: the listed names of the source.
[[nodiscard]] std::string make_listed_name(const std::string& zone, Nanoseconds instant,
                                           const std::vector<std::string>& taken);
// RFC 3339 in `zone`: 2024-03-16T05:57:12+01:00.
[[nodiscard]] std::string to_rfc3339(const std::string& zone, Nanoseconds instant);

}  // namespace bygone::store
