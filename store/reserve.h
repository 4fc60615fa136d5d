// SPDX-License-Identifier: Apache-2.0
//
// The 8 MiB that init sets aside, so that what frees space still has room to write on a full disk.
// Callable from any thread; two processes may release at once.
#pragma once

#include <functional>
#include <string>

#include "store/base/files.h"

namespace bygone::store {

// Creates `reserve` in the folder of the repository, with its blocks. Nothing happens when it is
// there. Errors: no_space, io; then there is none.
Result<void> make_reserve(Files& files, const std::string& repository);

// Gives its blocks back to the file system. False when there is none to give.
Result<bool> release_reserve(Files& files, const std::string& repository);

// Runs `work`; when it fails with no_space and there is a reserve, releases it and runs `work` once
// more, which therefore must be repeatable. Only for what frees space: forget, prune.
Result<void> with_reserve(Files& files, const std::string& repository,
                          const std::function<Result<void>()>& work);

// Puts the reserve back when it is missing and there is room; a disk that is still full is no
// error. For every session that writes.
void renew_reserve(Files& files, const std::string& repository);

}  // namespace bygone::store
