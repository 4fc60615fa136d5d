// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/client.h"

#include <string_view>

#include <fmt/core.h>

#include "ingest/docker/parse.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

Code code_of(int status) {
  switch (status) {
    case 400:
      return Code::invalid;
    case 401:
    case 403:
      return Code::denied;
    case 404:
      return Code::not_found;
    case 409:
      return Code::busy;
    case 503:
      return Code::unavailable;
    default:
      return Code::io;
  }
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

Error status_error(int status, const std::string& body) {
  const std::string message = parse_message(body);
  if (status == 400 && contains(message, "client version") &&
      (contains(message, "too old") || contains(message, "too new"))) {
    return {Code::unsupported, 0,
            fmt::format("{}; hint: bygone speaks API versions {} to {}", printable(message),
                        kOldestApi, kNewestApi)};
  }
  if (message.empty()) return {code_of(status), 0, fmt::format("HTTP {}", status)};
  return {code_of(status), 0, printable(message)};
}

Request Client::request(Method method, const std::string& target) const {
  Request request;
  request.method = method;
  request.target = prefix_ + target;
  request.deadline = deadline_;
  request.max_answer_bytes = max_answer_bytes_;
  return request;
}

Request Client::post_json(const std::string& target, std::string body) const {
  Request request = this->request(Method::post, target);
  request.body = std::move(body);
  request.content_type = "application/json";
  return request;
}

Error Client::explained(Error error, const std::string& what) const {
  return std::move(error).with("Docker engine " + printable(endpoint_.address()) + ": " + what);
}

Result<Response> Client::ask(const Request& request, const std::string& what) const {
  return explain(send(endpoint_, request), what);
}

Result<Response> Client::demand(int status, const Request& request, const std::string& what) const {
  Response response = TRY(ask(request, what));
  if (response.status == status) return response;
  return explained(status_error(response.status, response.body), what);
}

Result<std::string> Client::get(const std::string& target, const std::string& what) const {
  return TRY(demand(200, request(Method::get, target), what))
  .body;
}

Result<HttpStream> Client::open(const Request& request, Upgrade upgrade,
                                const std::string& what) const {
  HttpStream stream = TRY(explain(HttpStream::open(endpoint_, request, upgrade), what));
  if (stream.status() == 200 || (upgrade == Upgrade::yes && stream.status() == 101)) return stream;
  const std::string body = TRY(explain(stream.body(), what));
  return explained(status_error(stream.status(), body), what);
}

}  // namespace bygone::docker
