// SPDX-License-Identifier: Apache-2.0
//
// An HTTP server on a Unix socket of its own that gives recorded answers, good and bad: cut short,
// late, too large, no HTTP at all. It speaks just enough HTTP/1.1 for a client of ours, and looks
// at no bodies. One connection at a time, in a thread of its own; its methods are for the test's
// thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "store/base/files.h"
#include "tests/support/temp_folder.h"

namespace bygone::test {

struct Answer {
  int status = 200;
  std::string body;
  std::string type = "application/json";
  std::map<std::string, std::string> headers;
  std::chrono::milliseconds delay{0};  // before the first byte
  std::size_t missing = 0;             // bytes that Content-Length promises beyond the body
  bool raw = false;                    // send `body` and nothing else
};

class FakeServer {
 public:
  // Answers /_ping as an engine of `api_version` does.
  explicit FakeServer(const std::string& api_version = "1.41");
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  // The next answers to `request`, "GET /info", in turn; the last one stays. Version prefixes are
  // not part of it. Anything else is answered 404 "page not found".
  void answer(const std::string& request, const Answer& answer);
  // What was asked, version prefixes included.
  [[nodiscard]] std::vector<std::string> requests();
  [[nodiscard]] std::string socket_path() const { return folder_ / "engine.sock"; }
  [[nodiscard]] std::string host() const { return "unix://" + socket_path(); }

 private:
  void serve();
  void serve_one(const Fd& connection);
  Answer next_answer(const std::string& request);

  TempFolder folder_;
  Fd listener_;
  std::mutex mutex_;  // guards all below
  std::condition_variable stopping_;
  bool stop_ = false;
  std::map<std::string, std::deque<Answer>> answers_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace bygone::test
