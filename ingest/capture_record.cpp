// SPDX-License-Identifier: Apache-2.0
#include "ingest/capture_record.h"

#include <fmt/core.h>

#include "ingest/docker/json.h"
#include "store/base/files.h"
#include "store/temp_file.h"

namespace bygone::ingest {
namespace {

constexpr std::int64_t kRecordVersion = 1;
constexpr std::uint64_t kLargestRecord = 64U << 20U;
constexpr const char* kRecordName = "captured.json";

// Of its own: nobody else cleans the temporary files in it.
std::string record_folder(const std::string& state_folder) { return state_folder + "/held"; }

}  // namespace

Result<void> CaptureRecord::decode(std::string_view text) {
  const auto document = TRY(docker::JsonDocument::parse(text));
  if (TRY(document.root().number("version")) != kRecordVersion) {
    return Error{Code::unsupported, 0, "the daemon that wrote this is of another version"};
  }
  std::map<std::string, HeldCapture> captured;
  for (const docker::Json& one : TRY(document.root().items("captured"))) {
    const std::string id = TRY(one.text("id"));
    if (id.empty() || !TRY(one.has("whole"))) {
      return Error{Code::invalid, 0, "a container lacks its id, or how it was captured"};
    }
    const bool whole = TRY(one.flag("whole"));
    captured[id] = whole ? HeldCapture::whole : HeldCapture::partly;
  }
  captured_ = std::move(captured);
  return {};
}

Result<void> CaptureRecord::read() {
  const std::string path = record_folder(state_folder_) + "/" + kRecordName;
  captured_.clear();
  changed_ = false;
  const auto bytes = read_file(system_files(), path, kLargestRecord);
  if (!bytes.ok() && bytes.error().code == Code::not_found) return {};
  if (!bytes.ok()) return Error(bytes.error()).with("reading " + path);
  auto decoded = decode(as_text(*bytes));
  if (decoded.ok()) return {};
  Error error = std::move(decoded).error();
  if (error.code == Code::invalid) error.code = Code::corrupt;
  return std::move(error).with("reading " + path);
}

std::optional<HeldCapture> CaptureRecord::find(const std::string& container_id) const {
  const auto found = captured_.find(container_id);
  return found == captured_.end() ? std::nullopt : std::optional(found->second);
}

Result<void> CaptureRecord::add(const std::string& container_id, HeldCapture capture) {
  captured_[container_id] = capture;
  changed_ = true;
  return write();
}

Result<void> CaptureRecord::keep_only(const std::set<std::string>& container_ids) {
  const auto forgotten = std::erase_if(
      captured_, [&](const auto& one) { return container_ids.count(one.first) == 0; });
  changed_ = changed_ || forgotten > 0;
  return changed_ ? write() : Result<void>();
}

Result<void> CaptureRecord::write() {
  std::string text = fmt::format("{{\"version\":{},\"captured\":[", kRecordVersion);
  bool first = true;
  for (const auto& [id, capture] : captured_) {
    text += fmt::format("{}\n{{\"id\":{},\"whole\":{}}}", first ? "" : ",",
                        TRY(docker::json_text(id)), capture == HeldCapture::whole);
    first = false;
  }
  text += "\n]}\n";
  Files& files = system_files();
  const std::string folder = record_folder(state_folder_);
  const std::string temporary = TRY(store::own_temp_folder(files, folder));
  TRY(store::write_durably(files, temporary, folder, kRecordName, as_bytes(text)));
  changed_ = false;
  return {};
}

}  // namespace bygone::ingest
