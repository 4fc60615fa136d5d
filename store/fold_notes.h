// SPDX-License-Identifier: Apache-2.0
//
// Keeps notes from growing with every snapshot that ever was (FORMAT.md section 8.6): what was said
// about a record that is gone is removed, and that it is gone becomes an entry in the list of its
// source. May be cut short anywhere: the next one goes on. One thread; beside any other process.
#pragma once

#include <cstddef>

#include "store/base/clock.h"
#include "store/repository.h"

namespace bygone::store {

// The ids that a list keeps: those with the highest numbers. Some three months of hourly backups,
// for which a host that was away tells one history from another; 36 KiB.
inline constexpr std::size_t kGoneListed = 2048;

// Returns how many notes were removed. Holds the lock on names meanwhile. Removes nothing while a
// note or a record cannot be read: nobody knows what it needs; nor, but for a warning, on a full
// disk, where whoever frees space must go on. `listed`: for tests, at most kGoneListed. Errors:
// busy, io; nothing is lost by any.
[[nodiscard]] Result<std::size_t> fold_notes(Repository& repository, Nanoseconds now,
                                             std::size_t listed = kGoneListed);

}  // namespace bygone::store
