// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/exec_session.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/core.h>
#include <sys/random.h>

#include "ingest/docker/exec_process.h"
#include "ingest/docker/frames.h"
#include "ingest/docker/json.h"
#include "ingest/docker/parse.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::string what_of(const ExecRequest& request) {
  const std::string program = request.command.empty() ? std::string() : request.command.front();
  return "running " + printable(program) + " in container " + printable(request.container);
}

// A variable that the command and its children inherit, so that they can be found again.
Result<std::string> new_marker() {
  std::uint8_t random[16];
  if (::getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    return os_error(errno, "asking for random bytes");
  }
  return "BYGONE_EXEC=" + to_hex(random);
}

Result<std::string> body_of(const ExecRequest& request, const std::string& marker) {
  std::vector<std::string> environment = request.environment;
  if (!marker.empty()) environment.push_back(marker);
  return fmt::format(
      R"({{"AttachStdin":{},"AttachStdout":true,"AttachStderr":true,"Tty":false,"Cmd":{},"Env":{},)"
      R"("User":{},"WorkingDir":{}}})",
      request.input, TRY(json_texts(request.command)), TRY(json_texts(environment)),
      TRY(json_text(request.user)), TRY(json_text(request.working_dir)));
}

// The id of a new exec.
Result<std::string> create(const Client& client, const ExecRequest& request,
                           const std::string& marker) {
  const std::string what = what_of(request);
  const std::string body = TRY(client.explain(body_of(request, marker), what));
  const Request post = client.post_json("/containers/" + escape(request.container) + "/exec", body);
  return client.explain(parse_id(TRY(client.demand(201, post, what)).body), what);
}

class HttpExec final : public Exec {
 public:
  HttpExec(Client client, ExecRequest request, std::string marker, std::string id,
           HttpStream stream)
      : client_(std::move(client)),
        request_(std::move(request)),
        marker_(std::move(marker)),
        id_(std::move(id)),
        stream_(std::move(stream)) {}
  ~HttpExec() override {
    if (!ended_) end_command();
  }

  Result<ExecPiece> read(std::chrono::milliseconds wait) override {
    return client_.explain(read_piece(wait), what());
  }

  Result<void> write(std::string_view bytes) override {
    if (!request_.input) return no_input();
    return client_.explain(stream_.write(bytes), what());
  }

  Result<void> close_input() override {
    if (!request_.input) return no_input();
    return client_.explain(stream_.close_sending(), what());
  }

  Result<int> exit_code() override;

 private:
  [[nodiscard]] std::string what() const { return what_of(request_); }
  [[nodiscard]] Error no_input() const {
    return client_.explained({Code::invalid, 0, "it was started without an input"}, what());
  }
  Result<ExecPiece> read_piece(std::chrono::milliseconds wait);
  // Asks for its state within `deadline`.
  Result<ExecState> ask_state(std::chrono::milliseconds deadline) const;
  void end_command() const;
  void end_from_within() const;

  Client client_;
  ExecRequest request_;
  std::string marker_;
  std::string id_;
  HttpStream stream_;
  FrameDecoder frames_;
  bool ended_ = false;
};

Result<ExecPiece> HttpExec::read_piece(std::chrono::milliseconds wait) {
  const SteadyClock::time_point end = SteadyClock::now() + wait;
  std::string received;
  for (;;) {
    if (std::optional<ExecPiece> piece = frames_.next()) return *std::move(piece);
    if (stream_.ended()) break;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - SteadyClock::now());
    received.clear();
    if (TRY(stream_.read(received, std::max(left, std::chrono::milliseconds(0))))) {
      TRY(frames_.feed(received));
    } else if (!stream_.ended()) {
      return ExecPiece{};
    }
  }
  if (!frames_.between_frames()) {
    return Error{Code::unavailable, 0, "the command's output was cut short"};
  }
  ended_ = true;
  return ExecPiece{ExecStream::output, "", true};
}

Result<ExecState> HttpExec::ask_state(std::chrono::milliseconds deadline) const {
  Request request = client_.request(Method::get, "/exec/" + escape(id_) + "/json");
  request.deadline = std::min(deadline, request.deadline);
  return client_.explain(parse_exec(TRY(client_.demand(200, request, what())).body), what());
}

// The engine closes the stream a moment before it knows the code.
Result<int> HttpExec::exit_code() {
  if (!ended_) return client_.explained({Code::invalid, 0, "its output has not ended"}, what());
  constexpr std::chrono::milliseconds kBetween{20};
  const SteadyClock::time_point end = SteadyClock::now() + std::chrono::seconds(10);
  for (;;) {
    Result<ExecState> state = ask_state(client_.deadline());
    if (!state.ok()) {
      // An engine that came back does not know what ran before.
      Error error = std::move(state).error();
      if (error.code == Code::not_found) error.code = Code::unavailable;
      return error;
    }
    if (!state->running && state->exit_code) return *state->exit_code;
    if (SteadyClock::now() >= end) break;
    std::this_thread::sleep_for(kBetween);
  }
  return client_.explained(
      {Code::unavailable, 0, "its output has ended, but the engine tells no exit code"}, what());
}

// While our connection is open the engine's word about the process is good. No error is of use to
// anybody here: what could not be ended runs on.
void HttpExec::end_command() const {
  const Result<ExecState> state = ask_state(std::chrono::seconds(5));
  if (!state.ok()) return;
  const bool connected = !stream_.ended();
  if (connected && !state->running) return;
  const bool is_local = !client_.endpoint().socket_path.empty();
  const ExecProcess process{state->pid, state->container_id, marker_, state->running};
  if (is_local && end_process(process, std::chrono::seconds(1))) return;
  end_from_within();
}

// Without the connection: nobody reads what it says.
void HttpExec::end_from_within() const {
  ExecRequest request;
  request.container = request_.container;
  request.user = request_.user;  // whose processes this user may look at and signal
  request.command = {"sh", "-c", kEndByMarker, "sh", marker_};
  const Result<std::string> id = create(client_, request, "");
  if (!id.ok()) return;
  const Request start =
      client_.post_json("/exec/" + escape(*id) + "/start", R"({"Detach":true,"Tty":false})");
  ignore(client_.ask(start, what()), "best effort, as the header says");
}

}  // namespace

Result<std::unique_ptr<Exec>> start_exec(const Client& client, const ExecRequest& request) {
  const std::string marker = TRY(new_marker());
  const std::string id = TRY(create(client, request, marker));
  const Request start =
      client.post_json("/exec/" + escape(id) + "/start", R"({"Detach":false,"Tty":false})");
  HttpStream stream = TRY(client.open(start, Upgrade::yes, what_of(request)));
  return std::unique_ptr<Exec>(
      std::make_unique<HttpExec>(client, request, marker, id, std::move(stream)));
}

}  // namespace bygone::docker
