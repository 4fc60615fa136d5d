// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/endpoint.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <sys/un.h>

#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

constexpr std::string_view kDefaultSocket = "/var/run/docker.sock";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string default_cert_path() {
  std::string config = environment("DOCKER_CONFIG");
  if (!config.empty()) return config;
  const std::string home = environment("HOME");
  return home.empty() ? std::string() : home + "/.docker";
}

Error bad_host(const std::string& host, const char* why) {
  return {Code::invalid, 0,
          fmt::format("Docker host '{}': {}; hint: DOCKER_HOST is unix:///PATH or tcp://HOST:PORT",
                      printable(host), why)};
}

Result<Endpoint> unix_endpoint(const std::string& host, std::string path) {
  if (path.empty()) path = kDefaultSocket;
  if (path.front() != '/') return bad_host(host, "the socket's path is not absolute");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return bad_host(host, "the socket's path is longer than 107 bytes, the system's limit");
  }
  Endpoint endpoint;
  endpoint.socket_path = std::move(path);
  return endpoint;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// `authority` as host:port, with Docker's default port when it has none.
Result<std::string> with_port(const std::string& host, std::string authority, bool tls) {
  if (!authority.empty() && authority.back() == '/') authority.pop_back();
  if (authority.empty() || authority.find_first_of("/@?# ") != std::string::npos) {
    return bad_host(host, "no host and port");
  }
  const std::size_t bracket = authority.rfind(']');  // of an IPv6 address
  const std::size_t colon = authority.rfind(':');
  const bool has_port =
      colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  if (!has_port) return authority + (tls ? ":2376" : ":2375");
  if (colon == 0 || !is_port(authority.substr(colon + 1))) return bad_host(host, "no valid port");
  return authority;
}

Result<Endpoint> tcp_endpoint(const ConnectOptions& options, std::string authority) {
  Endpoint endpoint;
  endpoint.authority = TRY(with_port(options.host, std::move(authority), options.tls));
  endpoint.tls = options.tls;
  if (!options.tls) return endpoint;
  if (options.cert_path.empty()) {
    return Error{Code::invalid, 0,
                 fmt::format("Docker host '{}': TLS without certificates; hint: set "
                             "DOCKER_CERT_PATH to the folder of ca.pem, cert.pem and key.pem",
                             printable(options.host))};
  }
  endpoint.ca_file = options.cert_path + "/ca.pem";
  endpoint.cert_file = options.cert_path + "/cert.pem";
  endpoint.key_file = options.cert_path + "/key.pem";
  return endpoint;
}

}  // namespace

ConnectOptions options_from_environment() {
  ConnectOptions options;
  options.host = environment("DOCKER_HOST");
  options.cert_path = environment("DOCKER_CERT_PATH");
  options.tls = !options.cert_path.empty() || !environment("DOCKER_TLS_VERIFY").empty();
  if (options.tls && options.cert_path.empty()) options.cert_path = default_cert_path();
  return options;
}

Result<Endpoint> parse_endpoint(const ConnectOptions& options) {
  constexpr std::string_view kUnix = "unix://";
  constexpr std::string_view kTcp = "tcp://";
  const std::string& host = options.host;
  if (host.empty()) return unix_endpoint(host, "");
  if (host.rfind(kUnix, 0) == 0) return unix_endpoint(host, host.substr(kUnix.size()));
  if (host.rfind(kTcp, 0) == 0) return tcp_endpoint(options, host.substr(kTcp.size()));
  for (const std::string_view scheme : {"ssh://", "npipe://", "fd://"}) {
    if (host.rfind(scheme, 0) != 0) continue;
    Error error = bad_host(host, "this transport is not supported");
    error.code = Code::unsupported;
    return error;
  }
  return bad_host(host, "neither unix:// nor tcp://");
}

}  // namespace bygone::docker
