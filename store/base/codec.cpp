// SPDX-License-Identifier: Apache-2.0
#include "store/base/codec.h"

namespace bygone {
namespace {

Error cut_off() { return Error{Code::corrupt, 0, "data ends too early"}; }

}  // namespace

void Writer::little_endian(std::uint64_t v, int n) {
  for (int i = 0; i < n; ++i) out_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

void Writer::varint(std::uint64_t v) {
  while (v >= 0x80) {
    out_.push_back(static_cast<std::uint8_t>(v | 0x80));
    v >>= 7;
  }
  out_.push_back(static_cast<std::uint8_t>(v));
}

void Writer::svarint(std::int64_t v) {
  varint((static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63));
}

void Writer::string(ByteView v) {
  varint(v.size());
  bytes(v);
}

Result<std::uint64_t> Reader::little_endian(std::size_t n) {
  const ByteView raw = TRY(bytes(n));
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i) v |= static_cast<std::uint64_t>(raw[i]) << (8 * i);
  return v;
}

Result<std::uint8_t> Reader::u8() { return static_cast<std::uint8_t>(TRY(little_endian(1))); }
Result<std::uint16_t> Reader::u16() { return static_cast<std::uint16_t>(TRY(little_endian(2))); }
Result<std::uint32_t> Reader::u32() { return static_cast<std::uint32_t>(TRY(little_endian(4))); }
Result<std::uint64_t> Reader::u64() { return little_endian(8); }

Result<std::uint64_t> Reader::varint() {
  std::uint64_t v = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (view_.empty()) return cut_off();
    const std::uint8_t b = view_[0];
    view_ = view_.subspan(1);
    if (shift == 63 && b > 1) break;
    v |= static_cast<std::uint64_t>(b & 0x7f) << shift;
    if (b < 0x80) {
      if (b == 0 && shift > 0) break;
      return v;
    }
  }
  return Error{Code::corrupt, 0, "a number is not in its shortest form"};
}

Result<std::int64_t> Reader::svarint() {
  const std::uint64_t v = TRY(varint());
  return static_cast<std::int64_t>((v >> 1) ^ (~(v & 1) + 1));
}

Result<std::uint64_t> Reader::varint_at_most(std::uint64_t limit) {
  const std::uint64_t v = TRY(varint());
  if (v > limit) return Error{Code::corrupt, 0, "a count or length is out of range"};
  return v;
}

Result<ByteView> Reader::bytes(std::size_t n) {
  if (n > view_.size()) return cut_off();
  const ByteView head = view_.first(n);
  view_ = view_.subspan(n);
  return head;
}

Result<ByteView> Reader::string(std::size_t limit) {
  const std::uint64_t n = TRY(varint_at_most(limit));
  return bytes(n);
}

Result<void> Reader::finish() const {
  if (!view_.empty()) return Error{Code::corrupt, 0, "data goes on after its end"};
  return {};
}

}  // namespace bygone
