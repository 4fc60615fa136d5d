// SPDX-License-Identifier: Apache-2.0
//
// Which paths a person leaves out: patterns as in .gitignore (gitignore(5)), with `!` to take
// back, `/` to anchor, `**` across folders. Pure; immutable once parsed; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::ingest {

class Excludes {
 public:
  Excludes() = default;
  // One pattern a line; empty lines and lines with '#' in front are none. The last pattern that
  // matches decides. Errors: invalid for a pattern that cannot be (an unclosed '['), naming it.
  static Result<Excludes> parse(const std::vector<std::string>& lines);

  [[nodiscard]] bool empty() const { return rules_.empty(); }
  // Whether the entry at `path` (relative to the volume's root, raw bytes, no slash in front) is
  // left out. Ask only about entries whose folders are not left out: what is below one is not
  // visited.
  [[nodiscard]] bool matches(std::string_view path, bool is_directory) const;

 private:
  struct Rule {
    std::string pattern;  // without '!', and without slashes at its ends
    bool negated = false;
    bool anchored = false;        // matches from the root only
    bool directories_only = false;
  };
  std::vector<Rule> rules_;
};

}  // namespace bygone::ingest
