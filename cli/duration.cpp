// SPDX-License-Identifier: Apache-2.0
#include "cli/duration.h"

#include <string>

#include <CLI/CLI.hpp>

#include "store/base/bytes.h"

namespace bygone::cli {
namespace {

constexpr Nanoseconds kLongest = Nanoseconds{200} * 365 * 86'400 * kSecond;

Nanoseconds unit_of(char unit) {
  switch (unit) {
    case 's':
      return kSecond;
    case 'm':
      return Nanoseconds{60} * kSecond;
    case 'h':
      return Nanoseconds{3600} * kSecond;
    case 'd':
      return Nanoseconds{86'400} * kSecond;
    case 'w':
      return Nanoseconds{7} * 86'400 * kSecond;
    case 'y':
      return Nanoseconds{365} * 86'400 * kSecond;
    default:
      return 0;
  }
}

}  // namespace

std::optional<Nanoseconds> parse_duration(std::string_view text) {
  Nanoseconds total = 0;
  Nanoseconds number = -1;  // none yet
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      number = std::max<Nanoseconds>(number, 0) * 10 + (c - '0');
      if (number > 1'000'000'000) return std::nullopt;
      continue;
    }
    const Nanoseconds unit = unit_of(c);
    if (unit == 0 || number < 0 || number > kLongest / unit) return std::nullopt;
    total += number * unit;
    if (total > kLongest) return std::nullopt;
    number = -1;
  }
  if (total == 0 || number >= 0) return std::nullopt;
  return total;
}

void add_duration(CLI::App& app, const char* option, Nanoseconds& target, const char* description) {
  app.add_option_function<std::string>(
         option,
         [&target, option](const std::string& text) {
           const auto value = parse_duration(text);
           if (!value) {
             throw CLI::ValidationError(std::string(option) +
                                            " takes a time such as 90s, 5m, 36h, 7d, 2w or 1y, "
                                            "and not " +
                                            printable(text),
                                        CLI::ExitCodes::ValidationError);
           }
           target = *value;
         },
         description)
      ->type_name("DURATION");
}

}  // namespace bygone::cli
