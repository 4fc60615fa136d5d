// SPDX-License-Identifier: Apache-2.0
//
// What the files http* share of libcurl: a handle set up for an endpoint, and libcurl's failures in
// our words. Included by those files alone; knows nothing of Docker. Any thread, one a handle.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <curl/curl.h>

#include "ingest/docker/http.h"
#include "store/base/result.h"

namespace bygone::docker {

struct CloseEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, CloseEasy>;

// A new handle; none when libcurl cannot be started.
[[nodiscard]] Easy start_curl();

// Sets an option, and keeps the first failure of several.
template <class T>
void set(CURL* easy, CURLoption option, T value, CURLcode& first_error) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  if (first_error == CURLE_OK) first_error = code;
}

// Address, TLS and what keeps libcurl from doing more than asked. `error_buffer` holds
// CURL_ERROR_SIZE bytes and lives as long as the handle is used.
[[nodiscard]] CURLcode configure_endpoint(CURL* easy, const Endpoint& endpoint,
                                          const std::string& target, char* error_buffer);

// A failed transfer as the errors that http.h promises. `detail`: what stands in the error buffer.
[[nodiscard]] Error curl_error(CURL* easy, CURLcode code, const Endpoint& endpoint,
                               std::chrono::milliseconds deadline, const char* detail);

}  // namespace bygone::docker
