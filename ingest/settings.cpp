// SPDX-License-Identifier: Apache-2.0
#include "ingest/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include <fmt/core.h>

#include "ingest/discover.h"
#include "ingest/duration.h"
#include "ingest/exclude.h"
#include "ingest/suggest.h"
#include "ingest/words.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using Kind = DumpWish::Kind;

template <class T>
using Words = std::vector<std::pair<const char*, T>>;

Error wrong(std::string why) { return {Code::invalid, 0, std::move(why)}; }

std::string_view trim(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") + 1 - from);
}

Result<std::string> one(const Value& value) {
  if (value.is_list) return wrong("takes one value, and not a list");
  return value.text;
}

// A label has its items between commas, or one a line when it has lines.
std::vector<std::string> many(const Value& value) {
  if (value.is_list) return value.items;
  const char separator = value.text.find('\n') == std::string::npos ? ',' : '\n';
  std::vector<std::string> items;
  for (std::size_t from = 0; from <= value.text.size();) {
    const std::size_t to = std::min(value.text.find(separator, from), value.text.size());
    const std::string_view item = trim(std::string_view(value.text).substr(from, to - from));
    if (!item.empty()) items.emplace_back(item);
    from = to + 1;
  }
  return items;
}

Result<std::vector<std::string>> command(const Value& value) {
  if (!value.is_list) return split_words(value.text);
  if (value.items.empty() || value.items.front().empty()) return wrong("names no program");
  return value.items;
}

template <class T>
Result<T> word(const Value& value, const Words<T>& words) {
  const std::string text = TRY(one(value));
  std::vector<std::string> known;
  std::string list;
  for (const auto& [name, meant] : words) {
    if (text == name) return meant;
    known.emplace_back(name);
    list += (list.empty() ? "" : ", ") + known.back();
  }
  const std::string near = nearest(text, known);
  return wrong(fmt::format("{} is none of {}{}", in_quotes(text), list,
                           near.empty() ? "" : "; did you mean " + near + "?"));
}

Result<bool> on_or_off(const Value& value) {
  const std::string text = TRY(one(value));
  if (const auto meant = parse_switch(text)) return *meant;
  return wrong(in_quotes(text) + " is neither true nor false");
}

Result<std::uint64_t> count(const Value& value) {
  const std::string text = TRY(one(value));
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  constexpr std::uint64_t kMost = 1'000'000;
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size() ||
      number > kMost) {
    return wrong(fmt::format("{} is no number from 0 to {}", in_quotes(text), kMost));
  }
  return number;
}

Result<Nanoseconds> length(const Value& value) {
  const std::string text = TRY(one(value));
  if (text == "0") return Nanoseconds{0};
  if (const auto parsed = parse_duration(text)) return *parsed;
  return wrong(in_quotes(text) + " is no length of time; hint: 90s, 5m, 36h, 7d, 2w, 1y, or 0");
}

Result<std::chrono::milliseconds> short_length(const Value& value) {
  const std::string text = TRY(one(value));
  if (const auto parsed = parse_short_duration(text)) return *parsed;
  return wrong(in_quotes(text) + " is no length of time up to 60m; hint: 500ms, 10s, 1m");
}

// "none" says that what a lower place said does not count.
bool is_none(const std::string& text) { return text == "none"; }

Result<void> take_schedule(const Value& value, const std::string& zone, Policy& policy) {
  std::string text = TRY(one(value));
  if (is_none(text)) {
    policy.schedule.reset();
    return {};
  }
  std::string clock = zone;
  constexpr std::string_view kZone = "TZ=";
  if (text.starts_with(kZone)) {
    const std::size_t blank = std::min(text.find_first_of(" \t"), text.size());
    clock = text.substr(kZone.size(), blank - kZone.size());
    text = trim(std::string_view(text).substr(blank));
  }
  policy.schedule = TRY(Schedule::parse(text, clock));
  return {};
}

constexpr const char* kNameHint =
    "; hint: letters, digits, '_', '.' and '-', the first a letter or digit";

// Discovery gives it (selection.h), and takes Docker's name where this is none.
Result<void> take_name(const Value& value, const std::string& /*zone*/, Policy& /*policy*/) {
  const std::string text = TRY(one(value));
  if (valid_name(text)) return {};
  return wrong(in_quotes(text) + " cannot be a source's name, Docker's is used" + kNameHint);
}

Result<void> take_group(const Value& value, const std::string& /*zone*/, Policy& policy) {
  std::string text = TRY(one(value));
  if (is_none(text)) text.clear();
  if (!text.empty() && !valid_name(text)) {
    return wrong(in_quotes(text) + " cannot be a group's name" + kNameHint);
  }
  policy.group = std::move(text);
  return {};
}

Result<void> take_exclude(const Value& value, const std::string& /*zone*/, Policy& policy) {
  policy.exclude = many(value);
  TRY(Excludes::parse(policy.exclude));
  return {};
}

Hook& ensure(std::optional<Hook>& hook) {
  if (!hook) hook.emplace();
  return *hook;
}

template <auto kMember>
Result<void> take_count(const Value& value, const std::string& /*zone*/, Policy& policy) {
  policy.keep.*kMember = TRY(count(value));
  return {};
}

template <auto kHook>
Result<void> take_hook(const Value& value, const std::string& /*zone*/, Policy& policy) {
  if (!value.is_list && is_none(value.text)) {
    (policy.*kHook).reset();
    return {};
  }
  ensure(policy.*kHook).command = TRY(command(value));
  return {};
}

template <auto kHook>
Result<void> take_hook_user(const Value& value, const std::string& /*zone*/, Policy& policy) {
  ensure(policy.*kHook).user = TRY(one(value));
  return {};
}

template <auto kHook>
Result<void> take_hook_timeout(const Value& value, const std::string& /*zone*/, Policy& policy) {
  ensure(policy.*kHook).timeout = TRY(short_length(value));
  return {};
}

template <auto kHook>
Result<void> take_hook_on_error(const Value& value, const std::string& /*zone*/, Policy& policy) {
  static const Words<Hook::OnError> words = {{"fail", Hook::OnError::fail},
                                             {"continue", Hook::OnError::go_on}};
  ensure(policy.*kHook).on_error = TRY(word(value, words));
  return {};
}

Result<void> take_consistency(const Value& value, const std::string& /*zone*/, Policy& policy) {
  static const Words<Wish> words = {{"auto", Wish::automatic},    {"native", Wish::native},
                                    {"snapshot", Wish::snapshot}, {"freeze", Wish::freeze},
                                    {"stop", Wish::stop},         {"live", Wish::live}};
  policy.wish = TRY(word(value, words));
  return {};
}

Result<void> take_dump(const Value& value, const std::string& /*zone*/, Policy& policy) {
  static const Words<Kind> words = {{"auto", Kind::automatic},  {"postgres", Kind::postgres},
                                    {"mariadb", Kind::mariadb}, {"mysql", Kind::mysql},
                                    {"redis", Kind::redis},     {"sqlite", Kind::sqlite},
                                    {"mongo", Kind::mongo},     {"none", Kind::none}};
  policy.dump.kind = TRY(word(value, words));
  return {};
}

Result<void> take_dump_command(const Value& value, const std::string& /*zone*/, Policy& policy) {
  policy.dump.command = TRY(command(value));
  policy.dump.kind = Kind::command;
  return {};
}

Result<void> take_dump_file(const Value& value, const std::string& /*zone*/, Policy& policy) {
  policy.dump.file = TRY(one(value));
  if (valid_name(policy.dump.file)) return {};
  return wrong(in_quotes(policy.dump.file) +
               " cannot be a dump's name; hint: letters, digits, '_', '.' and '-', the first a "
               "letter or digit");
}

Result<void> take_hold(const Value& value, const std::string& /*zone*/, Policy& /*policy*/) {
  static const Words<int> words = {{"auto", 0}, {"always", 1}, {"never", 2}};
  TRY(word(value, words));  // holder.h reads it when the container starts
  return {};
}

constexpr unsigned kAny = kContainer | kVolume | kFolder;
using Rules = store::RetentionRules;

std::vector<Setting> make_settings() {
  using Zone = const std::string&;
  return {
      {"enable", kAny, "whether it is backed up: true or false",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.enabled = TRY(on_or_off(value));
         return {};
       }},
      {"name", kLabelOnly, "what it is called as a source", take_name},
      {"tier", kAny, "a set of settings with a name",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.tier = TRY(one(value));
         return {};
       }},
      {"schedule", kAny, "when: cron fields, @daily, \"every 15m\", none", take_schedule},
      {"jitter", kAny, "runs are up to this much later",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.jitter = TRY(length(value));
         return {};
       }},
      {"keep-last", kAny, "so many newest snapshots", take_count<&Rules::last>},
      {"keep-hourly", kAny, "one an hour, for so many hours", take_count<&Rules::hourly>},
      {"keep-daily", kAny, "one a day, for so many days", take_count<&Rules::daily>},
      {"keep-weekly", kAny, "one a week, for so many weeks", take_count<&Rules::weekly>},
      {"keep-monthly", kAny, "one a month, for so many months", take_count<&Rules::monthly>},
      {"keep-yearly", kAny, "one a year, for so many years", take_count<&Rules::yearly>},
      {"keep-within", kAny, "all of this time before the newest",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.keep.within = TRY(length(value));
         return {};
       }},
      {"group", kContainer | kVolume, "sources of one group share an instant", take_group},
      {"volumes.include", kContainer, "only these volumes",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.include_volumes = many(value);
         return {};
       }},
      {"volumes.exclude", kContainer, "not these volumes",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.exclude_volumes = many(value);
         return {};
       }},
      {"exclude", kAny, "patterns of files to leave out", take_exclude},
      {"consistency", kAny, "auto, native, snapshot, freeze, stop or live", take_consistency},
      {"layer", kContainer, "the writable layer, too: on or off",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.layer = TRY(on_or_off(value));
         return {};
       }},
      {"max-freeze", kContainer | kVolume, "longest time to stand still",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.max_freeze = TRY(short_length(value));
         return {};
       }},
      {"pre", kContainer, "command in the container before", take_hook<&Policy::pre>},
      {"pre.user", kContainer, "who runs it", take_hook_user<&Policy::pre>},
      {"pre.timeout", kContainer, "how long it may take", take_hook_timeout<&Policy::pre>},
      {"pre.on-error", kContainer, "fail or continue", take_hook_on_error<&Policy::pre>},
      {"post", kContainer, "command in the container afterwards", take_hook<&Policy::post>},
      {"post.user", kContainer, "who runs it", take_hook_user<&Policy::post>},
      {"post.timeout", kContainer, "how long it may take", take_hook_timeout<&Policy::post>},
      {"post.on-error", kContainer, "fail or continue", take_hook_on_error<&Policy::post>},
      {"dump", kContainer, "which database to dump, auto or none", take_dump},
      {"dump.command", kContainer, "a command that prints a dump", take_dump_command},
      {"dump.file", kContainer, "what its dump is called", take_dump_file},
      {"dump.user", kContainer, "who runs it",
       [](const Value& value, Zone, Policy& policy) -> Result<void> {
         policy.dump.user = TRY(one(value));
         return {};
       }},
      {"hold", kLabelOnly, "keep the data of a vanishing container: auto, always, never",
       take_hold},
  };
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> list = make_settings();
  return list;
}

const Setting* find_setting(std::string_view key) {
  for (const Setting& setting : settings()) {
    if (key == setting.key) return &setting;
  }
  return nullptr;
}

Value text_value(std::string_view text) { return {std::string(trim(text)), {}, false}; }

Result<void> check_value(const Setting& setting, const Value& value, const std::string& zone) {
  Policy scratch;
  return setting.take(value, zone, scratch);
}

std::string did_you_mean(std::string_view typed, const std::vector<std::string>& known) {
  constexpr std::size_t kLongest = 64;  // the distance costs the product of both lengths
  const std::string near = typed.size() > kLongest ? "" : nearest(typed, known);
  return near.empty() ? "" : "; did you mean " + printable(near) + "?";
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLongest = 100;
  if (text.size() <= kLongest) return "'" + printable(text) + "'";
  return "'" + printable(text.substr(0, kLongest)) + "...'";
}

std::optional<bool> parse_switch(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == "true" || lower == "yes" || lower == "on" || lower == "1") return true;
  if (lower == "false" || lower == "no" || lower == "off" || lower == "0") return false;
  return std::nullopt;
}

}  // namespace bygone::ingest
