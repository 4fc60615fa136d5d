// SPDX-License-Identifier: Apache-2.0
//
// What a file is made of: data, holes, and blocks that are reserved but were never written
// (fallocate). Asks the file system; reads no data. Callable from any thread.
#pragma once

#include <functional>

#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

struct Segment {
  enum class Kind { data, hole, reserved };
  Kind kind = Kind::data;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// Calls `visit` with the segments of the first `size` bytes, in order and without gaps, until it
// returns false. A file system that cannot tell has data everywhere. The file may change meanwhile;
// the segments then are of some moments in between. Errors: those of `visit`.
Result<void> for_each_segment(const Fd& fd, std::uint64_t size,
                              const std::function<Result<bool>(const Segment&)>& visit);

}  // namespace bygone::ingest
