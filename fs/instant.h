// SPDX-License-Identifier: Apache-2.0
//
// The grammar of instants: every spelling under which a snapshot can be named, in the mount and
// after the @ on the command line. Not the catalogue of sources (catalog.h) and no clock: the
// snapshots and the present are arguments. Pure functions, callable from any thread.
//
//   2024-03-16  2024-03-16T06  2024-03-16T06:20  2024-03-16T06:20:07      periods, on the clock of
//   2024-03-16T06-20  20240316T0620  20240316T062007  20240316            the listed names
//   2024-03-16T05:57:12+01:00  2024-03-16T05:57Z  20240316T0557+0100      periods, absolute
//   @GMT-2024.03.16-05.57.00                                              the same, in UTC
//   today  yesterday                                                      days, on that clock too
//   90s-ago  5m-ago  2h-ago  3d-ago  1w-ago                               points
//   latest  latest~2  id:1a2b                                             by order, by identity
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/base/result.h"

namespace bygone::fs {

// One snapshot, as far as instants care.
struct InstantPoint {
  std::string listed_name;  // fixed at commit
  std::string zone;         // whose clock the listed name shows
  Nanoseconds instant = 0;
  SnapshotId id;
};

// Whether `spelling` is an instant of the grammar above, whatever snapshots exist.
[[nodiscard]] bool is_instant(std::string_view spelling);

// The index in `points` (one source, oldest first) of the snapshot that `spelling` names: the one
// whose listed name it is, in any notation; else the newest one at or before the end of the period
// or the point named. Nothing when there is none that old. Periods are read on the clock of each
// snapshot's own zone; a doubled hour counts to the end of its second pass.
// Errors: invalid for what is_instant() refuses, and for the beginning of several ids.
[[nodiscard]] Result<std::optional<std::size_t>> resolve_instant(
    std::string_view spelling, std::span<const InstantPoint> points, Nanoseconds now);

// SOURCE[@INSTANT][:PATH], as typed on the command line.
struct SnapshotPath {
  std::string source;              // "db", "db+host", "volume:data"
  std::string instant = "latest";  // a valid spelling
  std::string path;                // without leading slashes; empty: the whole snapshot
  bool has_path = false;           // whether there was a ':' before a path
};

// Splits `text`: the longest valid instant is taken, then the end or ':'. A path that looks like a
// time is written ":/12". Errors: invalid, naming the part that does not fit.
[[nodiscard]] Result<SnapshotPath> parse_snapshot_path(std::string_view text);

}  // namespace bygone::fs
