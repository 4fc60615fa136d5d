// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/engine.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/client.h"
#include "ingest/docker/endpoint.h"
#include "ingest/docker/http_engine.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

struct ApiVersion {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const ApiVersion&, const ApiVersion&) = default;
  [[nodiscard]] std::string text() const { return fmt::format("{}.{}", major, minor); }
};
std::optional<ApiVersion> parse_version(std::string_view text) {
  ApiVersion version;
  const char* end = text.data() + text.size();
  const auto [dot, major_error] = std::from_chars(text.data(), end, version.major);
  if (major_error != std::errc() || dot == end || *dot != '.') return std::nullopt;
  const auto [rest, minor_error] = std::from_chars(dot + 1, end, version.minor);
  if (minor_error != std::errc() || rest != end) return std::nullopt;
  return version;
}

// Of our own constants.
ApiVersion known_version(std::string_view text) {
  const std::optional<ApiVersion> version = parse_version(text);
  CHECK(version.has_value());
  return *version;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

Result<std::unique_ptr<Engine>> negotiate(const Endpoint& endpoint, const ConnectOptions& options) {
  Request request{.method = Method::get, .target = "/_ping"};
  request.deadline = options.deadline;
  request.max_answer_bytes = options.max_answer_bytes;
  const Response response = TRY(send(endpoint, request));
  const auto header = response.headers.find("api-version");
  if (header == response.headers.end()) {
    if (contains(response.body, "HTTP request to an HTTPS server")) {
      return Error{Code::invalid, 0,
                   "the engine wants TLS; hint: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"};
    }
    if (response.status != 200) return status_error(response.status, response.body);
    return Error{Code::invalid, 0, "what answers names no API version; hint: check DOCKER_HOST"};
  }
  const std::optional<ApiVersion> newest = parse_version(header->second);
  if (!newest) {
    return Error{Code::invalid, 0,
                 fmt::format("'{}' is no API version", printable(header->second))};
  }
  if (*newest < known_version(kOldestApi)) {
    return Error{Code::unsupported, 0,
                 fmt::format("the engine speaks API {} at most, bygone needs {}; hint: update the "
                             "Docker engine",
                             newest->text(), kOldestApi)};
  }
  const bool podman = response.headers.count("libpod-api-version") != 0;
  const ApiVersion agreed = std::min(known_version(kNewestApi), *newest);
  Client client(endpoint, "/v" + agreed.text(), options.deadline, options.max_answer_bytes);
  return make_http_engine(std::move(client), podman ? MadeBy::podman : MadeBy::docker);
}

}  // namespace

Result<std::unique_ptr<Engine>> connect(const ConnectOptions& options) {
  const Endpoint endpoint = TRY(parse_endpoint(options));
  Result<std::unique_ptr<Engine>> engine = negotiate(endpoint, options);
  if (engine.ok()) return engine;
  return std::move(engine).error().with("Docker engine " + printable(endpoint.address()) +
                                        ": connecting");
}

}  // namespace bygone::docker
