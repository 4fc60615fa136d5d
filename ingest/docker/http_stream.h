// SPDX-License-Identifier: Apache-2.0
//
// A request whose answer is read while it comes, on a connection of its own: events, archives, and
// the two-way streams that an engine upgrades to. Says when an answer was cut short. One thread at
// a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "ingest/docker/http_connection.h"
#include "ingest/docker/http_head.h"
#include "store/base/result.h"

namespace bygone::docker {

enum class Upgrade { no, yes };

class HttpStream {
 public:
  // Sends the request and waits for the head of the answer, of whatever status. `deadline` and
  // `max_answer_bytes` of the request are for the head, and for body() below. Errors: as send().
  [[nodiscard]] static Result<HttpStream> open(const Endpoint& endpoint, const Request& request,
                                               Upgrade upgrade);

  [[nodiscard]] int status() const { return head_.status; }
  [[nodiscard]] const std::map<std::string, std::string>& headers() const { return head_.headers; }

  // Appends what has come of the body to `out`: false when nothing came within `wait` or at the
  // end. Errors: unavailable when the connection broke or the body is shorter than announced;
  // invalid for damaged chunks. The end of a body that announces no length (every upgraded stream)
  // is the end of the connection, whoever closed it: it proves nothing.
  [[nodiscard]] Result<bool> read(std::string& out, std::chrono::milliseconds wait);
  [[nodiscard]] bool ended() const { return ended_; }
  // The rest of the body, at most `max_answer_bytes`, within the request's deadline.
  [[nodiscard]] Result<std::string> body();

  // Sends bytes to an upgraded stream, and keeps what comes meanwhile for read(), at most 64 MiB.
  // Errors: unavailable when the connection broke, or for the request's deadline nothing was taken.
  [[nodiscard]] Result<void> write(std::string_view bytes);
  // As Connection::close_sending().
  [[nodiscard]] Result<void> close_sending() { return connection_.close_sending(); }

 private:
  enum class Body { until_close, counted, chunked };
  HttpStream(Connection connection, Request request);
  Result<void> send_head(const Endpoint& endpoint, Upgrade upgrade);
  Result<void> read_head();
  Result<void> choose_body();
  Result<bool> fill(std::chrono::milliseconds wait);
  Result<void> decode(std::string& out);

  Connection connection_;
  Request request_;
  Head head_;
  Body body_ = Body::until_close;
  std::uint64_t left_ = 0;  // of a counted body
  ChunkDecoder chunks_;
  std::string received_;  // from the connection, not decoded yet
  bool closed_ = false;   // by the other side
  bool ended_ = false;
};

}  // namespace bygone::docker
