// SPDX-License-Identifier: Apache-2.0
#include "ingest/capability.h"

#include <cstdint>
#include <fstream>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace bygone::ingest {

bool may_administer() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  if ((data[0].effective & (1U << CAP_SYS_ADMIN)) == 0) return false;
  // In a user namespace the capability is one over that only.
  std::ifstream map("/proc/self/uid_map");
  std::uint64_t inside = 1, outside = 1, count = 0;
  map >> inside >> outside >> count;
  return inside == 0 && outside == 0 && count == 0xffffffffU;
}

}  // namespace bygone::ingest
