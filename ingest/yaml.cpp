// SPDX-License-Identifier: Apache-2.0
#include "ingest/yaml.h"

#include <set>
#include <utility>

#include <fmt/core.h>
#include <yaml.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

Error wrong(const yaml_mark_t& mark, const std::string& why) {
  return {Code::invalid, 0,
          fmt::format("line {}, column {}: {}", mark.line + 1, mark.column + 1, why)};
}

class Event {
 public:
  Event() = default;
  ~Event() { yaml_event_delete(&event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  yaml_event_t* get() { return &event_; }
  yaml_event_t* operator->() { return &event_; }

 private:
  yaml_event_t event_{};
};

class Parser {
 public:
  explicit Parser(std::string_view text) : begun_(yaml_parser_initialize(&parser_) == 1) {
    if (!begun_) return;
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, as_bytes(text).data(), text.size());
  }
  ~Parser() {
    if (begun_) yaml_parser_delete(&parser_);
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  Result<YamlNode> run();

 private:
  Result<void> next(Event& event);
  Result<YamlNode> node(Event& event, std::size_t depth);
  Result<YamlNode> scalar(Event& event);
  Result<void> list(YamlNode& into, std::size_t depth);
  Result<void> map(YamlNode& into, std::size_t depth);
  [[nodiscard]] Error failure() const;

  yaml_parser_t parser_{};
  bool begun_;
};

Error Parser::failure() const {
  if (parser_.error == YAML_MEMORY_ERROR) return {Code::io, 0, "out of memory"};
  const std::string problem = parser_.problem == nullptr ? "not YAML" : parser_.problem;
  if (parser_.error == YAML_READER_ERROR) {
    return {Code::invalid, 0, fmt::format("byte {}: {}", parser_.problem_offset, problem)};
  }
  // `schedule: @daily` is the one that everybody writes.
  const bool needs_quotes = problem.find("cannot start any token") != std::string::npos ||
                            problem.find("alphabetic or numeric character") != std::string::npos;
  return wrong(
      parser_.problem_mark,
      problem + (needs_quotes ? R"(; hint: put the value in quotes: "@daily", "*.tmp")" : ""));
}

Result<void> Parser::next(Event& event) {
  if (yaml_parser_parse(&parser_, event.get()) != 1) return failure();
  return {};
}

Result<YamlNode> Parser::scalar(Event& event) {
  const auto& scalar = event->data.scalar;
  if (scalar.tag != nullptr) return wrong(event->start_mark, "tags (`!x`) are not taken here");
  YamlNode node;
  node.kind = YamlNode::Kind::text;
  node.text = as_text({scalar.value, scalar.length});
  if (node.text.find('\0') != std::string::npos) {
    return wrong(event->start_mark, "a NUL stands in the value");
  }
  const bool plain = scalar.style == YAML_PLAIN_SCALAR_STYLE;
  if (plain && (node.text.empty() || node.text == "~" || node.text == "null")) {
    node.kind = YamlNode::Kind::nothing;
  }
  return node;
}

Result<void> Parser::list(YamlNode& into, std::size_t depth) {
  for (;;) {
    Event event;
    TRY(next(event));
    if (event->type == YAML_SEQUENCE_END_EVENT) return {};
    into.items.push_back(TRY(node(event, depth)));
  }
}

Result<void> Parser::map(YamlNode& into, std::size_t depth) {
  std::set<std::string> keys;
  for (;;) {
    Event key;
    TRY(next(key));
    if (key->type == YAML_MAPPING_END_EVENT) return {};
    if (key->type != YAML_SCALAR_EVENT) return wrong(key->start_mark, "a key is a word");
    const std::size_t line = key->start_mark.line + 1;
    std::string word = TRY(scalar(key))
    .text;
    if (!keys.insert(word).second) {
      return wrong(key->start_mark, fmt::format("'{}' is given twice", printable(word)));
    }
    Event value;
    TRY(next(value));
    YamlNode item = TRY(node(value, depth));
    item.key = std::move(word);
    item.line = line;
    into.items.push_back(std::move(item));
  }
}

// The value that begins with `event`.
Result<YamlNode> Parser::node(Event& event, std::size_t depth) {
  if (depth > kMaxYamlDepth) return wrong(event->start_mark, "nested too deeply");
  YamlNode node;
  switch (event->type) {
    case YAML_SCALAR_EVENT:
      node = TRY(scalar(event));
      break;
    case YAML_SEQUENCE_START_EVENT:
      node.kind = YamlNode::Kind::list;
      TRY(list(node, depth + 1));
      break;
    case YAML_MAPPING_START_EVENT:
      node.kind = YamlNode::Kind::map;
      TRY(map(node, depth + 1));
      break;
    case YAML_ALIAS_EVENT:
      return wrong(event->start_mark,
                   R"(aliases are not taken here; hint: quote what begins with '*': "*.tmp")");
    default:
      return wrong(event->start_mark, "a value is missing");
  }
  node.line = event->start_mark.line + 1;
  return node;
}

Result<YamlNode> Parser::run() {
  if (!begun_) return Error{Code::io, 0, "out of memory"};
  YamlNode document;
  document.kind = YamlNode::Kind::map;
  bool found = false;
  for (;;) {
    Event event;
    TRY(next(event));
    switch (event->type) {
      case YAML_STREAM_END_EVENT:
        return document;
      case YAML_STREAM_START_EVENT:
      case YAML_DOCUMENT_END_EVENT:
        break;
      case YAML_DOCUMENT_START_EVENT:
        if (found) return wrong(event->start_mark, "a second document begins here");
        found = true;
        break;
      default:
        document = TRY(node(event, 0));
    }
  }
}

}  // namespace

Result<YamlNode> parse_yaml(std::string_view text) {
  if (text.size() > kMaxYamlBytes) {
    return Error{Code::invalid, 0, fmt::format("it is larger than {} bytes", kMaxYamlBytes)};
  }
  return Parser(text).run();
}

}  // namespace bygone::ingest
