// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/url.h"

#include <memory>

#include <curl/curl.h>
#include <fmt/core.h>

#include "ingest/docker/http_curl.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

std::size_t drop(char* /*data*/, std::size_t size, std::size_t count, void* /*unused*/) {
  return size * count;
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

}  // namespace

Result<void> visit(const Visit& visit) {
  using docker::set;
  const docker::Easy easy = docker::start_curl();
  if (easy == nullptr) return Error{Code::unavailable, 0, "libcurl cannot be started"};
  CURLcode failed = CURLE_OK;
  CURL* const handle = easy.get();
  set(handle, CURLOPT_URL, visit.url.c_str(), failed);
  set(handle, CURLOPT_PROTOCOLS_STR, "http,https", failed);
  set(handle, CURLOPT_NOSIGNAL, 1L, failed);
  set(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(visit.deadline.count()), failed);
  set(handle, CURLOPT_USERAGENT, "bygone/" BYGONE_VERSION, failed);
  set(handle, CURLOPT_WRITEFUNCTION, &drop, failed);
  if (!visit.socket_path.empty()) {
    set(handle, CURLOPT_UNIX_SOCKET_PATH, visit.socket_path.c_str(), failed);
  }
  std::unique_ptr<curl_slist, FreeList> headers;
  if (!visit.json.empty()) {
    headers.reset(curl_slist_append(nullptr, "Content-Type: application/json"));
    set(handle, CURLOPT_HTTPHEADER, headers.get(), failed);
    set(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(visit.json.size()), failed);
    set(handle, CURLOPT_POSTFIELDS, visit.json.data(), failed);
  }
  if (failed == CURLE_OK) failed = curl_easy_perform(handle);
  if (failed == CURLE_URL_MALFORMAT || failed == CURLE_UNSUPPORTED_PROTOCOL) {
    return Error{Code::invalid, 0, "it is no http:// or https:// URL"};
  }
  if (failed != CURLE_OK) {
    return Error{Code::unavailable, 0, curl_easy_strerror(failed)};
  }
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200 && status < 300) return {};
  return Error{Code::unavailable, 0, fmt::format("the answer is HTTP status {}", status)};
}

}  // namespace bygone::ingest
