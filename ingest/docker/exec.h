// SPDX-License-Identifier: Apache-2.0
//
// Commands that run in a container (POST /containers/ID/exec): standard input, both outputs apart,
// the exit code. The command runs inside the container, with its users and its programs; nothing
// here runs anything on this host. One thread at a time uses an Exec.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "store/base/result.h"

namespace bygone::docker {

class Engine;

struct ExecRequest {
  std::string container;                 // id or name
  std::vector<std::string> command;      // program and arguments, no shell
  std::vector<std::string> environment;  // NAME=VALUE, beside the container's own
  std::string user;                      // "app" or "1234:5678"; empty: the container's
  std::string working_dir;               // empty: the container's
  bool input = false;                    // whether write() and close_input() will be used
};

enum class ExecStream { output, error };

struct ExecPiece {
  ExecStream stream = ExecStream::output;
  std::string bytes;
  bool ended = false;  // both outputs have ended; empty and not ended: nothing came within `wait`
};

// A running command, in a process group of the container. Destroyed before its end was read, it is
// ended: SIGTERM, and SIGKILL to what is left a second later, on the host when the engine is local,
// else by a second exec of `sh` in the container. Best effort (a paused container, or a far one
// without a shell, lets it run on); takes two seconds at most, but for an engine that is slow.
class Exec {
 public:
  virtual ~Exec() = default;
  // The next piece of output, in the order of the engine. Errors: unavailable when the connection
  // broke or ended in the middle of a piece; invalid for what is no such stream.
  [[nodiscard]] virtual Result<ExecPiece> read(std::chrono::milliseconds wait) = 0;
  // Sends all of `bytes` to the command's standard input; output that comes meanwhile is kept for
  // read(), 64 MiB of it, then the command has to wait. Errors: invalid when `input` was not asked
  // for; unavailable when the command reads no more, or nothing for the engine's deadline.
  [[nodiscard]] virtual Result<void> write(std::string_view bytes) = 0;
  // Lets the command see the end of its input. Errors: unsupported over TLS; as write().
  [[nodiscard]] virtual Result<void> close_input() = 0;
  // Asks the engine, after `ended`: a stream that was cut looks like one that ended, so this alone
  // tells a good end. 126 or 127: the program could not be started, the reason is in the output.
  // Errors: invalid before `ended`; io when the engine knows no code; unavailable when it is gone.
  [[nodiscard]] virtual Result<int> exit_code() = 0;
};

struct ExecOutcome {
  int exit_code = 0;
  std::string error_text;  // the last 4 KiB of standard error
};

// Runs a command without input to its end; standard output goes to `sink` as it comes. Errors:
// cancelled when `cancel` became true; unavailable with ETIMEDOUT past `deadline`, or after
// `silence` without any output (zero: none), or when the stream is cut; the sink's own; those of
// Engine::exec(). The command is ended then.
[[nodiscard]] Result<ExecOutcome> run_exec(
    Engine& engine, const ExecRequest& request, std::chrono::milliseconds deadline,
    const std::function<Result<void>(std::string_view)>& sink, const std::atomic<bool>& cancel,
    std::chrono::milliseconds silence = std::chrono::milliseconds(0));

}  // namespace bygone::docker
