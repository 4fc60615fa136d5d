// SPDX-License-Identifier: Apache-2.0
//
// Writes down which snapshots were read and found whole. Callable from any thread.
#pragma once

#include <vector>

#include "store/repository.h"

namespace bygone::store {

// Notes of each snapshot that is there still that every byte in its reach was read at `now` and is
// whole: retention keeps the newest such. Errors: those of write_notes(); busy when the lock on
// names is not to be had.
[[nodiscard]] Result<void> note_verified(Repository& repository,
                                         const std::vector<SnapshotId>& snapshots, Nanoseconds now);

}  // namespace bygone::store
