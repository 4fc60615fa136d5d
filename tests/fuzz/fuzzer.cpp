// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer's side of targets.h. Which target is the name of the program: fuzz-page and so on are
// links to one binary.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/fuzz/targets.h"

namespace {

const bygone::test::FuzzTarget* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** argv) {
  const std::string program = (*argv)[0];
  for (const auto& target : bygone::test::fuzz_targets()) {
    if (program.ends_with(std::string("fuzz-") + target.name)) chosen = &target;
  }
  if (chosen == nullptr) {
    std::fprintf(stderr, "call this by the name of a target: fuzz-page, fuzz-snapshot, ...\n");
    std::exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run({data, size});
  return 0;
}
