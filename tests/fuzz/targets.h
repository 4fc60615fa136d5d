// SPDX-License-Identifier: Apache-2.0
//
// Every decoder that meets bytes from a disk, an engine or a person, each as a function of any
// bytes at all. A target dies (by signal or sanitizer) when a promise is broken: no crash, no
// unbounded memory, and what decodes encodes to the same bytes where the encoding is canonical.
// One thread.
#pragma once

#include <vector>

#include "store/base/bytes.h"

namespace bygone::test {

struct FuzzTarget {
  const char* name;  // also the folder of its corpus
  void (*run)(ByteView input);
};

[[nodiscard]] const std::vector<FuzzTarget>& fuzz_targets();

}  // namespace bygone::test
