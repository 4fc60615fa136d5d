// SPDX-License-Identifier: Apache-2.0
//
// Which held containers were captured, and how: known for as long as they are held, also by the
// next daemon, as a file in the state folder that is there whole or not at all. What was captured
// is not captured again: it would be taken for newer than what ended after it. One thread at a
// time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "store/base/result.h"

namespace bygone::ingest {

enum class HeldCapture {
  whole,
  partly,  // not all could be read of what goes with the holder
};

class CaptureRecord {
 public:
  // The file is `state_folder`/held/captured.json. Reads nothing yet.
  explicit CaptureRecord(std::string state_folder) : state_folder_(std::move(state_folder)) {}

  // Nothing is known without the file, and after an error. Errors: corrupt; unsupported for a file
  // of a later version; io, denied.
  Result<void> read();
  [[nodiscard]] std::optional<HeldCapture> find(const std::string& container_id) const;
  // Durable when it returns. Errors: those of writing the file; this object knows it all the same,
  // and the next call writes it.
  Result<void> add(const std::string& container_id, HeldCapture capture);
  // Forgets all others. Writes only what is not in the file yet. Errors: as add().
  Result<void> keep_only(const std::set<std::string>& container_ids);

 private:
  Result<void> decode(std::string_view text);
  Result<void> write();

  std::string state_folder_;
  std::map<std::string, HeldCapture> captured_;
  bool changed_ = false;  // since it was written
};

}  // namespace bygone::ingest
