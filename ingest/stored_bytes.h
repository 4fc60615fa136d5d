// SPDX-License-Identifier: Apache-2.0
//
// What is stored of a file, read back whole or in part while a backup or the daemon works. Any
// thread.
#pragma once

#include <cstdint>

#include "store/base/bytes.h"
#include "store/base/result.h"
#include "store/tree_reader.h"

namespace bygone::ingest {

// The bytes of `file` from `begin` to `end`, which is at most its size; holes are zeros. Errors:
// corrupt when an extent reaches past its chunk; those of the pages and chunks.
[[nodiscard]] Result<Bytes> stored_bytes(store::TreeReader& trees, store::ChunkSource& chunks,
                                         const store::Entry& file, std::uint64_t begin,
                                         std::uint64_t end);

}  // namespace bygone::ingest
