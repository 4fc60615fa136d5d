// SPDX-License-Identifier: Apache-2.0
//
// Decoders of what streams from an engine: the frames of an exec's output (byte 0: which output;
// bytes 4 to 7: big-endian length) and the lines of an event stream. Pure, without I/O; total, and
// bounded in memory whatever the bytes say. One thread an object.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "ingest/docker/exec.h"
#include "store/base/result.h"

namespace bygone::docker {

class FrameDecoder {
 public:
  // Takes the next bytes of the stream; their payload comes out of next(), frames of any length in
  // the pieces in which they came. Errors: invalid for a header that is none; io for a frame in
  // which the engine reports an error of its own. Unusable after an error.
  [[nodiscard]] Result<void> feed(std::string_view input);
  // The next piece, never empty; nothing when all was handed out.
  [[nodiscard]] std::optional<ExecPiece> next();
  // Whether the stream may end here: between two frames.
  [[nodiscard]] bool between_frames() const { return left_ == 0 && header_.empty(); }

 private:
  Result<void> take_header();

  std::string header_;      // of the next frame, as far as it came
  std::uint32_t left_ = 0;  // of the current frame's payload
  ExecStream stream_ = ExecStream::output;
  std::deque<ExecPiece> pieces_;
};

class LineSplitter {
 public:
  // Lines longer than `limit` bytes come out as nothing but the fact.
  explicit LineSplitter(std::size_t limit) : limit_(limit) {}

  struct Line {
    std::string text;
    bool too_long = false;  // `text` is empty then
  };
  void feed(std::string_view input);
  // The next line that has ended, without its newline; empty lines are passed by.
  [[nodiscard]] std::optional<Line> next();

 private:
  void end_line();

  std::size_t limit_;
  Line current_;
  std::deque<Line> lines_;
};

}  // namespace bygone::docker
