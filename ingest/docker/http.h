// SPDX-License-Identifier: Apache-2.0
//
// One HTTP request to an engine: over a Unix socket or TCP, with TLS when asked. Libcurl is
// included by the files http* alone. Knows nothing of Docker. Every request has a deadline and a
// limit for its answer; it never follows redirects and never uses a proxy. Callable from any
// thread, also from several at once: each request has a connection of its own. For answers that
// stream and connections that go both ways see http_stream.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace bygone::docker {

// Where requests go.
struct Endpoint {
  std::string socket_path;  // of a Unix socket of at most 107 bytes; empty for TCP
  std::string authority;    // "host:port" for TCP
  bool tls = false;
  std::string ca_file;    // PEM files, with `tls` only; the server must prove itself by `ca_file`
  std::string cert_file;  // and we prove ourselves by these two
  std::string key_file;
  // For messages: unix://PATH or tcp://HOST:PORT.
  [[nodiscard]] std::string address() const;
};

enum class Method { get, post, remove };

struct Request {
  Method method = Method::get;
  std::string target;          // begins with a slash; segments escaped by the caller
  std::string body{};          // with Method::post alone
  std::string content_type{};  // of the body; empty: libcurl's own
  std::chrono::milliseconds deadline{60'000};
  std::uint64_t max_answer_bytes = 64ULL << 20U;
};

struct Response {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

// Sends a request and waits for the whole answer, of whatever status. Errors:
// unavailable when nobody answers (no socket, nobody listens, no such host, the deadline, an
// answer cut short); denied for a socket without permission or a certificate refused; invalid for
// an answer over the limit or one that is no HTTP. The message says which, with a hint.
[[nodiscard]] Result<Response> send(const Endpoint& endpoint, const Request& request);

// `text` as one segment of a path or one value of a query: all but letters, digits, '-', '.', '_'
// and '~' percent-encoded.
[[nodiscard]] std::string escape(std::string_view text);

}  // namespace bygone::docker
