// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/json.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include <fmt/core.h>
#include <simdjson.h>

#include "store/base/bytes.h"

namespace bygone::docker {

namespace dom = simdjson::dom;

// A Json holds the bytes of an element, so that its header needs no simdjson.
struct JsonAccess {
  static Json wrap(const dom::element& element) {
    static_assert(std::is_trivially_copyable_v<dom::element>);
    static_assert(sizeof(dom::element) == sizeof(Json::element_));
    static_assert(alignof(dom::element) <= alignof(void*));
    Json json;
    if (element.is_null()) return json;
    std::memcpy(json.element_.data(), &element, sizeof element);
    json.exists_ = true;
    return json;
  }

  static dom::element element(const Json& json) {
    dom::element element;
    std::memcpy(static_cast<void*>(&element), json.element_.data(), sizeof element);
    return element;
  }

  // What stands at `key`; nothing when the key is missing or `json` is nothing.
  static Result<Json> at(const Json& json, std::string_view key) {
    if (!json.exists_) return Json();
    dom::object object;
    if (element(json).get(object) != simdjson::SUCCESS) {
      return Error{Code::invalid, 0, fmt::format("no object around '{}'", key)};
    }
    dom::element found;
    if (object.at_key(key).get(found) != simdjson::SUCCESS) return Json();
    return wrap(found);
  }
};

namespace {

Error wrong_type(std::string_view key, const char* wanted) {
  return {Code::invalid, 0, fmt::format("'{}' is no {}", printable(key), wanted)};
}

Result<std::string> text_of(const dom::element& element, std::string_view key) {
  std::string_view text;
  if (element.get(text) != simdjson::SUCCESS) return wrong_type(key, "string");
  if (text.find('\0') != std::string_view::npos) return wrong_type(key, "text without NUL bytes");
  return std::string(text);
}

Result<std::vector<Json>> elements_of(const Json& json, std::string_view key) {
  std::vector<Json> out;
  if (!json.exists()) return out;
  dom::array array;
  if (JsonAccess::element(json).get(array) != simdjson::SUCCESS) return wrong_type(key, "array");
  for (const dom::element element : array) out.push_back(JsonAccess::wrap(element));
  return out;
}

Result<std::vector<std::string>> texts_of(const std::vector<Json>& items, std::string_view key) {
  std::vector<std::string> out;
  for (const Json& item : items) {
    if (!item.exists()) return wrong_type(key, "array of strings");
    out.push_back(TRY(text_of(JsonAccess::element(item), key)));
  }
  return out;
}

// Calls `take(name, value)` for each member of the object at `key`.
template <class Take>
Result<void> each_member(const Json& json, std::string_view key, const Take& take) {
  const Json found = TRY(JsonAccess::at(json, key));
  if (!found.exists()) return {};
  dom::object object;
  if (JsonAccess::element(found).get(object) != simdjson::SUCCESS) return wrong_type(key, "object");
  for (const dom::key_value_pair member : object) {
    TRY(take(member.key, member.value));
  }
  return {};
}

}  // namespace

Result<std::string> Json::text(std::string_view key) const {
  const Json found = TRY(JsonAccess::at(*this, key));
  if (!found.exists()) return std::string();
  return text_of(JsonAccess::element(found), key);
}

Result<std::int64_t> Json::number(std::string_view key) const {
  const Json found = TRY(JsonAccess::at(*this, key));
  std::int64_t number = 0;
  if (found.exists() && JsonAccess::element(found).get(number) != simdjson::SUCCESS) {
    return wrong_type(key, "whole number");
  }
  return number;
}

Result<bool> Json::flag(std::string_view key) const {
  const Json found = TRY(JsonAccess::at(*this, key));
  bool flag = false;
  if (found.exists() && JsonAccess::element(found).get(flag) != simdjson::SUCCESS) {
    return wrong_type(key, "boolean");
  }
  return flag;
}

Result<bool> Json::has(std::string_view key) const {
  return TRY(JsonAccess::at(*this, key))
  .exists();
}

Result<Json> Json::object(std::string_view key) const {
  const Json found = TRY(JsonAccess::at(*this, key));
  if (found.exists() && !JsonAccess::element(found).is_object()) return wrong_type(key, "object");
  return found;
}

Result<std::vector<Json>> Json::items(std::string_view key) const {
  return elements_of(TRY(JsonAccess::at(*this, key)), key);
}

Result<std::vector<std::string>> Json::texts(std::string_view key) const {
  return texts_of(TRY(items(key)), key);
}

// Labels are anybody's: one that is no text for us is no reason to see nothing at all.
Result<std::map<std::string, std::string>> Json::text_map(std::string_view key) const {
  std::map<std::string, std::string> out;
  const auto take = [&](std::string_view name, const dom::element& value) -> Result<void> {
    std::string_view text;
    if (!value.is_null() && value.get(text) != simdjson::SUCCESS) return wrong_type(name, "string");
    const bool has_nul = (std::string(name) + std::string(text)).find('\0') != std::string::npos;
    if (!has_nul) out[std::string(name)] = text;
    return {};
  };
  TRY(each_member(*this, key, take));
  return out;
}

Result<std::vector<std::string>> Json::keys(std::string_view key) const {
  std::vector<std::string> out;
  const auto take = [&](std::string_view name, const dom::element& /*value*/) -> Result<void> {
    if (name.find('\0') != std::string_view::npos) return wrong_type(key, "text without NUL bytes");
    out.emplace_back(name);
    return {};
  };
  TRY(each_member(*this, key, take));
  return out;
}

Result<std::vector<Json>> Json::elements() const { return elements_of(*this, "answer"); }

Result<std::vector<std::string>> Json::element_texts() const {
  return texts_of(TRY(elements()), "answer");
}

struct JsonDocument::Parsed {
  dom::parser parser;
};

JsonDocument::JsonDocument(std::unique_ptr<Parsed> parsed) : parsed_(std::move(parsed)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> JsonDocument::parse(std::string_view text) {
  // It may have no address.
  if (text.empty()) return Error{Code::invalid, 0, "no valid JSON: nothing"};
  constexpr std::size_t kMaxDepth = 64;
  auto parsed = std::make_unique<Parsed>();
  simdjson::error_code code = parsed->parser.allocate(text.size(), kMaxDepth);
  if (code == simdjson::SUCCESS) code = parsed->parser.parse(text.data(), text.size()).error();
  if (code != simdjson::SUCCESS) {
    return Error{Code::invalid, 0, fmt::format("no valid JSON: {}", simdjson::error_message(code))};
  }
  return JsonDocument(std::move(parsed));
}

Result<std::string> json_text(std::string_view text) {
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    return Error{Code::invalid, 0, fmt::format("'{}' is no UTF-8 text", printable(text))};
  }
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

Result<std::string> json_texts(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ',';
    out += TRY(json_text(text));
  }
  return out + "]";
}

Json JsonDocument::root() const { return JsonAccess::wrap(parsed_->parser.doc.root()); }

}  // namespace bygone::docker
