// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http_connection.h"

#include <algorithm>
#include <cerrno>
#include <climits>

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include "ingest/docker/http_curl.h"

namespace bygone::docker {

struct Connection::Handle {
  Easy easy;
  Endpoint endpoint;
  curl_socket_t socket = CURL_SOCKET_BAD;
  char detail[CURL_ERROR_SIZE] = {};
};

namespace {

// Which of `events` the socket is ready for; none after `wait`.
Result<short> poll_socket(curl_socket_t socket, short events, std::chrono::milliseconds wait) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + wait;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd fd{socket, events, 0};
    const auto timeout = std::clamp<std::int64_t>(left.count(), 0, INT_MAX);
    const int ready = ::poll(&fd, 1, static_cast<int>(timeout));
    if (ready >= 0) return fd.revents;
    if (errno != EINTR) return os_error(errno, "waiting for the engine");
  }
}

}  // namespace

Connection::Connection(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::open(const Endpoint& endpoint, std::chrono::milliseconds deadline) {
  auto handle = std::make_unique<Handle>();
  handle->endpoint = endpoint;
  handle->easy = start_curl();
  CURL* easy = handle->easy.get();
  if (easy == nullptr) return Error{Code::io, 0, "libcurl cannot be started"};
  CURLcode code = configure_endpoint(easy, endpoint, "/", handle->detail);
  set(easy, CURLOPT_CONNECT_ONLY, 1L, code);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, std::max<long>(1, static_cast<long>(deadline.count())),
      code);
  if (code != CURLE_OK) {
    return Error{Code::io, 0, fmt::format("libcurl refused: {}", curl_easy_strerror(code))};
  }
  code = curl_easy_perform(easy);
  if (code != CURLE_OK) return curl_error(easy, code, endpoint, deadline, handle->detail);
  code = curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &handle->socket);
  if (code != CURLE_OK || handle->socket == CURL_SOCKET_BAD) {
    return Error{Code::io, 0, "libcurl has no socket"};
  }
  return Connection(std::move(handle));
}

Error Connection::broken(int code) const {
  Error error = curl_error(handle_->easy.get(), static_cast<CURLcode>(code), handle_->endpoint,
                           std::chrono::milliseconds(0), handle_->detail);
  error.code = Code::unavailable;
  return error;
}

// TLS keeps bytes of its own, so it is asked before the socket is waited for.
Result<std::optional<std::size_t>> Connection::read(MutableByteView out,
                                                    std::chrono::milliseconds wait) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + wait;
  for (;;) {
    std::size_t got = 0;
    const CURLcode code = curl_easy_recv(handle_->easy.get(), out.data(), out.size(), &got);
    if (code == CURLE_OK) return std::optional<std::size_t>(got);
    if (code != CURLE_AGAIN) return broken(code);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return std::optional<std::size_t>();
    TRY(poll_socket(handle_->socket, POLLIN, left));
  }
}

Result<std::size_t> Connection::write_some(std::string_view bytes) {
  std::size_t sent = 0;
  const CURLcode code = curl_easy_send(handle_->easy.get(), bytes.data(), bytes.size(), &sent);
  if (code == CURLE_OK) return sent;
  if (code == CURLE_AGAIN) return std::size_t{0};
  return broken(code);
}

Result<bool> Connection::wait_for_either(std::chrono::milliseconds wait) {
  const short ready = TRY(poll_socket(handle_->socket, POLLIN | POLLOUT, wait));
  return (ready & (POLLIN | POLLHUP | POLLERR)) != 0;
}

Result<void> Connection::wait_to_send(std::chrono::milliseconds wait) {
  TRY(poll_socket(handle_->socket, POLLOUT, wait));
  return {};
}

Result<void> Connection::close_sending() {
  if (handle_->endpoint.tls) {
    return Error{Code::unsupported, 0,
                 "the end of the input cannot be told over TLS; hint: let the input itself say "
                 "where it ends, or run bygone on the engine's host"};
  }
  if (::shutdown(handle_->socket, SHUT_WR) == 0) return {};
  Error error = os_error(errno, "closing the input");
  error.code = Code::unavailable;
  return error;
}

}  // namespace bygone::docker
