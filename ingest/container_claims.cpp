// SPDX-License-Identifier: Apache-2.0
#include "ingest/container_claims.h"

#include <algorithm>

namespace bygone::ingest {

Result<void> ContainerClaims::take(const std::set<std::string>& ids,
                                   std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const bool free = given_.wait_until(lock, deadline, [&] {
    return std::none_of(ids.begin(), ids.end(),
                        [&](const std::string& id) { return held_.count(id) != 0; });
  });
  if (!free) {
    return Error{Code::cancelled, 0,
                 "freezing containers: another backup holds one of them, and the time is over"};
  }
  held_.insert(ids.begin(), ids.end());
  return {};
}

void ContainerClaims::give(const std::set<std::string>& ids) {
  const std::lock_guard lock(mutex_);
  for (const std::string& id : ids) held_.erase(id);
  given_.notify_all();
}

bool ContainerClaims::any() const {
  const std::lock_guard lock(mutex_);
  return !held_.empty();
}

ContainerClaims& container_claims() {
  static ContainerClaims one;
  return one;
}

}  // namespace bygone::ingest
