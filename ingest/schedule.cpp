// SPDX-License-Identifier: Apache-2.0
#include "ingest/schedule.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include <fmt/core.h>

#include "store/base/bytes.h"
#include "store/zone.h"

namespace bygone::ingest {
namespace {

constexpr std::int64_t kDaySeconds = kDay / kSecond;
// Some weekday may be asked of a February 29, and a century without a leap year lies between.
constexpr std::int64_t kSearchDays = std::int64_t{366} * 50;

struct Field {
  const char* name;
  unsigned low, high;
  std::span<const std::string_view> names;  // of `low` and the following values
};

constexpr std::string_view kMonths[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                        "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view kWeekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
const Field kFields[] = {{"second", 0, 59, {}},     {"minute", 0, 59, {}},
                         {"hour", 0, 23, {}},       {"day", 1, 31, {}},
                         {"month", 1, 12, kMonths}, {"weekday", 0, 7, kWeekdays}};

struct Shorthand {
  std::string_view word, cron;
};
constexpr Shorthand kShorthands[] = {{"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},
                                     {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
                                     {"@monthly", "0 0 1 * *"},  {"@yearly", "0 0 1 1 *"},
                                     {"@annually", "0 0 1 1 *"}};

// A piece of the schedule's text that knows where it stood.
struct Excerpt {
  std::string_view text;
  std::size_t column = 1;

  [[nodiscard]] Excerpt sub(std::size_t at, std::size_t length = std::string_view::npos) const {
    return {text.substr(at, length), column + at};
  }
};

Error bad(const Excerpt& piece, const std::string& why) {
  return {Code::invalid, 0, fmt::format("column {}: {}", piece.column, why)};
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::vector<Excerpt> split(const Excerpt& piece, std::string_view separators, bool keep_empty) {
  std::vector<Excerpt> pieces;
  std::size_t from = 0;
  while (from <= piece.text.size()) {
    const std::size_t to = std::min(piece.text.find_first_of(separators, from), piece.text.size());
    if (keep_empty || to > from) pieces.push_back(piece.sub(from, to - from));
    from = to + 1;
  }
  return pieces;
}

std::optional<std::uint64_t> digits(std::string_view text) {
  if (text.empty() || text.size() > 9) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

Result<unsigned> parse_value(const Excerpt& piece, const Field& field) {
  if (piece.text.empty()) return bad(piece, fmt::format("a {} is missing", field.name));
  const std::string word = lower(piece.text);
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (word == field.names[i]) return field.low + static_cast<unsigned>(i);
  }
  const auto number = digits(piece.text);
  if (!number || *number < field.low || *number > field.high) {
    return bad(piece, fmt::format("'{}' is no {}, which is {} to {}", printable(piece.text),
                                  field.name, field.low, field.high));
  }
  return static_cast<unsigned>(*number);
}

// Values of one item of a list: `*`, `5`, `1-5`, any of them with a step.
Result<std::vector<unsigned>> parse_item(const Excerpt& item, const Field& field) {
  const std::size_t slash = item.text.find('/');
  const Excerpt range = item.sub(0, slash);
  std::uint64_t step = 1;
  if (slash != std::string_view::npos) {
    const Excerpt text = item.sub(slash + 1);
    const auto number = digits(text.text);
    if (!number || *number == 0) {
      return bad(text, fmt::format("'{}' is no step", printable(text.text)));
    }
    step = *number;
  }
  unsigned low = field.low;
  unsigned high = field.high;
  if (range.text != "*") {
    const std::size_t dash = range.text.find('-');
    low = TRY(parse_value(range.sub(0, dash), field));
    if (dash != std::string_view::npos) {
      high = TRY(parse_value(range.sub(dash + 1), field));
      // Saturday to Sunday is a week's end.
      if (high == 0 && field.high == 7) high = 7;
      if (high < low) {
        return bad(range, fmt::format("the range '{}' runs backwards", printable(range.text)));
      }
    } else if (slash == std::string_view::npos) {
      high = low;
    }
  } else if (field.high == 7) {
    high = 6;
  }
  std::vector<unsigned> values;
  for (std::uint64_t value = low; value <= high; value += step) {
    values.push_back(static_cast<unsigned>(value));
  }
  return values;
}

template <std::size_t N>
Result<void> parse_field(const Excerpt& piece, const Field& field, std::bitset<N>& set) {
  for (const Excerpt& item : split(piece, ",", true)) {
    for (const unsigned value : TRY(parse_item(item, field))) set.set(value % N);
  }
  return {};
}

// Howard Hinnant's algorithms for the proleptic Gregorian calendar.
std::int64_t day_number(std::int64_t year, unsigned month, unsigned day) {
  if (month <= 2) --year;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t shifted = (month + 9) % 12;
  const std::int64_t day_of_year = (153 * shifted + 2) / 5 + day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719'468;
}

store::CivilTime date_of(std::int64_t number) {
  number += 719'468;
  const std::int64_t era = (number >= 0 ? number : number - 146'096) / 146'097;
  const std::int64_t day = number - era * 146'097;
  const std::int64_t year = (day - day / 1460 + day / 36'524 - day / 146'096) / 365;
  const std::int64_t rest = day - (365 * year + year / 4 - year / 100);
  const std::int64_t month = (5 * rest + 2) / 153;
  store::CivilTime date;
  date.day = static_cast<unsigned>(rest - (153 * month + 2) / 5 + 1);
  date.month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9);
  date.year = static_cast<int>(year + era * 400 + (date.month <= 2 ? 1 : 0));
  return date;
}

std::int64_t floor_div(std::int64_t value, std::int64_t by) {
  return value / by - (value % by < 0 ? 1 : 0);
}

constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

}  // namespace

Result<Schedule> Schedule::parse(std::string_view text, const std::string& zone) {
  Schedule schedule;
  schedule.text_ = text;
  schedule.zone_ = zone;
  if (!store::is_zone(zone)) {
    return Error{Code::invalid, 0,
                 fmt::format("no time zone is called '{}'; hint: names are such as Europe/Berlin",
                             printable(zone))};
  }
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) {
    return Error{Code::invalid, 0,
                 "a schedule is missing; hint: @daily, every 15m, or cron's five fields"};
  }
  const auto with_text = [&](Error error) {
    return std::move(error).with(fmt::format("schedule '{}'", printable(text)));
  };
  const std::string_view trimmed = text.substr(from, text.find_last_not_of(" \t") + 1 - from);
  Result<void> parsed;
  if (trimmed.starts_with('@')) {
    const auto* found = std::find_if(std::begin(kShorthands), std::end(kShorthands),
                                     [&](const auto& one) { return one.word == lower(trimmed); });
    if (found == std::end(kShorthands)) {
      return with_text(bad({trimmed, from + 1},
                           "no such word; hint: @hourly, @daily, @weekly, @monthly, @yearly"));
    }
    parsed = schedule.parse_cron(found->cron);
  } else if (lower(trimmed.substr(0, 5)) == "every" &&
             (trimmed.size() == 5 || trimmed[5] == ' ' || trimmed[5] == '\t')) {
    parsed = schedule.parse_every(text);
  } else {
    parsed = schedule.parse_cron(text);
  }
  if (!parsed.ok()) return with_text(parsed.error());
  return schedule;
}

Result<void> Schedule::parse_every(std::string_view text) {
  const std::vector<Excerpt> words = split({text}, " \t", false);
  if (words.size() != 2) {
    return bad(words.back(), "'every' takes one length of time, such as 15m or 6h");
  }
  const Excerpt& length = words[1];
  const auto number = digits(length.text.substr(0, length.text.size() - 1));
  Nanoseconds unit = 0;
  switch (length.text.back()) {
    case 's':
      unit = kSecond;
      break;
    case 'm':
      unit = 60 * kSecond;
      break;
    case 'h':
      unit = 3600 * kSecond;
      break;
    case 'd':
      unit = kDay;
      break;
    case 'w':
      unit = 7 * kDay;
      break;
    default:
      break;
  }
  constexpr Nanoseconds kLongest = 3660 * kDay;
  if (!number || *number == 0 || unit == 0 ||
      *number > static_cast<std::uint64_t>(kLongest / unit)) {
    return bad(length, fmt::format("'{}' is no length of time; hint: 30s, 15m, 6h, 1d, 2w, up to "
                                   "ten years",
                                   printable(length.text)));
  }
  every_ = static_cast<Nanoseconds>(*number) * unit;
  return {};
}

Result<void> Schedule::parse_cron(std::string_view text) {
  const std::vector<Excerpt> pieces = split({text}, " \t", false);
  if (pieces.size() != 5 && pieces.size() != 6) {
    const Excerpt& at = pieces.size() > 6 ? pieces[6] : pieces.back();
    return bad(at, fmt::format("{} field{}, and not five (minute hour day month weekday) or six "
                               "(second first)",
                               pieces.size(), pieces.size() == 1 ? "" : "s"));
  }
  const std::size_t first = pieces.size() - 5;
  if (first == 1) {
    TRY(parse_field(pieces[0], kFields[0], seconds_));
  } else {
    seconds_.set(0);
  }
  TRY(parse_field(pieces[first], kFields[1], minutes_));
  TRY(parse_field(pieces[first + 1], kFields[2], hours_));
  TRY(parse_field(pieces[first + 2], kFields[3], days_));
  TRY(parse_field(pieces[first + 3], kFields[4], months_));
  TRY(parse_field(pieces[first + 4], kFields[5], weekdays_));
  either_day_ =
      !pieces[first + 2].text.starts_with('*') && !pieces[first + 4].text.starts_with('*');
  if (!is_possible()) {
    return bad(pieces[first + 2], "no month of the schedule has that day: it would never run");
  }
  return {};
}

bool Schedule::is_possible() const {
  constexpr unsigned kLast[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (either_day_) return true;
  for (unsigned month = 1; month <= 12; ++month) {
    for (unsigned day = 1; day <= kLast[month]; ++day) {
      if (months_[month] && days_[day]) return true;
    }
  }
  return false;
}

bool Schedule::matches(const Day& day) const {
  if (!months_[day.month]) return false;
  const auto weekday = static_cast<std::size_t>(day.number + 4 - floor_div(day.number + 4, 7) * 7);
  return either_day_ ? days_[day.day] || weekdays_[weekday] : days_[day.day] && weekdays_[weekday];
}

// The first day at or after `number` on which the schedule runs.
Schedule::Day Schedule::matching_day(std::int64_t number) const {
  for (std::int64_t end = number + kSearchDays; number < end; ++number) {
    const store::CivilTime date = date_of(number);
    const Day day{date.year, date.month, date.day, number};
    if (matches(day)) return day;
  }
  return {0, 1, 1, number};
}

// Readings of the clock in rising order; the instants that they mean rise with them, for a skipped
// one means the change and a doubled one the first pass.
Nanoseconds Schedule::next_by_wall(Nanoseconds instant) const {
  const store::CivilTime now = store::to_civil(zone_, instant);
  const std::int64_t today = day_number(now.year, now.month, now.day);
  for (std::int64_t number = today, end = today + kSearchDays; number < end; ++number) {
    const Day day = matching_day(number);
    number = day.number;
    store::CivilTime at{.year = day.year, .month = day.month, .day = day.day};
    for (at.hour = 0; at.hour < 24; ++at.hour) {
      if (!hours_[at.hour] || (number == today && at.hour < now.hour)) continue;
      // The whole hour is over already: the second pass of one that was doubled.
      at.minute = at.second = 59;
      const auto last = store::from_civil(zone_, at);
      if (!last) return kNever;  // past the calendar of Nanoseconds
      if (*last <= instant) continue;
      for (at.minute = 0; at.minute < 60; ++at.minute) {
        if (!minutes_[at.minute]) continue;
        for (at.second = 0; at.second < 60; ++at.second) {
          if (!seconds_[at.second]) continue;
          const auto when = store::from_civil(zone_, at);
          if (when && *when > instant) return *when;
        }
      }
    }
  }
  return kNever;
}

// Every hour counts, so real time is what is walked, and the clock is read at each step.
Nanoseconds Schedule::next_by_hours(Nanoseconds instant) const {
  std::int64_t at = floor_div(instant, kSecond) + 1;
  const std::int64_t end = at + kSearchDays * kDaySeconds;
  while (at < end && at < kNever / kSecond) {
    const store::CivilTime now = store::to_civil(zone_, at * kSecond);
    const std::int64_t today = day_number(now.year, now.month, now.day);
    const Day day = matching_day(today);
    if (day.number != today) {
      const auto midnight = store::from_civil(
          zone_, {.year = day.year, .month = day.month, .day = day.day, .hour = 0});
      if (!midnight) return kNever;
      // At a midnight that is doubled the first of the two may lie behind us.
      at = std::max(at + 60 - now.second, *midnight / kSecond);
    } else if (!minutes_[now.minute]) {
      at += 60 - now.second;
    } else if (!seconds_[now.second]) {
      ++at;
    } else {
      return at * kSecond;
    }
  }
  return kNever;
}

Nanoseconds Schedule::next_after(Nanoseconds instant) const {
  instant -= shift_;
  Nanoseconds next = 0;
  if (every_ > 0) {
    next = (floor_div(instant, every_) + 1) * every_;
  } else {
    next = hours_.all() ? next_by_hours(instant) : next_by_wall(instant);
  }
  return next == kNever ? next : next + shift_;
}

Nanoseconds Schedule::last_before(Nanoseconds instant) const {
  if (every_ > 0) return floor_div(instant - shift_, every_) * every_ + shift_;
  // Between `low` and `high`, in seconds before `instant`, lies the last moment from which the next
  // run is not after `instant`.
  const auto is_before = [&](std::int64_t seconds) {
    return next_after(instant - seconds * kSecond) <= instant;
  };
  std::int64_t high = 1;
  while (high < kSearchDays * kDaySeconds && !is_before(high)) high *= 2;
  std::int64_t low = high / 2;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (is_before(middle) ? high : low) = middle;
  }
  return next_after(instant - high * kSecond);
}

Nanoseconds Schedule::interval_at(Nanoseconds instant) const {
  return next_after(instant) - last_before(instant);
}

Schedule Schedule::shifted(Nanoseconds by) const {
  Schedule copy = *this;
  copy.shift_ = std::max<Nanoseconds>(0, by);
  return copy;
}

// FNV-1a, and the finisher of splitmix64: what is asked for is that it never changes.
Nanoseconds jitter_of(std::uint64_t seed, std::string_view source, Nanoseconds bound) {
  if (bound <= 0) return 0;
  std::uint64_t hash = 14'695'981'039'346'656'037ULL ^ seed;
  for (const char c : source) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211ULL;
  }
  hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebULL;
  return static_cast<Nanoseconds>((hash ^ (hash >> 31U)) % static_cast<std::uint64_t>(bound));
}

}  // namespace bygone::ingest
