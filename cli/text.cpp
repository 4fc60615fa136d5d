// SPDX-License-Identifier: Apache-2.0
#include "cli/text.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include <fmt/core.h>

#include "store/zone.h"

namespace bygone::cli {
namespace {

// Length of the UTF-8 sequence at the head of `text`, 0 when there is none.
std::size_t sequence_length(std::string_view text) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(4, text.size()); ++n) {
    if (is_utf8(text.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
  static const char* const kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.95 would round to "1024.0".
  while (value >= 1023.5 && unit < 6) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, value < 99.95 ? 1 : 0, kUnits[unit]);
}

std::string count_text(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string counted(std::uint64_t count, const std::string& noun) {
  return count_text(count) + " " + noun + (count == 1 ? "" : "s");
}

std::optional<double> parse_percent(std::string text) {
  if (text.ends_with('%')) text.pop_back();
  std::size_t used = 0;
  double percent = -1;
  try {
    percent = std::stod(text, &used);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  // Not so written, "nan" would pass.
  if (used != text.size() || !(percent >= 0 && percent <= 100)) return std::nullopt;
  return percent;
}

std::string duration_text(double seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 1) return fmt::format("{:.0f} ms", std::min(seconds * 1000, 999.0));
  const auto whole = static_cast<std::uint64_t>(std::lround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string mode_text(store::FileType type, std::uint32_t mode) {
  static const char kTypes[] = "?-dlpscb";
  std::string text(1, kTypes[std::min<std::size_t>(static_cast<std::size_t>(type), 7)]);
  for (int shift = 6; shift >= 0; shift -= 3) {
    const std::uint32_t bits = mode >> shift;
    text += bits & 4u ? 'r' : '-';
    text += bits & 2u ? 'w' : '-';
    text += bits & 1u ? 'x' : '-';
  }
  const auto special = [&](std::size_t at, std::uint32_t bit, char with, char without) {
    if (mode & bit) text[at] = text[at] == 'x' ? with : without;
  };
  special(3, 04000, 's', 'S');
  special(6, 02000, 's', 'S');
  special(9, 01000, 't', 'T');
  return text;
}

const char* type_text(store::FileType type) {
  switch (type) {
    case store::FileType::regular:
      return "file";
    case store::FileType::directory:
      return "dir";
    case store::FileType::symlink:
      return "symlink";
    case store::FileType::fifo:
      return "fifo";
    case store::FileType::socket:
      return "socket";
    case store::FileType::char_device:
      return "chardev";
    case store::FileType::block_device:
      return "dev";
  }
  return "unknown";
}

std::string time_text(const std::string& zone, const store::Timestamp& time) {
  // Nanoseconds since 1970 in 64 bits end in 2262; files may say anything.
  constexpr std::int64_t kMaxSeconds = 9'223'372'035;
  if (time.seconds > kMaxSeconds || time.seconds < -kMaxSeconds) {
    return fmt::format("@{}.{:09}", time.seconds, time.nanoseconds);
  }
  std::string text = store::to_rfc3339(zone, time.seconds * kSecond);
  const std::size_t after_seconds = 19;
  if (time.nanoseconds != 0 && text.size() > after_seconds) {
    text.insert(after_seconds, fmt::format(".{:09}", time.nanoseconds));
  }
  return text;
}

std::string base64(ByteView bytes) {
  static const char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) group = group << 8 | (i < n ? bytes[at + i] : 0u);
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= n ? kDigits[group >> (18 - 6 * i) & 63u] : '=';
    }
  }
  return text;
}

std::string lossy_utf8(std::string_view raw) {
  if (is_utf8(raw)) return std::string(raw);
  std::string text;
  while (!raw.empty()) {
    const std::size_t n = sequence_length(raw);
    text += n == 0 ? std::string_view("\xef\xbf\xbd") : raw.substr(0, n);
    raw.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return text;
}

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
  }));
}

std::vector<std::string> Table::lines() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    widths.push_back(width(columns_[i].title));
    for (const auto& row : rows_) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::vector<std::string> lines;
  const auto add = [&](auto&& cell) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string text = cell(i);
      const std::string pad(widths[i] - width(text), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].right ? pad + text : text + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  };
  add([&](std::size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) add([&](std::size_t i) { return row[i]; });
  return lines;
}

}  // namespace bygone::cli
