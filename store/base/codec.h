// SPDX-License-Identifier: Apache-2.0
//
// Bounded little-endian reader and writer: the only code that touches integers on disk.
// Writer appends to a buffer that it owns; Reader never reads past its view and turns every
// shortage into Code::corrupt. Varints are LEB128 of at most 10 bytes in the shortest form
// (a longer form is corrupt: encodings are canonical). Not for concurrent use.
#pragma once

#include <cstdint>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone {

class Writer {
 public:
  void u8(std::uint8_t v) { out_.push_back(v); }
  void u16(std::uint16_t v) { little_endian(v, 2); }
  void u32(std::uint32_t v) { little_endian(v, 4); }
  void u64(std::uint64_t v) { little_endian(v, 8); }
  void varint(std::uint64_t v);
  // Zigzag: small negative numbers stay short.
  void svarint(std::int64_t v);
  void bytes(ByteView v) { out_.insert(out_.end(), v.begin(), v.end()); }
  // Varint length, then the bytes.
  void string(ByteView v);
  void string(std::string_view v) { string(as_bytes(v)); }
  void zeros(std::size_t n) { out_.insert(out_.end(), n, 0); }

  [[nodiscard]] std::size_t size() const { return out_.size(); }
  [[nodiscard]] const Bytes& buffer() const { return out_; }
  [[nodiscard]] Bytes take() { return std::move(out_); }

 private:
  void little_endian(std::uint64_t v, int n);
  Bytes out_;
};

// Errors of every getter: corrupt when the view ends too early or the form is not canonical.
class Reader {
 public:
  explicit Reader(ByteView view) : view_(view) {}

  Result<std::uint8_t> u8();
  Result<std::uint16_t> u16();
  Result<std::uint32_t> u32();
  Result<std::uint64_t> u64();
  Result<std::uint64_t> varint();
  Result<std::int64_t> svarint();
  // A varint that must not pass `limit`: for counts and lengths, before anything is allocated.
  Result<std::uint64_t> varint_at_most(std::uint64_t limit);
  // Views into the underlying bytes, valid as long as those are.
  Result<ByteView> bytes(std::size_t n);
  Result<ByteView> string(std::size_t limit);
  template <class IdType>
  Result<IdType> id() {
    return IdType::from(TRY(bytes(IdType::kSize)));
  }

  [[nodiscard]] std::size_t remaining() const { return view_.size(); }
  // Errors: corrupt when bytes are left over.
  Result<void> finish() const;

 private:
  Result<std::uint64_t> little_endian(std::size_t n);
  ByteView view_;
};

}  // namespace bygone
