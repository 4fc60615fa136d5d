// SPDX-License-Identifier: Apache-2.0
//
// A command written in one line (a label, a line of the configuration) made into the words of an
// argv, split as a POSIX shell splits (POSIX.1-2017, shell command language, 2.2): blanks, single
// and double quotes, backslashes. No shell is there, so nothing is expanded. Pure, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::ingest {

// At least one word. Errors: invalid for an empty line, a quote without its end, a backslash at the
// end, a NUL, and for what only a shell could give a meaning outside of quotes (a pipe, `$HOME`):
// the hint is to write `sh -c '...'`.
[[nodiscard]] Result<std::vector<std::string>> split_words(std::string_view line);

}  // namespace bygone::ingest
