// SPDX-License-Identifier: Apache-2.0
//
// A JSON document to read an engine's answers from, and the strings to write requests with. The
// only includer of simdjson, which stays in the source file. Total: whatever the bytes are, the
// outcome is a value or Code::invalid, never an exception, and depth and memory are bounded by the
// text's size. A Json is a cheap view, valid as long as its JsonDocument; a document may be read by
// several threads at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::docker {

// A value, or nothing (a missing field and null are the same). The readers by key ask an object;
// asked of nothing they find nothing. Errors of all of them: invalid, naming the key, when a
// value is there but of another type, or a string holds a NUL byte (no name or path does).
class Json {
 public:
  Json() = default;
  [[nodiscard]] bool exists() const { return exists_; }

  // The string, number or boolean at `key`; "", 0 or false when there is nothing.
  [[nodiscard]] Result<std::string> text(std::string_view key) const;
  [[nodiscard]] Result<std::int64_t> number(std::string_view key) const;
  [[nodiscard]] Result<bool> flag(std::string_view key) const;
  // Whether there is a value at `key` at all.
  [[nodiscard]] Result<bool> has(std::string_view key) const;
  // The object at `key`, or nothing.
  [[nodiscard]] Result<Json> object(std::string_view key) const;
  // Elements of the array at `key`, and its elements as strings; none when there is nothing.
  [[nodiscard]] Result<std::vector<Json>> items(std::string_view key) const;
  [[nodiscard]] Result<std::vector<std::string>> texts(std::string_view key) const;
  // The object at `key` as names and strings; a null among them is "".
  [[nodiscard]] Result<std::map<std::string, std::string>> text_map(std::string_view key) const;
  // The names in the object at `key`, whatever their values are; none when there is nothing.
  [[nodiscard]] Result<std::vector<std::string>> keys(std::string_view key) const;
  // Elements of this value, which must be an array.
  [[nodiscard]] Result<std::vector<Json>> elements() const;
  // The same, all of them strings.
  [[nodiscard]] Result<std::vector<std::string>> element_texts() const;

 private:
  friend class JsonDocument;
  friend struct JsonAccess;
  alignas(void*) std::array<std::byte, 2 * sizeof(void*)> element_{};
  bool exists_ = false;
};

class JsonDocument {
 public:
  // Parses one document, at most 64 levels deep. Memory: about twice the text's size, plus the
  // text, which is copied.
  [[nodiscard]] static Result<JsonDocument> parse(std::string_view text);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();

  [[nodiscard]] Json root() const;

 private:
  struct Parsed;
  explicit JsonDocument(std::unique_ptr<Parsed> parsed);
  std::unique_ptr<Parsed> parsed_;
};

// `text` as a JSON string, quotes included. Errors: invalid when it is no UTF-8, which JSON cannot
// carry.
[[nodiscard]] Result<std::string> json_text(std::string_view text);
// A JSON array of strings. Errors: as json_text().
[[nodiscard]] Result<std::string> json_texts(const std::vector<std::string>& texts);

}  // namespace bygone::docker
