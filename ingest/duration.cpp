// SPDX-License-Identifier: Apache-2.0
#include "ingest/duration.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

namespace bygone::ingest {
namespace {

constexpr Nanoseconds kLongestDuration = 200 * (365 * kDay);

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
    if (unit == 0 || number < 0 || number > kLongestDuration / unit) return std::nullopt;
    total += number * unit;
    if (total > kLongestDuration) return std::nullopt;
    number = -1;
  }
  if (total == 0 || number >= 0) return std::nullopt;
  return total;
}

std::optional<std::chrono::milliseconds> parse_short_duration(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string number(text.substr(0, digits));
  const std::string_view unit = text.substr(digits);
  const double factor = unit == "ms"                  ? 1
                        : unit.empty() || unit == "s" ? 1000
                        : unit == "m"                 ? 60'000
                                                      : 0;
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end) * factor;
  if (number.empty() || *end != '\0' || !(value >= 1) || value > 3'600'000) return std::nullopt;
  return std::chrono::milliseconds(std::lround(value));
}

}  // namespace bygone::ingest
