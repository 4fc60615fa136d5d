// SPDX-License-Identifier: Apache-2.0
#include "ingest/stored_bytes.h"

#include <algorithm>
#include <optional>

namespace bygone::ingest {

using store::Entry;
using store::Extent;

Result<Bytes> stored_bytes(store::TreeReader& trees, store::ChunkSource& chunks, const Entry& file,
                           std::uint64_t begin, std::uint64_t end) {
  if (file.content == Entry::Content::inline_bytes) {
    const auto first = file.inline_bytes.begin();
    return Bytes(first + static_cast<std::ptrdiff_t>(begin),
                 first + static_cast<std::ptrdiff_t>(end));
  }
  Bytes out(end - begin);
  std::optional<Error> error;
  TRY(trees.extents(file, begin, end - begin, [&](std::uint64_t at, const Extent& extent) {
    if (extent.kind != Extent::Kind::data) return true;
    auto chunk = chunks.get(store::ChunkKind::data, extent.chunk);
    if (!chunk || extent.offset > (*chunk)->size() ||
        extent.length > (*chunk)->size() - extent.offset) {
      error =
          chunk ? Error{Code::corrupt, 0, "an extent beyond its chunk"} : std::move(chunk).error();
      return false;
    }
    const std::uint64_t from = std::max(at, begin);
    const std::uint64_t to = std::min(at + extent.length, end);
    std::copy_n((*chunk)->begin() + static_cast<std::ptrdiff_t>(extent.offset + (from - at)),
                to - from, out.begin() + static_cast<std::ptrdiff_t>(from - begin));
    return true;
  }));
  if (error) return *error;
  return out;
}

}  // namespace bygone::ingest
