// SPDX-License-Identifier: Apache-2.0
//
// What happens to files: bits flip, ends are cut off, content is replaced. For tests; failures
// end the test by exception.
#pragma once

#include <cstdint>
#include <string>

#include "store/base/bytes.h"

namespace bygone::test {

[[nodiscard]] Bytes read_whole(const std::string& path);
void write_whole(const std::string& path, ByteView content);
// Flips one bit of the byte at `offset`; negative offsets count from the end.
void flip_bit(const std::string& path, std::int64_t offset, unsigned bit = 0);
void cut_to(const std::string& path, std::uint64_t size);

}  // namespace bygone::test
