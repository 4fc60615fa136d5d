// SPDX-License-Identifier: Apache-2.0
//
// How much memory this process may use, for what is better the larger it is. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace bygone::ingest {

// What its control group and those above it allow (cgroups(7), of either version); UINT64_MAX for
// no limit, or none that can be seen. `root` stands before /proc and /sys.
[[nodiscard]] std::uint64_t memory_limit(const std::string& root = "");

// That, or the machine's memory where it has less.
[[nodiscard]] std::uint64_t usable_memory();

}  // namespace bygone::ingest
