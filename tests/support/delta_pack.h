// SPDX-License-Identifier: Apache-2.0
//
// Packs with records as a test wants them, deltas that no session would write included: zstd with
// the base as prefix, as FORMAT.md section 5.4 has it, or patches. One thread.
#pragma once

#include <optional>
#include <vector>

#include "store/repository.h"

namespace bygone::test {

struct TestRecord {
  Bytes raw;
  std::optional<Bytes> base;  // decoded
  std::uint8_t depth = 0;
  bool patch = false;  // as which the delta must be small enough to be made
};

// `raw` compressed with `base` as prefix.
[[nodiscard]] Bytes compress_on(ByteView raw, ByteView base);
// Writes one pack that holds `records`, without telling the index.
PackId write_pack(store::Repository& repository, const std::vector<TestRecord>& records,
                  store::ChunkKind kind = store::ChunkKind::data);

}  // namespace bygone::test
