// SPDX-License-Identifier: Apache-2.0
#include "ingest/freeze_journal.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "ingest/host_view.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr std::string_view kKind = "freeze";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kVersionWithStops = "2";

std::optional<FreezeRecord::Container> container_of(std::string_view line, bool stopped) {
  const auto id = take_field(line, ' ');
  const auto name = take_field(line, ' ');
  if (!id || id->empty() || !name) return std::nullopt;
  auto plain_id = unescape_field(*id);
  auto plain_name = unescape_field(*name);
  auto started_at = unescape_field(line);
  if (!plain_id || !plain_name || !started_at) return std::nullopt;
  return FreezeRecord::Container{std::move(*plain_id), std::move(*plain_name),
                                 std::move(*started_at), stopped};
}

// The next line about a container.
std::optional<std::string_view> take_container(std::string_view& text, bool& stopped) {
  auto line = take_line(text, "container");
  stopped = !line;
  return line ? line : take_line(text, "stopped");
}

std::optional<FreezeRecord> body_of(std::string_view text) {
  FreezeRecord record;
  const auto engine = take_line(text, "engine");
  const auto time = take_line(text, "time");
  if (!engine || !time) return std::nullopt;
  const auto address = unescape_field(*engine);
  const auto nanoseconds = number_field<Nanoseconds>(*time);
  if (!address || !nanoseconds) return std::nullopt;
  record.engine = *address;
  record.time = *nanoseconds;
  bool stopped = false;
  while (const auto line = take_container(text, stopped)) {
    auto container = container_of(*line, stopped);
    if (!container) return std::nullopt;
    record.containers.push_back(std::move(*container));
  }
  if (!is_end(text, record.containers.size())) return std::nullopt;
  return record;
}

}  // namespace

std::string freeze_folder(const std::string& state_folder) { return state_folder + "/freeze"; }

std::string encode(const FreezeRecord& record) {
  const auto& all = record.containers;
  const bool stops = std::any_of(all.begin(), all.end(), [](const auto& c) { return c.stopped; });
  std::string text =
      fmt::format("bygone {} journal {}\nengine {}\ntime {}\n", kKind,
                  stops ? kVersionWithStops : kVersion, escape_field(record.engine), record.time);
  for (const auto& c : all) {
    text += fmt::format("{} {} {} {}\n", c.stopped ? "stopped" : "container", escape_field(c.id),
                        escape_field(c.name), escape_field(c.started_at));
  }
  return text + fmt::format("end {}\n", record.containers.size());
}

Result<FreezeRecord> decode_freeze_record(std::string_view text) {
  TRY(take_version(text, kKind, {kVersion, kVersionWithStops}));
  auto record = body_of(text);
  if (!record) return Error{Code::corrupt, 0, "the journal is damaged"};
  return std::move(*record);
}

bool is_same_engine(const std::string& a, const std::string& b) {
  constexpr std::string_view kSocket = "unix://";
  return a == b || (a.starts_with(kSocket) && b.starts_with(kSocket) &&
                    canonical(a.substr(kSocket.size())) == canonical(b.substr(kSocket.size())));
}

Result<FreezeJournal> FreezeJournal::create(const std::string& state_folder,
                                            const FreezeRecord& record) {
  return FreezeJournal(TRY(IntentJournal::create(freeze_folder(state_folder), encode(record))));
}

Result<FreezeJournal> FreezeJournal::adopt(const std::string& path) {
  return FreezeJournal(TRY(IntentJournal::adopt(path)));
}

Result<FreezeRecord> FreezeJournal::read() const { return decode_freeze_record(TRY(file_.read())); }

}  // namespace bygone::ingest
