// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include <curl/curl.h>
#include <fmt/core.h>

#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

struct CloseEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, CloseEasy>;

// What the C callbacks write into. They never throw: an allocation that fails ends the request.
struct Answer {
  Response response;
  std::uint64_t limit = 0;
  std::uint64_t header_bytes = 0;
  bool too_large = false;
};

constexpr std::uint64_t kMaxHeaderBytes = 64U << 10U;

std::size_t on_body(char* data, std::size_t /*one*/, std::size_t size, void* user) noexcept {
  auto* answer = static_cast<Answer*>(user);
  if (size > answer->limit - answer->response.body.size()) {
    answer->too_large = true;
    return 0;
  }
  try {
    answer->response.body.append(data, size);
  } catch (const std::exception&) {
    answer->too_large = true;
    return 0;
  }
  return size;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::strchr(" \t\r\n", text.front()) != nullptr) text.remove_prefix(1);
  while (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) text.remove_suffix(1);
  return text;
}

std::size_t on_header(char* data, std::size_t /*one*/, std::size_t size, void* user) noexcept {
  auto* answer = static_cast<Answer*>(user);
  answer->header_bytes += size;
  if (answer->header_bytes > kMaxHeaderBytes) {
    answer->too_large = true;
    return 0;
  }
  const std::string_view line(data, size);
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  try {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    answer->response.headers[name] = trimmed(line.substr(colon + 1));
  } catch (const std::exception&) {
    return 0;
  }
  return size;
}

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

Error curl_error(CURLcode code, int errnum, const Endpoint& endpoint, const Request& request,
                 const Answer& answer, const char* detail) {
  if (answer.too_large) {
    return {Code::invalid, 0,
            fmt::format("the answer is larger than {} bytes", request.max_answer_bytes)};
  }
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      return connect_error(endpoint, errnum, detail);
    case CURLE_COULDNT_RESOLVE_HOST:
      return {Code::unavailable, 0, "no such host; hint: check DOCKER_HOST"};
    case CURLE_OPERATION_TIMEDOUT:
      return {Code::unavailable, ETIMEDOUT,
              fmt::format("no complete answer within {} ms", request.deadline.count())};
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

template <class T>
void set(CURL* easy, CURLoption option, T value, CURLcode& first_error) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  if (first_error == CURLE_OK) first_error = code;
}

CURLcode configure(CURL* easy, const Endpoint& endpoint, const Request& request, Answer& answer,
                   char* error_buffer) {
  CURLcode failed = CURLE_OK;
  const std::string host = endpoint.socket_path.empty() ? endpoint.authority : "docker";
  const std::string url = (endpoint.tls ? "https://" : "http://") + host + request.target;
  set(easy, CURLOPT_ERRORBUFFER, error_buffer, failed);
  set(easy, CURLOPT_URL, url.c_str(), failed);
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https", failed);
  set(easy, CURLOPT_PATH_AS_IS, 1L, failed);
  set(easy, CURLOPT_PROXY, "", failed);
  set(easy, CURLOPT_NOSIGNAL, 1L, failed);
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1), failed);
  // 0 would mean "no deadline" to libcurl.
  const long deadline = std::max<long>(1, static_cast<long>(request.deadline.count()));
  set(easy, CURLOPT_TIMEOUT_MS, deadline, failed);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, deadline, failed);
  set(easy, CURLOPT_WRITEFUNCTION, &on_body, failed);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&answer), failed);
  set(easy, CURLOPT_HEADERFUNCTION, &on_header, failed);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&answer), failed);
  if (request.method == Method::post) {
    set(easy, CURLOPT_POST, 1L, failed);
    set(easy, CURLOPT_POSTFIELDSIZE, 0L, failed);
    set(easy, CURLOPT_POSTFIELDS, "", failed);
  }
  if (!endpoint.socket_path.empty()) {
    set(easy, CURLOPT_UNIX_SOCKET_PATH, endpoint.socket_path.c_str(), failed);
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

}  // namespace

std::string Endpoint::address() const {
  return socket_path.empty() ? "tcp://" + authority : "unix://" + socket_path;
}

Result<Response> send(const Endpoint& endpoint, const Request& request) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  const Easy easy(global == CURLE_OK ? curl_easy_init() : nullptr);
  if (!easy) return Error{Code::io, 0, "libcurl cannot be started"};
  Answer answer;
  answer.limit = request.max_answer_bytes;
  char detail[CURL_ERROR_SIZE] = {};
  CURLcode code = configure(easy.get(), endpoint, request, answer, detail);
  if (code != CURLE_OK) {
    return Error{Code::io, 0, fmt::format("libcurl refused: {}", curl_easy_strerror(code))};
  }
  code = curl_easy_perform(easy.get());
  if (code != CURLE_OK) {
    long errnum = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_OS_ERRNO, &errnum);
    return curl_error(code, static_cast<int>(errnum), endpoint, request, answer,
                      detail[0] != '\0' ? detail : curl_easy_strerror(code));
  }
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  answer.response.status = static_cast<int>(status);
  return std::move(answer.response);
}

std::string escape(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace bygone::docker
