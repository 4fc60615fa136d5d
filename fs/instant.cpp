// SPDX-License-Identifier: Apache-2.0
#include "fs/instant.h"

#include <algorithm>
#include <map>
#include <variant>

#include <fmt/core.h>

#include "store/zone.h"

namespace bygone::fs {
namespace {

using store::CivilTime;

enum class Precision { day, hour, minute, second };

// A date or time: the period that it names, on a zone's clock or (with an offset) absolutely.
struct Period {
  CivilTime first;
  Precision precision = Precision::day;
  std::string fraction;  // digits after the second; also the count of a listed name's ".2"
  std::optional<std::int64_t> offset_seconds;
};
struct Day {
  int back = 0;  // 0 today, 1 yesterday
};
struct Age {
  Nanoseconds length = 0;
};
struct Latest {
  std::uint64_t back = 0;
};
struct IdStart {
  std::string hex;
};
using Parsed = std::variant<Period, Day, Age, Latest, IdStart>;

// Reads a spelling from left to right.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Exactly `digits` decimal digits.
  std::optional<unsigned> number(std::size_t digits) {
    if (count_digits() < digits) return std::nullopt;
    unsigned value = 0;
    for (const char c : rest_.substr(0, digits))
      value = value * 10 + static_cast<unsigned>(c - '0');
    rest_.remove_prefix(digits);
    return value;
  }
  std::string_view digits() {
    const std::string_view run = rest_.substr(0, count_digits());
    rest_.remove_prefix(run.size());
    return run;
  }
  [[nodiscard]] std::size_t count_digits() const {
    const std::size_t n = rest_.find_first_not_of("0123456789");
    return n == std::string_view::npos ? rest_.size() : n;
  }

 private:
  std::string_view rest_;
};

// The number in `digits`; nothing when it is empty or too long to be meant.
std::optional<std::uint64_t> small_number(std::string_view digits) {
  if (digits.empty() || digits.size() > 9) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) value = value * 10 + static_cast<std::uint64_t>(c - '0');
  return value;
}

// "Z", "+01:00", "+0100": what is left after a time, or nothing at all. False for other text.
bool scan_offset(Scanner& in, Period& out) {
  if (in.at_end()) return true;
  if (in.take('Z') || in.take('z')) {
    out.offset_seconds = 0;
    return in.at_end();
  }
  const bool minus = in.rest().front() == '-';
  if (!in.take('+') && !in.take('-')) return false;
  const auto hours = in.number(2);
  in.take(':');
  const auto minutes = in.number(2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59 || !in.at_end()) return false;
  const std::int64_t seconds = *hours * std::int64_t{3600} + *minutes * std::int64_t{60};
  out.offset_seconds = minus ? -seconds : seconds;
  return true;
}

bool scan_fraction(Scanner& in, Period& out) {
  if (!in.take('.')) return true;
  out.fraction = std::string(in.digits());
  return !out.fraction.empty() && out.fraction.size() <= 9;
}

// After "2024-03-16T05": minutes and seconds, joined by ':' or, where no colon may be, by '-'.
bool scan_extended_time(Scanner& in, Period& out) {
  const char joint = in.take(':') ? ':' : '-';
  if (joint == '-') {
    // "T05-0100" is an offset, "T05-57" are minutes.
    Scanner ahead = in;
    if (!ahead.take('-') || ahead.count_digits() != 2) return scan_offset(in, out);
    in = ahead;
  }
  const auto minute = in.number(2);
  if (!minute) return false;
  out.first.minute = *minute;
  out.precision = Precision::minute;
  Scanner ahead = in;
  // "-05:00" after minutes is an offset, "-05" or "-05+01:00" are seconds.
  if (ahead.take(joint) && ahead.count_digits() == 2) {
    const auto second = ahead.number(2);
    const bool is_offset = joint == '-' && ahead.take(':');
    if (!is_offset) {
      in = ahead;
      out.first.second = *second;
      out.precision = Precision::second;
      if (!scan_fraction(in, out)) return false;
    }
  }
  return scan_offset(in, out);
}

// "20240316T0557", "20240316T055712": digits only.
bool scan_basic_time(Scanner& in, Period& out) {
  const std::size_t digits = in.count_digits();
  if (digits != 2 && digits != 4 && digits != 6) return false;
  out.first.hour = *in.number(2);
  out.precision = Precision::hour;
  if (digits >= 4) {
    out.first.minute = *in.number(2);
    out.precision = Precision::minute;
  }
  if (digits == 6) {
    out.first.second = *in.number(2);
    out.precision = Precision::second;
    if (!scan_fraction(in, out)) return false;
  }
  return scan_offset(in, out);
}

bool is_possible(const Period& period) {
  return store::from_civil("UTC", period.first).has_value();
}

std::optional<Parsed> parse_period(std::string_view text) {
  Scanner in(text);
  Period out;
  const bool basic = in.count_digits() == 8;
  const auto year = in.number(4);
  if (!year) return std::nullopt;
  if (!basic && !in.take('-')) return std::nullopt;
  const auto month = in.number(2);
  if (!basic && !in.take('-')) return std::nullopt;
  const auto day = in.number(2);
  if (!month || !day) return std::nullopt;
  out.first = {static_cast<int>(*year), *month, *day, 0, 0, 0};
  if (!in.at_end()) {
    if (!in.take('T') && !in.take('t')) return std::nullopt;
    if (basic) {
      if (!scan_basic_time(in, out)) return std::nullopt;
    } else {
      const auto hour = in.number(2);
      if (!hour) return std::nullopt;
      out.first.hour = *hour;
      out.precision = Precision::hour;
      if (!scan_extended_time(in, out)) return std::nullopt;
    }
  }
  if (!is_possible(out)) return std::nullopt;
  return out;
}

// "@GMT-2024.03.16-05.57.00", as Windows asks Samba for a previous version.
std::optional<Parsed> parse_gmt(std::string_view text) {
  constexpr std::string_view kShape = "@GMT-dddd.dd.dd-dd.dd.dd";
  if (text.size() != kShape.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == 'd' ? !digit : text[i] != kShape[i]) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t digits) {
    return static_cast<unsigned>(small_number(text.substr(at, digits)).value_or(0));
  };
  Period out;
  out.first = {static_cast<int>(number(5, 4)),
               number(10, 2),
               number(13, 2),
               number(16, 2),
               number(19, 2),
               number(22, 2)};
  out.precision = Precision::second;
  out.offset_seconds = 0;
  if (!is_possible(out)) return std::nullopt;
  return out;
}

// "2h-ago"
std::optional<Parsed> parse_age(std::string_view text) {
  Scanner in(text);
  const auto count = small_number(in.digits());
  if (!count || in.rest().size() != 5 || in.rest().substr(1) != "-ago") return std::nullopt;
  const std::map<char, Nanoseconds> units = {
      {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
  const auto unit = units.find(in.rest().front());
  if (unit == units.end()) return std::nullopt;
  // 9,223,372,036 s is the most that Nanoseconds hold; 292 years are long enough for anybody.
  const std::uint64_t seconds = *count * static_cast<std::uint64_t>(unit->second);
  if (seconds > 9'000'000'000) return std::nullopt;
  return Age{static_cast<Nanoseconds>(seconds) * kSecond};
}

std::optional<Parsed> parse(std::string_view text) {
  if (text == "latest") return Latest{0};
  if (text == "today") return Day{0};
  if (text == "yesterday") return Day{1};
  if (text.starts_with("latest~")) {
    Scanner in(text.substr(7));
    const auto back = small_number(in.digits());
    if (!back || !in.at_end()) return std::nullopt;
    return Latest{*back};
  }
  if (text.starts_with("id:")) {
    std::string hex(text.substr(3));
    std::transform(hex.begin(), hex.end(), hex.begin(),
                   [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
    const bool fits = !hex.empty() && hex.size() <= 2 * SnapshotId::kSize &&
                      hex.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!fits) return std::nullopt;
    return IdStart{hex};
  }
  if (text.starts_with('@')) return parse_gmt(text);
  if (auto age = parse_age(text)) return age;
  return parse_period(text);
}

// One text for all notations of the same period.
std::string canonical(const Period& p) {
  std::string out = fmt::format("{:04}-{:02}-{:02}", p.first.year, p.first.month, p.first.day);
  if (p.precision >= Precision::hour) out += fmt::format("T{:02}", p.first.hour);
  if (p.precision >= Precision::minute) out += fmt::format(":{:02}", p.first.minute);
  if (p.precision >= Precision::second) out += fmt::format(":{:02}", p.first.second);
  if (!p.fraction.empty()) out += "." + p.fraction;
  if (p.offset_seconds) {
    const std::int64_t minutes = std::abs(*p.offset_seconds) / 60;
    out +=
        fmt::format("{}{:02}{:02}", *p.offset_seconds < 0 ? '-' : '+', minutes / 60, minutes % 60);
  }
  return out;
}

Nanoseconds fraction_nanoseconds(const std::string& digits, Nanoseconds* unit) {
  Nanoseconds value = 0;
  *unit = kSecond;
  for (const char c : digits) {
    *unit /= 10;
    value += (c - '0') * *unit;
  }
  return value;
}

// The first instant after the period, on the clock of `zone`.
Nanoseconds end_of(const Period& period, const std::string& zone) {
  CivilTime last = period.first;
  if (period.precision < Precision::hour) last.hour = 23;
  if (period.precision < Precision::minute) last.minute = 59;
  if (period.precision < Precision::second) last.second = 59;
  Nanoseconds unit = kSecond;
  const Nanoseconds inside = fraction_nanoseconds(period.fraction, &unit);
  if (period.offset_seconds) {
    return store::from_civil("UTC", last).value_or(0) - *period.offset_seconds * kSecond + inside +
           unit;
  }
  // Its last second, in the second pass of a doubled hour; one unit later it is over. In an hour
  // that does not exist it is over at the change of the clock.
  const Nanoseconds start = store::from_civil(zone, last, true).value_or(0);
  const CivilTime shown = store::to_civil(zone, start);
  const bool exists = shown.hour == last.hour && shown.minute == last.minute;
  return exists ? start + inside + unit : start;
}

Nanoseconds end_of(const Day& day, const std::string& zone, Nanoseconds now) {
  // Noon is on the same date whatever the clock did in the night.
  CivilTime noon = store::to_civil(zone, now);
  noon.hour = 12;
  noon.minute = noon.second = 0;
  const Nanoseconds then =
      store::from_civil("UTC", noon).value_or(0) - day.back * Nanoseconds{86400} * kSecond;
  Period period;
  period.first = store::to_civil("UTC", then);
  return end_of(period, zone);
}

// The newest point before the end that `end` gives for its zone.
template <class EndOf>
std::optional<std::size_t> newest_before(std::span<const InstantPoint> points, EndOf end) {
  std::map<std::string, Nanoseconds> ends;
  for (std::size_t i = points.size(); i-- > 0;) {
    auto it = ends.find(points[i].zone);
    if (it == ends.end()) it = ends.emplace(points[i].zone, end(points[i].zone)).first;
    if (points[i].instant < it->second) return i;
  }
  return std::nullopt;
}

Result<std::optional<std::size_t>> find_id(const IdStart& start,
                                           std::span<const InstantPoint> points) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!points[i].id.hex().starts_with(start.hex)) continue;
    if (found) {
      return Error{
          Code::invalid, 0,
          "id:" + start.hex + " begins the ids of several snapshots; hint: give more digits"};
    }
    found = i;
  }
  return found;
}

}  // namespace

bool is_instant(std::string_view spelling) { return parse(spelling).has_value(); }

Result<std::optional<std::size_t>> resolve_instant(std::string_view spelling,
                                                   std::span<const InstantPoint> points,
                                                   Nanoseconds now) {
  const std::optional<Parsed> parsed = parse(spelling);
  if (!parsed) {
    return Error{Code::invalid, 0,
                 "'" + printable(spelling) +
                     "' is not an instant; hint: 2024-03-16T05:57, yesterday, 2h-ago, latest"};
  }
  if (const auto* latest = std::get_if<Latest>(&*parsed)) {
    if (latest->back >= points.size()) return std::optional<std::size_t>();
    return std::optional<std::size_t>(points.size() - 1 - latest->back);
  }
  if (const auto* id = std::get_if<IdStart>(&*parsed)) return find_id(*id, points);
  if (const auto* age = std::get_if<Age>(&*parsed)) {
    return newest_before(points, [&](const std::string&) { return now - age->length + 1; });
  }
  if (const auto* day = std::get_if<Day>(&*parsed)) {
    return newest_before(points, [&](const std::string& zone) { return end_of(*day, zone, now); });
  }
  const auto& period = std::get<Period>(*parsed);
  const std::string wanted = canonical(period);
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].listed_name == wanted) return std::optional<std::size_t>(i);
  }
  return newest_before(points, [&](const std::string& zone) { return end_of(period, zone); });
}

Result<SnapshotPath> parse_snapshot_path(std::string_view text) {
  constexpr std::string_view kVolume = "volume:";
  SnapshotPath out;
  // Only the colon of "volume:" belongs to a source; Docker's names have neither '@' nor ':'.
  const std::size_t from = text.starts_with(kVolume) ? kVolume.size() : 0;
  const std::size_t end = std::min(text.find_first_of("@:", from), text.size());
  out.source = std::string(text.substr(0, end));
  if (end == from) {
    return Error{Code::invalid, 0,
                 "'" + printable(text) + "' names no source; hint: SOURCE[@INSTANT][:PATH]"};
  }
  std::string_view rest = text.substr(end);
  if (rest.starts_with('@')) {
    rest.remove_prefix(1);
    std::size_t length = rest.size();
    while (!is_instant(rest.substr(0, length))) {
      const std::size_t colon = length == 0 ? std::string_view::npos : rest.rfind(':', length - 1);
      if (colon == std::string_view::npos) {
        return Error{Code::invalid, 0,
                     "'" + printable(rest) + "' does not begin with an instant; hint: " +
                         "2024-03-16T05:57, yesterday, 2h-ago, latest"};
      }
      length = colon;
    }
    out.instant = std::string(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  if (rest.starts_with(':')) {
    out.has_path = true;
    rest.remove_prefix(std::min(rest.find_first_not_of('/', 1), rest.size()));
    out.path = std::string(rest);
  }
  return out;
}

}  // namespace bygone::fs
