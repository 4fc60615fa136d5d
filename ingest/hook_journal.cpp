// SPDX-License-Identifier: Apache-2.0
#include "ingest/hook_journal.h"

#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "ingest/intent_journal.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kHookKind = "hook";
constexpr std::string_view kHookVersion = "1";

// The next line, `word` and a field.
std::optional<std::string> take_word(std::string_view& text, std::string_view word) {
  const auto line = take_line(text, word);
  return line ? unescape_field(*line) : std::nullopt;
}

template <class T>
std::optional<T> take_number(std::string_view& text, std::string_view word) {
  const auto line = take_line(text, word);
  return line ? number_field<T>(*line) : std::nullopt;
}

bool take_hooked(std::string_view& text, HookRecord& record) {
  auto line = take_line(text, "container");
  if (!line) return false;
  const auto id = take_field(*line, ' ');
  const auto name = take_field(*line, ' ');
  if (!id || id->empty() || !name) return false;
  auto plain_id = unescape_field(*id);
  auto plain_name = unescape_field(*name);
  auto started_at = unescape_field(*line);
  if (!plain_id || !plain_name || !started_at) return false;
  record.container = std::move(*plain_id);
  record.name = std::move(*plain_name);
  record.started_at = std::move(*started_at);
  return true;
}

std::optional<HookRecord> hook_record_of(std::string_view text) {
  HookRecord record;
  auto engine = take_word(text, "engine");
  if (!engine || !take_hooked(text, record)) return std::nullopt;
  const auto stopped = take_number<unsigned>(text, "stopped");
  auto user = take_word(text, "user");
  const auto timeout = take_number<std::int64_t>(text, "timeout");
  const auto failures = take_number<unsigned>(text, "failures");
  if (!stopped || *stopped > 1 || !user || !timeout || *timeout < 0 || !failures) {
    return std::nullopt;
  }
  record.engine = std::move(*engine);
  record.is_stopped = *stopped == 1;
  record.hook.user = std::move(*user);
  record.hook.timeout = std::chrono::milliseconds(*timeout);
  record.failures = *failures;
  while (const auto line = take_line(text, "argument")) {
    auto argument = unescape_field(*line);
    if (!argument) return std::nullopt;
    record.hook.command.push_back(std::move(*argument));
  }
  if (record.hook.command.empty() || !is_end(text, record.hook.command.size())) {
    return std::nullopt;
  }
  return record;
}

}  // namespace

std::string encode(const HookRecord& record) {
  std::string text = fmt::format(
      "bygone {} journal {}\nengine {}\ncontainer {} {} {}\nstopped {}\n", kHookKind, kHookVersion,
      escape_field(record.engine), escape_field(record.container), escape_field(record.name),
      escape_field(record.started_at), record.is_stopped ? 1 : 0);
  text += fmt::format("user {}\ntimeout {}\nfailures {}\n", escape_field(record.hook.user),
                      record.hook.timeout.count(), record.failures);
  for (const std::string& argument : record.hook.command) {
    text += fmt::format("argument {}\n", escape_field(argument));
  }
  return text + fmt::format("end {}\n", record.hook.command.size());
}

Result<HookRecord> decode_hook_record(std::string_view text) {
  TRY(take_version(text, kHookKind, {kHookVersion}));
  auto record = hook_record_of(text);
  if (!record) return Error{Code::corrupt, 0, "the journal is damaged"};
  return std::move(*record);
}

std::string hook_folder(const std::string& state_folder) { return state_folder + "/hooks"; }

}  // namespace bygone::ingest
