// SPDX-License-Identifier: Apache-2.0
//
// Which containers this process holds still. Two sources may share one: the second would take the
// pause of the first for somebody else's, and be thawed by it. Any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "store/base/result.h"

namespace bygone::ingest {

class ContainerClaims {
 public:
  // All of them at once, or none; waits for those that others have. Errors: cancelled when one is
  // not given back by `deadline`.
  Result<void> take(const std::set<std::string>& ids,
                    std::chrono::steady_clock::time_point deadline);
  void give(const std::set<std::string>& ids);
  // Whether this process holds any still, or is about to.
  [[nodiscard]] bool any() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable given_;
  std::set<std::string> held_;
};

// Those of this process.
[[nodiscard]] ContainerClaims& container_claims();

}  // namespace bygone::ingest
