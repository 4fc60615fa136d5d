// SPDX-License-Identifier: Apache-2.0
//
// Tells systemd how the service is (sd_notify(3), the protocol of NOTIFY_SOCKET). Silent where
// nobody started it as a service. Any thread.
#pragma once

#include <chrono>
#include <string>

namespace bygone::ingest {

class Service {
 public:
  // Reads NOTIFY_SOCKET and WATCHDOG_USEC.
  Service();
  // "READY=1", "STOPPING=1", "STATUS=...", "WATCHDOG=1"; what cannot be sent is dropped.
  void tell(const std::string& state) const;
  // How often the watchdog wants to hear of us; zero: it does not.
  [[nodiscard]] std::chrono::milliseconds watchdog() const { return watchdog_; }

 private:
  std::string socket_;  // empty: none
  std::chrono::milliseconds watchdog_{0};
};

}  // namespace bygone::ingest
