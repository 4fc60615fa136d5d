// SPDX-License-Identifier: Apache-2.0
#include "ingest/exclude.h"

#include <algorithm>
#include <array>
#include <utility>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using Bits = std::bitset<256>;

std::size_t byte(char c) { return static_cast<unsigned char>(c); }

Error invalid(const std::string& why) { return {Code::invalid, 0, why}; }

// As isalpha() and its kin in the C locale, whatever ours is.
bool in_class(std::string_view name, std::size_t c, bool& known) {
  const bool upper = c >= 'A' && c <= 'Z';
  const bool lower = c >= 'a' && c <= 'z';
  const bool digit = c >= '0' && c <= '9';
  const bool graph = c > 0x20 && c < 0x7f;
  const bool xdigit = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  const std::array<std::pair<std::string_view, bool>, 12> classes{{
      {"alnum", upper || lower || digit},
      {"alpha", upper || lower},
      {"blank", c == ' ' || c == '\t'},
      {"cntrl", c < 0x20 || c == 0x7f},
      {"digit", digit},
      {"graph", graph},
      {"lower", lower},
      {"print", graph || c == ' '},
      {"punct", graph && !upper && !lower && !digit},
      {"space", c == ' ' || (c >= '\t' && c <= '\r')},
      {"upper", upper},
      {"xdigit", xdigit},
  }};
  const auto* found = std::find_if(classes.begin(), classes.end(),
                                   [&](const auto& entry) { return entry.first == name; });
  known = found != classes.end();
  return known && found->second;
}

Result<Bits> class_bits(std::string_view name) {
  Bits bits;
  bool known = false;
  for (std::size_t c = 0; c < bits.size(); ++c) bits[c] = in_class(name, c, known);
  if (!known) return invalid("'[:" + std::string(name) + ":]' is no class of bytes");
  return bits;
}

// Spaces at the end go, but for one behind a backslash.
std::string_view without_trailing_spaces(std::string_view line) {
  std::size_t end = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ' ') continue;
    if (line[i] == '\\') ++i;
    end = std::min(i + 1, line.size());
  }
  return line.substr(0, end);
}

}  // namespace

Result<Excludes> Excludes::parse(const std::vector<std::string>& lines) {
  Excludes excludes;
  for (const std::string& line : lines) {
    std::string_view text = line;
    if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);  // as some editors begin files
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    text = without_trailing_spaces(text);
    if (text.empty() || text.front() == '#') continue;
    auto rule = compile(text);
    if (!rule) {
      return std::move(rule).error().with("reading exclude pattern '" + printable(text) + "'");
    }
    excludes.rules_.push_back(std::move(*rule));
  }
  return excludes;
}

Result<Excludes::Rule> Excludes::compile(std::string_view pattern) {
  Rule rule;
  if (pattern.front() == '!') {
    rule.negated = true;
    pattern.remove_prefix(1);
  }
  if (!pattern.empty() && pattern.front() == '/') rule.anchored = true;

  Segment segment;
  std::size_t begin = 0;  // of the segment, in `pattern`
  const auto end_segment = [&](std::size_t end) -> Result<void> {
    if (end > begin) {
      TRY(finish(segment, pattern.substr(begin, end - begin)));
      rule.segments.push_back(std::exchange(segment, {}));
    }
    return {};
  };
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    const bool escaped = c == '\\';
    if (escaped) {
      if (++i == pattern.size()) return invalid("it ends with a lone backslash");
      c = pattern[i];
    }
    if (c == '/') {
      TRY(end_segment(escaped ? i - 1 : i));
      begin = i + 1;
    } else if (!escaped && c == '[') {
      segment.tokens.push_back(TRY(compile_set(pattern, i)));
    } else if (!escaped && c == '*') {
      const bool again = !segment.tokens.empty() && segment.tokens.back().star;
      if (!again) segment.tokens.push_back({.star = true, .set = {}});
    } else {
      Token token;
      token.set.set(byte(c));
      if (!escaped && c == '?') token.set.set();
      segment.tokens.push_back(token);
    }
  }
  rule.directories_only = !pattern.empty() && pattern.back() == '/';
  TRY(end_segment(pattern.size()));
  if (rule.segments.empty()) return invalid("it names nothing");
  rule.anchored = rule.anchored || rule.segments.size() > 1;
  return rule;
}

Result<void> Excludes::finish(Segment& segment, std::string_view text) {
  if (text == "." || text == "..") {
    return invalid("paths begin at the volume's root and have no '" + std::string(text) +
                   "' in them; hint: /x is x at the root, x is x in any folder");
  }
  segment.any_folders = text.size() > 1 && text.find_first_not_of('*') == std::string_view::npos;
  return {};
}

// `at` stands on the '[' and ends on the ']'.
Result<Excludes::Token> Excludes::compile_set(std::string_view pattern, std::size_t& at) {
  Token token;
  std::size_t i = at + 1;
  const bool inverted = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (inverted) ++i;
  const std::size_t first = i;
  // Takes one byte, escaped or not. What is not there is found by the loop below.
  const auto take = [&] {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    return byte(pattern[i++]);
  };
  // A slash cannot be in a set: no set matches one, it would cut the set in two.
  while (i < pattern.size() && pattern[i] != '/' && (pattern[i] != ']' || i == first)) {
    if (pattern.substr(i, 2) == "[:") {
      const std::size_t end = pattern.find(":]", i + 2);
      if (end != std::string_view::npos) {
        token.set |= TRY(class_bits(pattern.substr(i + 2, end - i - 2)));
        i = end + 2;
        continue;
      }
    }
    const std::size_t low = take();
    std::size_t high = low;
    if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
      ++i;
      high = take();
    }
    if (high < low) return invalid("it has a range that ends before it begins");
    for (std::size_t c = low; c <= high; ++c) token.set.set(c);
  }
  if (i >= pattern.size() || pattern[i] != ']') {
    return invalid("it has a '[' without its ']'; hint: write \\[ for the character");
  }
  if (inverted) token.set.flip();
  at = i;
  return token;
}

// A star that does not fit yet takes one byte more. Only the latest star ever needs to: what an
// earlier one leaves to the rest is never less than what a longer match of it would leave.
bool Excludes::name_matches(const std::vector<Token>& tokens, std::string_view name) {
  std::size_t t = 0;
  std::size_t n = 0;
  std::size_t after_star = tokens.size() + 1;  // none yet
  std::size_t star_end = 0;
  while (n < name.size()) {
    if (t < tokens.size() && tokens[t].star) {
      after_star = ++t;
      star_end = n;
    } else if (t < tokens.size() && tokens[t].set[byte(name[n])]) {
      ++t;
      ++n;
    } else if (after_star <= tokens.size()) {
      t = after_star;
      n = ++star_end;
    } else {
      return false;
    }
  }
  while (t < tokens.size() && tokens[t].star) ++t;
  return t == tokens.size();
}

// The same with names for bytes and `**` for the star.
bool Excludes::path_matches(const std::vector<Segment>& segments, std::string_view path) {
  const auto end_of_name = [&](std::size_t from) {
    return std::min(path.find('/', from), path.size());
  };
  std::size_t s = 0;
  std::size_t p = 0;  // begin of a name; path.size() + 1 behind the last one
  std::size_t after_star = segments.size() + 1;
  std::size_t star_end = 0;
  while (p <= path.size()) {
    const std::size_t end = end_of_name(p);
    if (s < segments.size() && segments[s].any_folders) {
      after_star = ++s;
      star_end = p;
      // At the end it stands for what is inside, not for the folder itself.
      if (s == segments.size()) return true;
    } else if (s < segments.size() && name_matches(segments[s].tokens, path.substr(p, end - p))) {
      ++s;
      p = end + 1;
    } else if (after_star <= segments.size()) {
      s = after_star;
      p = star_end = end_of_name(star_end) + 1;
    } else {
      return false;
    }
  }
  return s == segments.size();
}

bool Excludes::matches(std::string_view path, bool is_directory) const {
  const std::string_view name = path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
  const auto fits = [&](const Rule& rule) {
    if (rule.directories_only && !is_directory) return false;
    return rule.anchored ? path_matches(rule.segments, path)
                         : name_matches(rule.segments.front().tokens, name);
  };
  const auto rule = std::find_if(rules_.rbegin(), rules_.rend(), fits);
  return rule != rules_.rend() && !rule->negated;
}

}  // namespace bygone::ingest
