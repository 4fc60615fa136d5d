// SPDX-License-Identifier: Apache-2.0
//
// File systems that keep no data: those of the kernel's own, and those in memory. Told from the
// table of mounts: to ask a file system itself may wait for a server that is gone. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bygone::ingest {

// The type of the file system with this st_dev, from the text of /proc/self/mountinfo (proc(5));
// empty for one that is not there.
[[nodiscard]] std::string_view file_system_type(std::string_view mountinfo, std::uint64_t device);

// What the file system with this st_dev is, for people, when it keeps no data; else empty.
[[nodiscard]] std::string dataless(std::uint64_t device);

}  // namespace bygone::ingest
