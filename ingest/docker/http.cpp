// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http.h"

#include <algorithm>
#include <memory>

#include <fmt/core.h>

#include "ingest/docker/http_curl.h"
#include "ingest/docker/http_head.h"

namespace bygone::docker {
namespace {

// What the C callbacks write into. They never throw: an allocation that fails ends the request.
struct Answer {
  Response response;
  std::uint64_t limit = 0;
  std::uint64_t header_bytes = 0;
  bool too_large = false;
};

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

std::size_t on_header(char* data, std::size_t /*one*/, std::size_t size, void* user) noexcept {
  auto* answer = static_cast<Answer*>(user);
  answer->header_bytes += size;
  if (answer->header_bytes > kMaxHeaderBytes) {
    answer->too_large = true;
    return 0;
  }
  try {
    add_header({data, size}, answer->response.headers);
  } catch (const std::exception&) {
    return 0;
  }
  return size;
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

// The headers that libcurl would not send by itself. "Expect" is none of ours: it would wait.
HeaderList headers_of(const Request& request) {
  HeaderList list(curl_slist_append(nullptr, "Expect:"));
  if (!list || request.content_type.empty()) return list;
  const std::string type = "Content-Type: " + request.content_type;
  if (curl_slist_append(list.get(), type.c_str()) == nullptr) return nullptr;
  return list;
}

CURLcode configure(CURL* easy, const Endpoint& endpoint, const Request& request, Answer& answer,
                   curl_slist* headers, char* error_buffer) {
  CURLcode failed = configure_endpoint(easy, endpoint, request.target, error_buffer);
  // 0 would mean "no deadline" to libcurl.
  const long deadline = std::max<long>(1, static_cast<long>(request.deadline.count()));
  set(easy, CURLOPT_TIMEOUT_MS, deadline, failed);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, deadline, failed);
  set(easy, CURLOPT_WRITEFUNCTION, &on_body, failed);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&answer), failed);
  set(easy, CURLOPT_HEADERFUNCTION, &on_header, failed);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&answer), failed);
  set(easy, CURLOPT_HTTPHEADER, headers, failed);
  if (request.method == Method::post) {
    set(easy, CURLOPT_POST, 1L, failed);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()), failed);
    set(easy, CURLOPT_POSTFIELDS, request.body.c_str(), failed);
  }
  if (request.method == Method::remove) set(easy, CURLOPT_CUSTOMREQUEST, "DELETE", failed);
  return failed;
}

}  // namespace

std::string Endpoint::address() const {
  return socket_path.empty() ? "tcp://" + authority : "unix://" + socket_path;
}

Result<Response> send(const Endpoint& endpoint, const Request& request) {
  const Easy easy = start_curl();
  const HeaderList headers = headers_of(request);
  if (!easy || !headers) return Error{Code::io, 0, "libcurl cannot be started"};
  Answer answer;
  answer.limit = request.max_answer_bytes;
  char detail[CURL_ERROR_SIZE] = {};
  CURLcode code = configure(easy.get(), endpoint, request, answer, headers.get(), detail);
  if (code != CURLE_OK) {
    return Error{Code::io, 0, fmt::format("libcurl refused: {}", curl_easy_strerror(code))};
  }
  code = curl_easy_perform(easy.get());
  if (code != CURLE_OK && answer.too_large) {
    return Error{Code::invalid, 0,
                 fmt::format("the answer is larger than {} bytes", request.max_answer_bytes)};
  }
  if (code != CURLE_OK) return curl_error(easy.get(), code, endpoint, request.deadline, detail);
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
