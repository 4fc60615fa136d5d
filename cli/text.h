// SPDX-License-Identifier: Apache-2.0
//
// Numbers, times and names as a person reads them, and shares as one types them. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/clock.h"
#include "store/node.h"

namespace bygone::cli {

// IEC: "0 B", "999 B", "1.0 KiB", "12.3 MiB", "123 GiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);
// With a comma between thousands.
[[nodiscard]] std::string count_text(std::uint64_t count);
// "1 file", "1,200 files".
[[nodiscard]] std::string counted(std::uint64_t count, const std::string& noun);
// "10%", "10", "0.5": from 0 to 100. Nothing for anything else.
[[nodiscard]] std::optional<double> parse_percent(std::string text);
// "350 ms", "12 s", "3:05", "1:02:03".
[[nodiscard]] std::string duration_text(double seconds);
// "drwxr-sr-t", as ls(1) shows it.
[[nodiscard]] std::string mode_text(store::FileType type, std::uint32_t mode);
// "file", "dir", "symlink", "fifo", "socket", "chardev", "dev": restic's words.
[[nodiscard]] const char* type_text(store::FileType type);
// RFC 3339 in `zone` with nanoseconds, whatever the year.
[[nodiscard]] std::string time_text(const std::string& zone, const store::Timestamp& time);
[[nodiscard]] std::string base64(ByteView bytes);
// The text with what is not UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string lossy_utf8(std::string_view raw);
// Columns that a terminal gives `text`, which is printable(): one for each code point.
[[nodiscard]] std::size_t width(std::string_view text);

// Rows under a header, columns as wide as they need; two blanks between. `right` columns are
// numbers. No blanks at line ends.
class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace bygone::cli
