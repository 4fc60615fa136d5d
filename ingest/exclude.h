// SPDX-License-Identifier: Apache-2.0
//
// Which paths a person leaves out: patterns as in .gitignore (gitignore(5)), with `!` to take
// back, `/` to anchor, `**` across folders. Bytes, no encoding: a `?` is one byte. Pure; immutable
// once parsed; any thread.
#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::ingest {

class Excludes {
 public:
  Excludes() = default;
  // One pattern a line; empty lines and lines with '#' in front are none. The last pattern that
  // matches decides. Errors: invalid for a pattern that could never match (an unclosed '[', a
  // backslash at the end, "./x"), naming it: a person would take it for one that works.
  static Result<Excludes> parse(const std::vector<std::string>& lines);

  [[nodiscard]] bool empty() const { return rules_.empty(); }
  // Whether the entry at `path` (relative to the volume's root, raw bytes, no slash in front) is
  // left out. Ask only about entries whose folders are not left out: what is below one is not
  // visited. At most length of pattern times length of path steps a pattern.
  [[nodiscard]] bool matches(std::string_view path, bool is_directory) const;

 private:
  struct Token {
    bool star = false;  // any number of bytes; else one byte out of `set`
    std::bitset<256> set;
  };
  // What stands between two slashes.
  struct Segment {
    bool any_folders = false;  // `**`
    std::vector<Token> tokens;
  };
  struct Rule {
    std::vector<Segment> segments;
    bool negated = false;
    bool anchored = false;  // matches the whole path, else the last name of it
    bool directories_only = false;
  };
  static Result<Rule> compile(std::string_view pattern);
  static Result<Token> compile_set(std::string_view pattern, std::size_t& at);
  static Result<void> finish(Segment& segment, std::string_view text);
  static bool name_matches(const std::vector<Token>& tokens, std::string_view name);
  static bool path_matches(const std::vector<Segment>& segments, std::string_view path);

  std::vector<Rule> rules_;
};

}  // namespace bygone::ingest
