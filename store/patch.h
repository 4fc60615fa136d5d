// SPDX-License-Identifier: Apache-2.0
//
// Where a chunk differs from its base, byte for byte at the same offset. A database writes its
// pages in place: what it changes in a block is a hundredth of it, and only that has to be
// compressed, beside what stood there. Functions of their arguments alone. FORMAT.md section 5.6.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/codec.h"

namespace bygone::store {

// Bytes [begin, end) of a chunk. Both are multiples of kPatchUnit, or the chunk's end.
struct Run {
  std::size_t begin = 0;
  std::size_t end = 0;
  friend bool operator==(const Run&, const Run&) = default;
};
// In order, with a unit at least between two of them.
using Runs = std::vector<Run>;

// The runs of `raw` that are not equal to `base`; what lies behind the base's end is not. Nothing
// when they are more than `most` bytes.
[[nodiscard]] std::optional<Runs> differences(ByteView base, ByteView raw, std::size_t most);

void encode_runs(const Runs& runs, std::size_t raw_size, Writer& writer);
// Errors: corrupt when they do not fit a chunk of `raw_size` bytes, or leave out some that a base
// of `base_size` bytes cannot give.
[[nodiscard]] Result<Runs> decode_runs(Reader& reader, std::size_t base_size, std::size_t raw_size);

// What `from` has of the runs, one after the other.
[[nodiscard]] Bytes gather(const Runs& runs, ByteView from);
// The reverse: `from` holds all bytes of the runs.
void scatter(const Runs& runs, ByteView from, MutableByteView to);

}  // namespace bygone::store
