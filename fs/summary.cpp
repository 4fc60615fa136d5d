// SPDX-License-Identifier: Apache-2.0
#include "fs/summary.h"

#include <nlohmann/json.hpp>

#include "store/zone.h"

namespace bygone::fs {
namespace {

using Json = nlohmann::ordered_json;

void put_text(Json& out, const char* key, const std::string& text) {
  out[key] = text;
  if (!is_utf8(text)) out[std::string(key) + "_hex"] = to_hex(as_bytes(text));
}

Json describe(const store::Volume& volume) {
  Json out;
  put_text(out, "name", volume.name);
  put_text(out, "destination", volume.destination);
  put_text(out, "origin", volume.origin);
  out["kind"] = store::to_text(volume.kind);
  return out;
}

}  // namespace

std::string snapshot_json(const store::Snapshot& snapshot) {
  Json out;
  out["id"] = snapshot.id.hex();
  out["time"] = store::to_rfc3339(snapshot.zone, snapshot.instant);
  out["instant"] = snapshot.listed_name;
  out["zone"] = snapshot.zone;
  put_text(out, "source", snapshot.display_name);
  put_text(out, "name", snapshot.name);
  out["source_kind"] = store::to_text(snapshot.kind);
  out["source_id"] = snapshot.source.hex();
  put_text(out, "hostname", snapshot.host);
  out["sequence"] = snapshot.sequence;
  if (!snapshot.previous.is_zero()) out["parent"] = snapshot.previous.hex();
  out["consistency"] = store::to_text(snapshot.consistency);
  out["window_ms"] = static_cast<double>(snapshot.window) / 1e6;
  out["skew_ms"] = static_cast<double>(snapshot.skew) / 1e6;
  out["partial"] = snapshot.partial;
  out["backup_start"] = store::to_rfc3339(snapshot.zone, snapshot.started);
  out["backup_end"] = store::to_rfc3339(snapshot.zone, snapshot.finished);
  out["total_file_count"] = snapshot.files;
  out["total_folder_count"] = snapshot.folders;
  out["total_size"] = snapshot.bytes;
  out["data_added"] = snapshot.added_bytes;
  out["errors"] = snapshot.errors;
  if (!snapshot.failed.empty()) out["failed"] = snapshot.failed;
  out["program_version"] = snapshot.program;
  out["tags"] = snapshot.tags;
  if (!snapshot.group.empty()) {
    put_text(out, "group", snapshot.group);
    out["run_id"] = snapshot.run.hex();
    out["group_members"] = snapshot.members;
  }
  if (!snapshot.image_id.empty()) {
    put_text(out, "image", snapshot.image);
    put_text(out, "image_id", snapshot.image_id);
    out["image_digests"] = snapshot.image_digests;
  }
  out["volumes"] = Json::array();
  for (const store::Volume& volume : snapshot.volumes) out["volumes"].push_back(describe(volume));
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bygone::fs
