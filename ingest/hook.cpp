// SPDX-License-Identifier: Apache-2.0
#include "ingest/hook.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kShown = 2000;  // bytes of output in a message

std::string_view last_part(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text.size() > kShown ? text.substr(text.size() - kShown) : text;
}

// "exit code 3: what it said".
std::string describe(const docker::ExecOutcome& outcome, const std::string& output) {
  std::string text = fmt::format("exit code {}", outcome.exit_code);
  if (outcome.exit_code == 126 || outcome.exit_code == 127) text += ", it could not be started";
  const std::string_view said = last_part(outcome.error_text.empty() ? output : outcome.error_text);
  if (!said.empty()) text += ": " + printable(said);
  return text;
}

}  // namespace

Result<void> run_hook(docker::Engine& engine, const std::string& container, const Hook& hook,
                      const char* name, const std::atomic<bool>& cancel) {
  docker::ExecRequest request;
  request.container = container;
  request.command = hook.command;
  request.user = hook.user;
  std::string output;  // its end
  const auto keep = [&](std::string_view bytes) -> Result<void> {
    output.append(bytes);
    if (output.size() > 2 * kShown) output.erase(0, output.size() - kShown);
    return {};
  };
  const auto outcome = docker::run_exec(engine, request, hook.timeout, keep, cancel);
  std::string what =
      fmt::format("{} hook {}", name, printable(hook.command.empty() ? "" : hook.command.front()));
  if (outcome) {
    if (outcome->exit_code == 0) return {};
    return Error{Code::hook, 0, what + ": " + describe(*outcome, output)};
  }
  Error error = outcome.error();
  const bool timed_out = error.errnum == ETIMEDOUT;
  if (timed_out) {
    error.message = fmt::format("not done within {} ms, and ended", hook.timeout.count());
  }
  const bool own = error.code == Code::cancelled || (error.code == Code::unavailable && !timed_out);
  if (!own) error.code = Code::hook;
  return std::move(error).with(what);
}

}  // namespace bygone::ingest
