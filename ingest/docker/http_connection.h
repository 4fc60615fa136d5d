// SPDX-License-Identifier: Apache-2.0
//
// A connection to an engine that bytes go over in both directions, made by libcurl (Unix socket,
// TCP or TLS, as for a request) and used by us. Knows no HTTP: http_stream.h speaks it. Waits only
// as long as it is told. One thread at a time.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>

#include "ingest/docker/http.h"
#include "store/base/bytes.h"
#include "store/base/result.h"

namespace bygone::docker {

class Connection {
 public:
  // Connects, TLS included. Errors: as send().
  [[nodiscard]] static Result<Connection> open(const Endpoint& endpoint,
                                               std::chrono::milliseconds deadline);
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  // Reads what has come, at least one byte: their number, 0 at the end of the stream, nothing when
  // none came within `wait`. Errors: unavailable when the connection broke.
  [[nodiscard]] Result<std::optional<std::size_t>> read(MutableByteView out,
                                                        std::chrono::milliseconds wait);
  // Sends some of `bytes` without waiting: how many, 0 when the other side takes none now. Errors:
  // unavailable when the connection broke or the other side reads no more.
  [[nodiscard]] Result<std::size_t> write_some(std::string_view bytes);
  // Waits until bytes can be sent or read: true when some can be read.
  [[nodiscard]] Result<bool> wait_for_either(std::chrono::milliseconds wait);
  // Waits until bytes can be sent.
  [[nodiscard]] Result<void> wait_to_send(std::chrono::milliseconds wait);
  // Tells the other side that nothing more is sent; reading goes on. Errors: unsupported over TLS,
  // where libcurl cannot say so.
  [[nodiscard]] Result<void> close_sending();

 private:
  struct Handle;
  explicit Connection(std::unique_ptr<Handle> handle);
  [[nodiscard]] Error broken(int code) const;
  std::unique_ptr<Handle> handle_;
};

}  // namespace bygone::docker
