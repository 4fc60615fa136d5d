// SPDX-License-Identifier: Apache-2.0
//
// Content-defined cut points: Gear with a secret table and normalised chunking (FastCDC, ATC 2016).
// A pure function of the bytes and the table: where a chunk ends depends only on the bytes since
// its start. No buffers, no I/O. FORMAT.md section 5.
#pragma once

#include <array>
#include <cstdint>

#include "store/base/bytes.h"

namespace bygone::store {

// Length of the first chunk of `data`, which stands at byte `at` of its file: up to kMaxChunk, at
// least kMinChunk, or kMinCoarseChunk from kCoarseFrom on, or all of `data` when it is shorter. To
// be sure of a cut, `data` holds kMaxChunk bytes or runs to the end of the content.
[[nodiscard]] std::size_t next_cut(const std::array<std::uint64_t, 256>& table, ByteView data,
                                   std::uint64_t at);

// Whether content like the end of `data` (its last 64 bytes) ends a chunk of kNormalChunk and more:
// true at almost every cut that next_cut() chose, and at one of 65,536 other places.
[[nodiscard]] bool ends_like_chunk(const std::array<std::uint64_t, 256>& table, ByteView data);

}  // namespace bygone::store
