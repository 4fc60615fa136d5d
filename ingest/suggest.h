// SPDX-License-Identifier: Apache-2.0
//
// The nearest of several words, for "did you mean". Pure, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bygone::ingest {

// Insertions, deletions, replacements and swaps of neighbours between two words.
[[nodiscard]] std::size_t distance(std::string_view a, std::string_view b);
// The nearest of `known` to `typed`: one that begins with it, or at most a third of its letters
// (at least one, and two from four letters on) away; empty when none is.
[[nodiscard]] std::string nearest(std::string_view typed, const std::vector<std::string>& known);

}  // namespace bygone::ingest
