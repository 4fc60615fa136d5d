// SPDX-License-Identifier: Apache-2.0
//
// How every call speaks to one engine: the endpoint, the API version agreed on, deadlines and
// limits, and an engine's refusals in our words. A value that may be copied; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "ingest/docker/http.h"
#include "ingest/docker/http_stream.h"
#include "store/base/result.h"

namespace bygone::docker {

// The API versions that bygone speaks; each call keeps to what both of them know.
constexpr const char* kOldestApi = "1.24";
constexpr const char* kNewestApi = "1.51";

// The engine's refusal: its status as a code, its text as the message.
[[nodiscard]] Error status_error(int status, const std::string& body);

class Client {
 public:
  // `prefix`: "/v1.41".
  Client(Endpoint endpoint, std::string prefix, std::chrono::milliseconds deadline,
         std::uint64_t max_answer_bytes)
      : endpoint_(std::move(endpoint)),
        prefix_(std::move(prefix)),
        deadline_(deadline),
        max_answer_bytes_(max_answer_bytes) {}

  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] std::chrono::milliseconds deadline() const { return deadline_; }

  // A request for `target` (without the version) with this client's limits.
  [[nodiscard]] Request request(Method method, const std::string& target) const;
  // A POST of a JSON document.
  [[nodiscard]] Request post_json(const std::string& target, std::string body) const;

  // What each error of a call says first: the engine's address, and what was asked of it.
  [[nodiscard]] Error explained(Error error, const std::string& what) const;
  template <class T>
  [[nodiscard]] Result<T> explain(Result<T> result, const std::string& what) const {
    if (result.ok()) return result;
    return explained(std::move(result).error(), what);
  }

  // Any answer, whatever its status; `what` is for the message of an error.
  [[nodiscard]] Result<Response> ask(const Request& request, const std::string& what) const;
  // The answer with `status`; any other one is an error.
  [[nodiscard]] Result<Response> demand(int status, const Request& request,
                                        const std::string& what) const;
  // The body of a good answer to GET.
  [[nodiscard]] Result<std::string> get(const std::string& target, const std::string& what) const;
  // A stream whose answer has status 200, or 101 when an upgrade was asked for.
  [[nodiscard]] Result<HttpStream> open(const Request& request, Upgrade upgrade,
                                        const std::string& what) const;

 private:
  Endpoint endpoint_;
  std::string prefix_;
  std::chrono::milliseconds deadline_;
  std::uint64_t max_answer_bytes_;
};

}  // namespace bygone::docker
