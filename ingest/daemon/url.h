// SPDX-License-Identifier: Apache-2.0
//
// One request to a URL that the configuration names, for those who are to be told something. Any
// thread; libcurl is in the source file.
#pragma once

#include <chrono>
#include <string>

#include "store/base/result.h"

namespace bygone::ingest {

struct Visit {
  std::string url;          // http:// or https://
  std::string json;         // to POST; empty: GET
  std::string socket_path;  // go to this Unix socket, whatever the URL's host is; for tests
  std::chrono::milliseconds deadline{10'000};
};

// Asks, and throws the answer away. Follows no redirect. Errors: unavailable when nobody answers in
// time, or with another status than 2xx; invalid for what is no such URL. The message does not name
// the URL, which may hold a secret.
[[nodiscard]] Result<void> visit(const Visit& visit);

}  // namespace bygone::ingest
