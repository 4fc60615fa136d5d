// SPDX-License-Identifier: Apache-2.0
//
// The text of HTTP/1.1: heads of answers, and bodies that come in chunks (RFC 9112, 6 and 7.1).
// Pure decoders without I/O; total: any bytes give a value or Code::invalid. One thread an object.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace bygone::docker {

// Of an answer, status line and headers together.
constexpr std::size_t kMaxHeaderBytes = 64U << 10U;

// Adds a line "Name: value" with the name in lower case; a line without a colon is passed by.
void add_header(std::string_view line, std::map<std::string, std::string>& headers);

struct Head {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::size_t size = 0;                        // bytes of the head, its empty line included
};

// The head at the beginning of `text`; nothing while it is incomplete. Errors: invalid for what is
// no HTTP/1.x, or a head over kMaxHeaderBytes.
[[nodiscard]] Result<std::optional<Head>> parse_head(std::string_view text);

// Takes a chunked body apart.
class ChunkDecoder {
 public:
  // Appends the payload of `input` to `out`. What follows the end of the body is dropped. Errors:
  // invalid for what is no chunked body.
  [[nodiscard]] Result<void> feed(std::string_view input, std::string& out);
  // Whether the last chunk and the trailer have come.
  [[nodiscard]] bool ended() const { return state_ == State::end; }

 private:
  enum class State { size, extension, data, data_end, trailer, end };
  Result<void> take_line_byte(char c);

  State state_ = State::size;
  std::uint64_t left_ = 0;      // bytes of the chunk still to come
  unsigned digits_ = 0;         // of the size read so far
  std::size_t line_bytes_ = 0;  // of the extension or trailer read so far
  bool line_is_empty_ = true;   // of the trailer
};

}  // namespace bygone::docker
