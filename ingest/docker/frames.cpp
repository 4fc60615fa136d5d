// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/frames.h"

#include <algorithm>
#include <utility>

namespace bygone::docker {
namespace {

constexpr std::size_t kHeaderBytes = 8;

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

Result<void> FrameDecoder::take_header() {
  const auto kind = static_cast<unsigned char>(header_[0]);
  if (header_.substr(1, 3) != std::string(3, '\0') || kind > 3) {
    return Error{Code::invalid, 0, "the command's output is no stream of frames"};
  }
  if (kind == 3) return Error{Code::io, 0, "the engine failed to read the command's output"};
  stream_ = kind == 2 ? ExecStream::error : ExecStream::output;
  left_ = big_endian(std::string_view(header_).substr(4));
  header_.clear();
  return {};
}

Result<void> FrameDecoder::feed(std::string_view input) {
  while (!input.empty()) {
    if (left_ == 0) {
      const std::size_t size = std::min(kHeaderBytes - header_.size(), input.size());
      header_.append(input.substr(0, size));
      input.remove_prefix(size);
      if (header_.size() == kHeaderBytes) TRY(take_header());
      continue;
    }
    const std::size_t size = std::min<std::size_t>(left_, input.size());
    pieces_.push_back({stream_, std::string(input.substr(0, size)), false});
    left_ -= static_cast<std::uint32_t>(size);
    input.remove_prefix(size);
  }
  return {};
}

std::optional<ExecPiece> FrameDecoder::next() {
  if (pieces_.empty()) return std::nullopt;
  ExecPiece piece = std::move(pieces_.front());
  pieces_.pop_front();
  return piece;
}

void LineSplitter::end_line() {
  Line line = std::exchange(current_, {});
  if (!line.text.empty() || line.too_long) lines_.push_back(std::move(line));
}

void LineSplitter::feed(std::string_view input) {
  while (!input.empty()) {
    const std::size_t size = std::min(input.find('\n'), input.size());
    const std::string_view part = input.substr(0, size);
    if (!current_.too_long) {
      current_.too_long = part.size() > limit_ - current_.text.size();
      if (current_.too_long) {
        current_.text = std::string();
      } else {
        current_.text.append(part);
      }
    }
    if (size < input.size()) end_line();
    input.remove_prefix(std::min(size + 1, input.size()));
  }
}

std::optional<LineSplitter::Line> LineSplitter::next() {
  if (lines_.empty()) return std::nullopt;
  Line line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

}  // namespace bygone::docker
