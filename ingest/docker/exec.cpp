// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/exec.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/engine.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

// Keeps the last bytes of what is appended.
void append_tail(std::string& tail, std::string_view bytes) {
  constexpr std::size_t kKept = 4U << 10U;
  tail.append(bytes);
  if (tail.size() > kKept) tail.erase(0, tail.size() - kKept);
}

Error stopped(const ExecRequest& request, Code code, int errnum, const std::string& why) {
  const std::string program = request.command.empty() ? std::string() : request.command.front();
  return {code, errnum,
          fmt::format("running {} in container {}: {}", printable(program),
                      printable(request.container), why)};
}

}  // namespace

Result<ExecOutcome> run_exec(Engine& engine, const ExecRequest& request,
                             std::chrono::milliseconds deadline,
                             const std::function<Result<void>(std::string_view)>& sink,
                             const std::atomic<bool>& cancel, std::chrono::milliseconds silence) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kGlance{100};  // how late a cancel or deadline is seen
  const Clock::time_point start = Clock::now();
  const std::unique_ptr<Exec> exec = TRY(engine.exec(request));
  ExecOutcome outcome;
  Clock::time_point last_heard = Clock::now();
  for (;;) {
    if (cancel) return stopped(request, Code::cancelled, 0, "cancelled");
    if (deadline.count() > 0 && Clock::now() - start >= deadline) {
      return stopped(request, Code::unavailable, ETIMEDOUT,
                     fmt::format("not done within {} ms", deadline.count()));
    }
    if (silence.count() > 0 && Clock::now() - last_heard >= silence) {
      return stopped(request, Code::unavailable, ETIMEDOUT,
                     fmt::format("no output for {} ms", silence.count()));
    }
    const ExecPiece piece = TRY(exec->read(kGlance));
    if (piece.ended) break;
    if (piece.stream == ExecStream::error) {
      append_tail(outcome.error_text, piece.bytes);
    } else if (!piece.bytes.empty()) {
      TRY(sink(piece.bytes));
    }
    // A sink that takes its time is not the command's silence.
    if (!piece.bytes.empty()) last_heard = Clock::now();
  }
  outcome.exit_code = TRY(exec->exit_code());
  return outcome;
}

}  // namespace bygone::docker
