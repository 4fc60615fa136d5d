// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_server.h"

#include <cstdlib>
#include <cstring>

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace bygone::test {
namespace {

Fd listen_at(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) std::abort();
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* any = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(fd.get(), any, sizeof address) != 0 || ::listen(fd.get(), 64) != 0) std::abort();
  return fd;
}

// "GET /v1.41/info" without the version: "GET /info".
std::string without_version(const std::string& request) {
  const std::size_t version = request.find(" /v1.");
  if (version == std::string::npos) return request;
  const std::size_t end = request.find('/', version + 2);
  return end == std::string::npos ? request : request.substr(0, version + 1) + request.substr(end);
}

// Length of the request that `text` begins with; 0 while its headers are not complete.
std::size_t length_of(const std::string& text) {
  static constexpr std::string_view kField = "Content-Length: ";
  const std::size_t headers = text.find("\r\n\r\n");
  if (headers == std::string::npos) return 0;
  const std::size_t field = text.find(kField);
  const bool has_body = field < headers;
  return headers + 4 + (has_body ? std::stoul(text.substr(field + kField.size())) : 0);
}

// The first line of a request up to " HTTP/1.1"; empty when the client hung up. What is not read of
// a request resets the connection when it is closed.
std::string read_request(const Fd& connection) {
  std::string text;
  char buffer[4096];
  while (length_of(text) == 0 || text.size() < length_of(text)) {
    const ssize_t got = ::recv(connection.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return {};
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text.substr(0, text.find(" HTTP/1.1"));
}

void send_all(const Fd& connection, const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t n =
        ::send(connection.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;  // the client had enough, as it should of some answers
    sent += static_cast<std::size_t>(n);
  }
}

std::string encode(const Answer& answer) {
  if (answer.raw) return answer.body;
  std::string text = fmt::format("HTTP/1.1 {} Fake\r\nContent-Type: {}\r\nConnection: close\r\n",
                                 answer.status, answer.type);
  for (const auto& [name, value] : answer.headers) text += name + ": " + value + "\r\n";
  if (answer.status != 204) {
    text += fmt::format("Content-Length: {}\r\n", answer.body.size() + answer.missing);
  }
  return text + "\r\n" + answer.body;
}

}  // namespace

FakeServer::FakeServer(const std::string& api_version) : listener_(listen_at(socket_path())) {
  answer("GET /_ping",
         {.body = "OK", .type = "text/plain", .headers = {{"Api-Version", api_version}}});
  thread_ = std::thread([this] { serve(); });
}

FakeServer::~FakeServer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

void FakeServer::answer(const std::string& request, const Answer& answer) {
  const std::lock_guard lock(mutex_);
  answers_[request].push_back(answer);
}

std::vector<std::string> FakeServer::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

Answer FakeServer::next_answer(const std::string& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  const auto found = answers_.find(without_version(request));
  if (found == answers_.end()) return {.status = 404, .body = R"({"message":"page not found"})"};
  Answer answer = found->second.front();
  if (found->second.size() > 1) found->second.pop_front();
  return answer;
}

void FakeServer::serve() {
  for (;;) {
    const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.is_open()) return;  // shut down
    serve_one(connection);
  }
}

void FakeServer::serve_one(const Fd& connection) {
  const std::string request = read_request(connection);
  if (request.empty()) return;
  const Answer answer = next_answer(request);
  {
    std::unique_lock lock(mutex_);
    stopping_.wait_for(lock, answer.delay, [this] { return stop_; });
  }
  send_all(connection, encode(answer));
}

}  // namespace bygone::test
