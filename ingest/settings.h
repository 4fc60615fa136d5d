// SPDX-License-Identifier: Apache-2.0
//
// The one table of what can be said about a source: labels, the configuration file, its tiers, the
// environment and `config show` all go by it. A key is a label without its "bygone."; values are
// text, or a list in the file. Pure, any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/policy.h"
#include "store/base/result.h"

namespace bygone::ingest {

// A value as it was written, in a label, the environment or the file.
struct Value {
  std::string text;  // no blanks around it; of a list: its items, joined by ", "
  std::vector<std::string> items;
  bool is_list = false;  // given as a list, so that `text` is not to be split
};

// One text, without the blanks and line ends around it.
[[nodiscard]] Value text_value(std::string_view text);

// Values by key, each with where it was written (Given::origin).
struct Written {
  Value value;
  std::string origin;
};
using Values = std::map<std::string, Written>;

struct Setting {
  const char* key;
  unsigned places;      // of Place
  const char* meaning;  // what it takes, for people
  // Puts the value into the policy; `zone`: the clock of schedules. Errors: invalid, and then the
  // policy may be changed all the same.
  Result<void> (*take)(const Value& value, const std::string& zone, Policy& policy);
};

// Where a setting has a meaning.
enum Place : unsigned {
  kContainer = 1,
  kVolume = 2,
  kFolder = 4,
  kLabelOnly = 8,  // on containers, and not in the file
};

// In the order in which they are to be taken: what belongs to another setting comes after it.
[[nodiscard]] const std::vector<Setting>& settings();
[[nodiscard]] const Setting* find_setting(std::string_view key);

// Whether the value is one for that setting. Errors: invalid, saying why.
[[nodiscard]] Result<void> check_value(const Setting& setting, const Value& value,
                                       const std::string& zone);
// "; did you mean X?" or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view typed,
                                       const std::vector<std::string>& known);
// Text from outside as it may stand in a message: printable, quoted, and cut when it is long.
[[nodiscard]] std::string in_quotes(std::string_view text);
// true, yes, on, 1, or false, no, off, 0, in any case; nothing for anything else.
[[nodiscard]] std::optional<bool> parse_switch(std::string_view text);

}  // namespace bygone::ingest
