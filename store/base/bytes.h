// SPDX-License-Identifier: Apache-2.0
//
// Byte views, byte buffers and strong id types that do not mix. No I/O, no integers on disk
// (codec.h has those). Values only: safe to hand between threads.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bygone {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;

// The bytes of a string, not copied; valid as long as `text`.
[[nodiscard]] inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
// The bytes as text, not copied; valid as long as `bytes`. Not necessarily UTF-8.
[[nodiscard]] inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Lower-case hexadecimal, two digits a byte.
[[nodiscard]] std::string to_hex(ByteView bytes);
// The bytes of exactly 2 * `out.size()` lower-case hex digits. False for anything else.
[[nodiscard]] bool from_hex(std::string_view hex, MutableByteView out);

// An id of N bytes; `Tag` makes each kind a type of its own.
template <class Tag, std::size_t N>
struct Id {
  static constexpr std::size_t kSize = N;
  std::array<std::uint8_t, N> bytes{};

  [[nodiscard]] static Id from(ByteView view) {
    Id id;
    std::copy_n(view.begin(), N, id.bytes.begin());
    return id;
  }
  // From exactly 2 * N lower-case hex digits; nothing for any other text.
  [[nodiscard]] static std::optional<Id> from_hex_text(std::string_view hex) {
    Id id;
    if (!from_hex(hex, id.bytes)) return std::nullopt;
    return id;
  }
  [[nodiscard]] ByteView view() const { return bytes; }
  [[nodiscard]] std::string hex() const { return to_hex(bytes); }
  [[nodiscard]] bool is_zero() const {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
  }
  friend bool operator==(const Id&, const Id&) = default;
  friend auto operator<=>(const Id&, const Id&) = default;
};

using ChunkId = Id<struct ChunkIdTag, 32>;            // keyed hash of a chunk's or page's bytes
using PackId = Id<struct PackIdTag, 16>;              // random
using SnapshotId = Id<struct SnapshotIdTag, 16>;      // keyed hash of the record
using NoteId = Id<struct NoteIdTag, 16>;              // keyed hash of the note
using SourceId = Id<struct SourceIdTag, 16>;          // random, given at the first backup
using RepositoryId = Id<struct RepositoryIdTag, 16>;  // random, given at init

// For hash maps: the ids are keyed hashes or random, so their first bytes are as good as any hash.
struct IdHash {
  template <class Tag, std::size_t N>
  std::size_t operator()(const Id<Tag, N>& id) const {
    std::size_t h = 0;
    std::memcpy(&h, id.bytes.data(), sizeof h);
    return h;
  }
};

// `text` for a person: control bytes and invalid UTF-8 become \n, \t, \xHH, a backslash \\.
[[nodiscard]] std::string printable(std::string_view text);
// Adds "/NAME", printable, to a path; nothing when the name is empty, as a root's is.
void append_name(std::string& path, std::string_view name);
// Whether `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace bygone
