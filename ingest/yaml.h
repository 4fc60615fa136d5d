// SPDX-License-Identifier: Apache-2.0
//
// A YAML document as a tree that remembers where each value stood: a wrapper of libyaml, its only
// includer. Takes what a configuration needs and no more: one document of maps, lists and plain
// values, without aliases (a kilobyte of them makes gigabytes) and tags. Pure, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::ingest {

inline constexpr std::size_t kMaxYamlBytes = 1u << 20;
inline constexpr std::size_t kMaxYamlDepth = 16;

struct YamlNode {
  enum class Kind { nothing, text, list, map };
  Kind kind = Kind::nothing;
  std::string text;             // of a plain value, quotes taken off
  std::string key;              // under which it stands in its map
  std::size_t line = 0;         // of the key where there is one, else of the value; from 1
  std::vector<YamlNode> items;  // of a list, or of a map in the order of the file; keys are unique
};

// The document in `text`; an empty one is a map without items. Errors: invalid, beginning with
// "line 3, column 7: ", for what is no YAML, what is left out above, a key given twice, and more
// than kMaxYamlBytes or kMaxYamlDepth.
[[nodiscard]] Result<YamlNode> parse_yaml(std::string_view text);

}  // namespace bygone::ingest
