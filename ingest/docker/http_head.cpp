// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http_head.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace bygone::docker {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::strchr(" \t\r\n", text.front()) != nullptr) text.remove_prefix(1);
  while (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) text.remove_suffix(1);
  return text;
}

Error no_http() { return {Code::invalid, 0, "what answers is not an HTTP server"}; }

Error bad_chunk() { return {Code::invalid, 0, "the answer's chunks are damaged"}; }

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

// "HTTP/1.1 200 OK".
Result<int> parse_status_line(std::string_view line) {
  constexpr std::size_t kCode = 9;  // "HTTP/1.x "
  if (line.size() < kCode + 3 || line.substr(0, 7) != "HTTP/1." || line[kCode - 1] != ' ') {
    return no_http();
  }
  int status = 0;
  const char* first = line.data() + kCode;
  const auto [end, error] = std::from_chars(first, first + 3, status);
  if (error != std::errc() || end != first + 3 || status < 100) return no_http();
  return status;
}

}  // namespace

void add_header(std::string_view line, std::map<std::string, std::string>& headers) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  headers[name] = trimmed(line.substr(colon + 1));
}

Result<std::optional<Head>> parse_head(std::string_view text) {
  constexpr std::string_view kStart = "HTTP/1.";
  const std::size_t shown = std::min(text.size(), kStart.size());
  if (text.substr(0, shown) != kStart.substr(0, shown)) return no_http();
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string_view::npos ? text.size() > kMaxHeaderBytes : end > kMaxHeaderBytes) {
    return Error{Code::invalid, 0, "the answer's headers are too large"};
  }
  if (end == std::string_view::npos) return std::optional<Head>();
  Head head;
  head.size = end + 4;
  std::string_view lines = text.substr(0, end);
  const std::size_t first = std::min(lines.find("\r\n"), lines.size());
  head.status = TRY(parse_status_line(lines.substr(0, first)));
  while (!lines.empty()) {
    const std::size_t line_end = lines.find("\r\n");
    if (line_end == std::string_view::npos) break;
    lines.remove_prefix(line_end + 2);
    add_header(lines.substr(0, lines.find("\r\n")), head.headers);
  }
  return std::optional<Head>(std::move(head));
}

// Of the lines around the data: the size, an extension after it, the empty line after the data,
// and the trailer, which ends with an empty line. A line ends with LF; CR before it is dropped.
Result<void> ChunkDecoder::take_line_byte(char c) {
  constexpr std::size_t kLongestLine = 16U << 10U;
  if (++line_bytes_ > kLongestLine) return bad_chunk();
  if (c != '\n') {
    if (c == '\r') return {};
    if (state_ == State::data_end) return bad_chunk();
    line_is_empty_ = false;
    if (state_ != State::size) return {};
    const std::optional<unsigned> digit = hex_digit(c);
    if (digit && ++digits_ <= 15) {
      left_ = left_ * 16 + *digit;
      return {};
    }
    if (digits_ == 0 || (c != ';' && c != ' ' && c != '\t')) return bad_chunk();
    state_ = State::extension;
    return {};
  }
  if (state_ == State::data_end) {
    state_ = State::size;
  } else if (state_ == State::trailer) {
    if (line_is_empty_) state_ = State::end;
  } else {
    if (digits_ == 0) return bad_chunk();
    state_ = left_ == 0 ? State::trailer : State::data;
  }
  if (state_ != State::trailer) line_bytes_ = 0;
  line_is_empty_ = true;
  digits_ = 0;
  return {};
}

Result<void> ChunkDecoder::feed(std::string_view input, std::string& out) {
  while (!input.empty() && state_ != State::end) {
    if (state_ != State::data) {
      TRY(take_line_byte(input.front()));
      input.remove_prefix(1);
      continue;
    }
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size()));
    out.append(input.substr(0, size));
    input.remove_prefix(size);
    left_ -= size;
    if (left_ == 0) state_ = State::data_end;
  }
  return {};
}

}  // namespace bygone::docker
