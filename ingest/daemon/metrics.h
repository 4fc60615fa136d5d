// SPDX-License-Identifier: Apache-2.0
//
// What the daemon knows, as Prometheus wants it, at a Unix socket or a port of the loopback: an
// HTTP server of one page, GET /metrics, in a thread of its own; one short request at a time, with
// a deadline. Nothing of it is secret, but the names of sources are told to every local user who
// may reach the port; the socket is for its owner alone.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "ingest/daemon/ledger.h"
#include "store/base/files.h"
#include "store/base/result.h"

namespace bygone::ingest {

// In the text format of Prometheus, version 0.0.4; sources that are gone are left out.
[[nodiscard]] std::string to_metrics(const Ledger& ledger, Nanoseconds now);

class MetricsServer {
 public:
  // `place`: unix:/PATH (a socket that is there is replaced), or ADDRESS:PORT of the loopback.
  // `page` is called from the server's thread. Errors: invalid for another address than the
  // loopback's; those of the system.
  static Result<std::unique_ptr<MetricsServer>> start(const std::string& place,
                                                      std::function<std::string()> page);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  [[nodiscard]] int port() const;  // that it listens at; for ADDRESS:0

 private:
  MetricsServer(Fd listener, std::string socket_path, std::function<std::string()> page);
  void serve();
  void answer(const Fd& connection) const;

  const Fd listener_;
  const std::string socket_path_;  // empty: a port
  const std::function<std::string()> page_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace bygone::ingest
