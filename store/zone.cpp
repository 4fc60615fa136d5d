// SPDX-License-Identifier: Apache-2.0
#include "store/zone.h"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include <date/date.h>
#include <date/tz.h>
#include <fmt/core.h>

namespace bygone::store {
namespace {

using SysSeconds = date::sys_time<std::chrono::seconds>;

// Whole years whose every instant fits in Nanoseconds.
constexpr int kFirstYear = 1678;
constexpr int kLastYear = 2261;

// nullptr for a zone that this machine does not know, or when it has no zone files at all.
const date::time_zone* find_zone(const std::string& name) {
  if (name.empty() || name == "UTC") return nullptr;
  try {
    return date::locate_zone(name);
  } catch (const std::exception&) {
    return nullptr;
  }
}

SysSeconds floor_seconds(Nanoseconds instant) {
  return SysSeconds{date::floor<std::chrono::seconds>(std::chrono::nanoseconds{instant})};
}

std::int64_t offset_at(const date::time_zone* zone, SysSeconds when) {
  return zone == nullptr ? 0 : zone->get_info(when).offset.count();
}

// Whether `when` is in the second pass through a doubled hour.
bool is_second_pass(const date::time_zone* zone, SysSeconds when) {
  if (zone == nullptr) return false;
  const auto local = date::local_seconds{when.time_since_epoch() + zone->get_info(when).offset};
  const auto info = zone->get_info(local);
  return info.result == date::local_info::ambiguous && when >= info.second.begin;
}

std::string offset_text(std::int64_t seconds, const char* separator) {
  const std::int64_t minutes = std::abs(seconds) / 60;
  return fmt::format("{}{:02}{}{:02}", seconds < 0 ? '-' : '+', minutes / 60, separator,
                     minutes % 60);
}

// TZ=Europe/Berlin, TZ=:Europe/Berlin and TZ=/usr/share/zoneinfo/Europe/Berlin all name a zone.
std::string strip_zone_path(std::string text) {
  if (text.starts_with(':')) text.erase(0, 1);
  constexpr std::string_view kMarker = "zoneinfo/";
  if (const std::size_t at = text.rfind(kMarker); at != std::string::npos) {
    text.erase(0, at + kMarker.size());
  }
  return text;
}

}  // namespace

std::string local_zone_name() {
  if (const char* tz = std::getenv("TZ"); tz != nullptr && *tz != '\0') {
    std::string name = strip_zone_path(tz);
    if (name == "UTC" || find_zone(name) != nullptr) return name;
  }
  try {
    return date::current_zone()->name();
  } catch (const std::exception&) {
    return "UTC";
  }
}

bool is_zone(const std::string& name) { return name == "UTC" || find_zone(name) != nullptr; }

CivilTime to_civil(const std::string& zone, Nanoseconds instant, std::int64_t* utc_offset_seconds) {
  const SysSeconds when = floor_seconds(instant);
  const std::int64_t offset = offset_at(find_zone(zone), when);
  if (utc_offset_seconds != nullptr) *utc_offset_seconds = offset;
  const SysSeconds local = when + std::chrono::seconds{offset};
  const auto day = date::floor<date::days>(local);
  const date::year_month_day ymd{day};
  const date::hh_mm_ss<std::chrono::seconds> time{local - day};
  CivilTime civil;
  civil.year = static_cast<int>(ymd.year());
  civil.month = static_cast<unsigned>(ymd.month());
  civil.day = static_cast<unsigned>(ymd.day());
  civil.hour = static_cast<unsigned>(time.hours().count());
  civil.minute = static_cast<unsigned>(time.minutes().count());
  civil.second = static_cast<unsigned>(time.seconds().count());
  return civil;
}

std::optional<Nanoseconds> from_civil(const std::string& zone, const CivilTime& civil, bool later) {
  const date::year_month_day ymd{date::year{civil.year}, date::month{civil.month},
                                 date::day{civil.day}};
  if (!ymd.ok() || civil.year < kFirstYear || civil.year > kLastYear) return std::nullopt;
  if (civil.hour > 23 || civil.minute > 59 || civil.second > 59) return std::nullopt;
  const date::local_seconds local = date::local_days{ymd} + std::chrono::hours{civil.hour} +
                                    std::chrono::minutes{civil.minute} +
                                    std::chrono::seconds{civil.second};
  std::chrono::seconds utc = local.time_since_epoch();
  if (const date::time_zone* found = find_zone(zone); found != nullptr) {
    const auto info = found->get_info(local);
    if (info.result == date::local_info::nonexistent) {
      utc = info.second.begin.time_since_epoch();
    } else {
      const bool second = later && info.result == date::local_info::ambiguous;
      utc -= second ? info.second.offset : info.first.offset;
    }
  }
  return utc.count() * kSecond;
}

std::string make_listed_name(const std::string& zone, Nanoseconds instant,
                             const std::vector<std::string>& taken) {
  std::int64_t offset = 0;
  const CivilTime c = to_civil(zone, instant, &offset);
  const std::string suffix =
      is_second_pass(find_zone(zone), floor_seconds(instant)) ? offset_text(offset, "") : "";
  const auto is_free = [&](const std::string& name) {
    return std::find(taken.begin(), taken.end(), name) == taken.end();
  };
  const std::string minute =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute);
  if (is_free(minute + suffix)) return minute + suffix;
  const std::string second = fmt::format("{}:{:02}", minute, c.second);
  if (is_free(second + suffix)) return second + suffix;
  for (int n = 2;; ++n) {
    std::string name = fmt::format("{}.{}{}", second, n, suffix);
    if (is_free(name)) return name;
  }
}

std::string to_rfc3339(const std::string& zone, Nanoseconds instant) {
  std::int64_t offset = 0;
  const CivilTime c = to_civil(zone, instant, &offset);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", c.year, c.month, c.day, c.hour,
                     c.minute, c.second, offset_text(offset, ":"));
}

}  // namespace bygone::store
