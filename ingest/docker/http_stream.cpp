// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http_stream.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <fmt/core.h>

#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

milliseconds until(SteadyClock::time_point end) {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(end - SteadyClock::now()));
}

Error cut_short() { return {Code::unavailable, 0, "the answer was cut short"}; }

Error too_late(milliseconds deadline) {
  return {Code::unavailable, ETIMEDOUT,
          fmt::format("no complete answer within {} ms", deadline.count())};
}

}  // namespace

HttpStream::HttpStream(Connection connection, Request request)
    : connection_(std::move(connection)), request_(std::move(request)) {}

Result<HttpStream> HttpStream::open(const Endpoint& endpoint, const Request& request,
                                    Upgrade upgrade) {
  HttpStream stream(TRY(Connection::open(endpoint, request.deadline)), request);
  TRY(stream.send_head(endpoint, upgrade));
  TRY(stream.read_head());
  TRY(stream.choose_body());
  return stream;
}

Result<void> HttpStream::send_head(const Endpoint& endpoint, Upgrade upgrade) {
  const char* method = request_.method == Method::get ? "GET" : "POST";
  const std::string host = endpoint.socket_path.empty() ? endpoint.authority : "docker";
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n", method, request_.target, host);
  if (upgrade == Upgrade::yes) {
    text += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
  } else {
    text += "Connection: close\r\n";
  }
  if (!request_.content_type.empty()) text += "Content-Type: " + request_.content_type + "\r\n";
  if (request_.method == Method::post) {
    text += fmt::format("Content-Length: {}\r\n", request_.body.size());
  }
  return write(text + "\r\n" + request_.body);
}

Result<void> HttpStream::read_head() {
  const SteadyClock::time_point end = SteadyClock::now() + request_.deadline;
  for (;;) {
    if (!received_.empty()) {
      if (std::optional<Head> head = TRY(parse_head(received_))) {
        head_ = *std::move(head);
        received_.erase(0, head_.size);
        return {};
      }
    }
    if (closed_) {
      return Error{Code::unavailable, 0,
                   received_.empty() ? "the connection was closed without an answer"
                                     : "the answer was cut short"};
    }
    if (!TRY(fill(until(end))) && !closed_ && until(end).count() == 0) {
      return too_late(request_.deadline);
    }
  }
}

Result<void> HttpStream::choose_body() {
  const auto header = [&](const char* name) {
    const auto found = head_.headers.find(name);
    return found == head_.headers.end() ? std::string() : found->second;
  };
  if (head_.status == 101) return {};
  if (head_.status == 204 || head_.status == 304) {
    body_ = Body::counted;
  } else if (header("transfer-encoding") == "chunked") {
    body_ = Body::chunked;
  } else if (const std::string length = header("content-length"); !length.empty()) {
    body_ = Body::counted;
    const char* last = length.data() + length.size();
    const auto [rest, error] = std::from_chars(length.data(), last, left_);
    if (error != std::errc() || rest != last) {
      return Error{Code::invalid, 0,
                   fmt::format("'{}' is no length of an answer", printable(length))};
    }
  }
  ended_ = body_ == Body::counted && left_ == 0;
  return {};
}

// Takes what has come from the connection into received_: false when there was nothing.
Result<bool> HttpStream::fill(milliseconds wait) {
  constexpr std::size_t kAtOnce = 64U << 10U;
  const std::size_t before = received_.size();
  received_.resize(before + kAtOnce);
  const auto got =
      connection_.read({reinterpret_cast<std::uint8_t*>(received_.data()) + before, kAtOnce}, wait);
  received_.resize(before + (got.ok() ? got->value_or(0) : 0));
  if (!got.ok()) return got.error();
  closed_ = *got == std::optional<std::size_t>(0);
  return received_.size() > before;
}

// Moves the payload in received_ to `out`.
Result<void> HttpStream::decode(std::string& out) {
  if (body_ == Body::chunked) {
    TRY(chunks_.feed(received_, out));
    ended_ = chunks_.ended();
  } else if (body_ == Body::counted) {
    const std::uint64_t size = std::min<std::uint64_t>(left_, received_.size());
    out.append(received_, 0, static_cast<std::size_t>(size));
    left_ -= size;
    ended_ = left_ == 0;
  } else {
    out.append(received_);
    ended_ = closed_;
  }
  received_.clear();
  if (closed_ && !ended_) return cut_short();
  return {};
}

Result<bool> HttpStream::read(std::string& out, milliseconds wait) {
  const SteadyClock::time_point end = SteadyClock::now() + wait;
  const std::size_t before = out.size();
  while (!ended_ && out.size() == before) {
    if (received_.empty() && !closed_ && !TRY(fill(until(end))) && !closed_) {
      if (until(end).count() == 0) break;
      continue;
    }
    TRY(decode(out));
  }
  return out.size() > before;
}

Result<std::string> HttpStream::body() {
  const SteadyClock::time_point end = SteadyClock::now() + request_.deadline;
  std::string out;
  while (!ended_) {
    TRY(read(out, until(end)));
    if (out.size() > request_.max_answer_bytes) {
      return Error{Code::invalid, 0,
                   fmt::format("the answer is larger than {} bytes", request_.max_answer_bytes)};
    }
    if (!ended_ && until(end).count() == 0) return too_late(request_.deadline);
  }
  return out;
}

// Reads beside writing: an engine whose output nobody takes stops taking input.
Result<void> HttpStream::write(std::string_view bytes) {
  constexpr std::size_t kMostKept = 64U << 20U;
  SteadyClock::time_point end = SteadyClock::now() + request_.deadline;
  while (!bytes.empty()) {
    const std::size_t sent = TRY(connection_.write_some(bytes));
    bytes.remove_prefix(sent);
    if (sent > 0) {
      end = SteadyClock::now() + request_.deadline;
      continue;
    }
    if (until(end).count() == 0) return too_late(request_.deadline);
    const bool readable =
        TRY(connection_.wait_for_either(std::min(until(end), milliseconds(1000))));
    if (readable && !closed_ && received_.size() < kMostKept) {
      TRY(fill(milliseconds(0)));
    } else if (readable) {
      // Nothing to do but to try again, without turning in circles meanwhile.
      TRY(connection_.wait_to_send(milliseconds(10)));
    }
  }
  return {};
}

}  // namespace bygone::docker
