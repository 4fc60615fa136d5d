// SPDX-License-Identifier: Apache-2.0
//
// A command in a container that says what a test wants, and ends as it wants. One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "ingest/docker/exec.h"

namespace bygone::test {

// What a command says, in this order, and how it ends.
struct Said {
  std::string output = {};
  std::string error = {};
  int exit_code = 0;
  std::size_t times = 1;              // that `output` is said
  std::function<void()> midway = {};  // after the first output
  bool hangs = false;                 // never ends, and says no more
  std::optional<Error> breaks = {};   // instead of its end
};

class FakeExec final : public docker::Exec {
 public:
  explicit FakeExec(Said said) : said_(std::move(said)) {}

  Result<docker::ExecPiece> read(std::chrono::milliseconds) override {
    if (!said_.output.empty() && times_ < said_.times) {
      if (times_++ == 1 && said_.midway) said_.midway();
      return docker::ExecPiece{docker::ExecStream::output, said_.output, false};
    }
    if (!said_.error.empty()) {
      return docker::ExecPiece{docker::ExecStream::error, std::exchange(said_.error, ""), false};
    }
    if (said_.hangs) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return docker::ExecPiece{};
    }
    if (said_.breaks) return *said_.breaks;
    return docker::ExecPiece{docker::ExecStream::output, "", true};
  }
  Result<void> write(std::string_view) override { return {}; }
  Result<void> close_input() override { return {}; }
  Result<int> exit_code() override { return said_.exit_code; }

 private:
  Said said_;
  std::size_t times_ = 0;
};

}  // namespace bygone::test
