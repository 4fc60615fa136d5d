// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http_curl.h"

#include <cerrno>

#include <fmt/core.h>

#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

constexpr long kKeepAlive = 15;  // seconds; given up after nine more of the kernel's questions

Error connect_error(const Endpoint& endpoint, int errnum, const char* detail) {
  if (errnum == ENOENT) {
    return {Code::unavailable, errnum,
            "there is no socket; hint: start the Docker engine, or set DOCKER_HOST to its socket "
            "(rootless: unix://$XDG_RUNTIME_DIR/docker.sock)"};
  }
  if (errnum == EACCES || errnum == EPERM) {
    return {Code::denied, errnum,
            "no permission to use the socket; hint: run as root or as a member of the socket's "
            "group (docker)"};
  }
  if (errnum == ECONNREFUSED) {
    return {Code::unavailable, errnum,
            endpoint.socket_path.empty()
                ? "connection refused; hint: check host and port of DOCKER_HOST"
                : "nobody listens at the socket; hint: the Docker engine has stopped, start it"};
  }
  return {Code::unavailable, errnum, fmt::format("cannot connect: {}", printable(detail))};
}

}  // namespace

Easy start_curl() {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  return Easy(global == CURLE_OK ? curl_easy_init() : nullptr);
}

Error curl_error(CURL* easy, CURLcode code, const Endpoint& endpoint,
                 std::chrono::milliseconds deadline, const char* detail) {
  long os_errno = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
  const int errnum = static_cast<int>(os_errno);
  if (*detail == '\0') detail = curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      return connect_error(endpoint, errnum, detail);
    case CURLE_COULDNT_RESOLVE_HOST:
      return {Code::unavailable, 0, "no such host; hint: check DOCKER_HOST"};
    case CURLE_OPERATION_TIMEDOUT:
      return {Code::unavailable, ETIMEDOUT,
              fmt::format("no complete answer within {} ms", deadline.count())};
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      // Since TLS 1.3 a server refuses a client's certificate after the handshake, by hanging up.
      return {Code::unavailable, errnum,
              endpoint.tls ? "the connection was closed without an answer; hint: check whether the "
                             "engine accepts cert.pem in DOCKER_CERT_PATH"
                           : "the connection was closed without an answer"};
    case CURLE_PARTIAL_FILE:
      return {Code::unavailable, errnum, "the answer was cut short"};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return {Code::denied, 0,
              fmt::format("TLS: {}; hint: check ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH",
                          printable(detail))};
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
      return {Code::invalid, 0, "what answers is not an HTTP server"};
    default:
      return {Code::unavailable, errnum, printable(detail)};
  }
}

CURLcode configure_endpoint(CURL* easy, const Endpoint& endpoint, const std::string& target,
                            char* error_buffer) {
  CURLcode failed = CURLE_OK;
  const std::string host = endpoint.socket_path.empty() ? endpoint.authority : "docker";
  const std::string url = (endpoint.tls ? "https://" : "http://") + host + target;
  set(easy, CURLOPT_ERRORBUFFER, error_buffer, failed);
  set(easy, CURLOPT_URL, url.c_str(), failed);
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https", failed);
  set(easy, CURLOPT_PATH_AS_IS, 1L, failed);
  set(easy, CURLOPT_PROXY, "", failed);
  set(easy, CURLOPT_NOSIGNAL, 1L, failed);
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1), failed);
  if (!endpoint.socket_path.empty()) {
    set(easy, CURLOPT_UNIX_SOCKET_PATH, endpoint.socket_path.c_str(), failed);
  } else {
    // A stream of events is silent for days. One whose other end has gone without a word, as with a
    // host that lost its power, is to end as well.
    set(easy, CURLOPT_TCP_KEEPALIVE, 1L, failed);
    set(easy, CURLOPT_TCP_KEEPIDLE, kKeepAlive, failed);
    set(easy, CURLOPT_TCP_KEEPINTVL, kKeepAlive, failed);
  }
  if (endpoint.tls) {
    set(easy, CURLOPT_SSL_VERIFYPEER, 1L, failed);
    set(easy, CURLOPT_SSL_VERIFYHOST, 2L, failed);
    set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2), failed);
    set(easy, CURLOPT_CAINFO, endpoint.ca_file.c_str(), failed);
    set(easy, CURLOPT_SSLCERT, endpoint.cert_file.c_str(), failed);
    set(easy, CURLOPT_SSLKEY, endpoint.key_file.c_str(), failed);
  }
  return failed;
}

}  // namespace bygone::docker
