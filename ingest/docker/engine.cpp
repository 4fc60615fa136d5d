// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/engine.h"

#include <charconv>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/endpoint.h"
#include "ingest/docker/http.h"
#include "ingest/docker/parse.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

struct ApiVersion {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const ApiVersion&, const ApiVersion&) = default;
  [[nodiscard]] std::string text() const { return fmt::format("{}.{}", major, minor); }
};
constexpr ApiVersion kNewest{1, 51};
constexpr ApiVersion kOldest{1, 24};

std::optional<ApiVersion> parse_version(std::string_view text) {
  ApiVersion version;
  const char* end = text.data() + text.size();
  const auto [dot, major_error] = std::from_chars(text.data(), end, version.major);
  if (major_error != std::errc() || dot == end || *dot != '.') return std::nullopt;
  const auto [rest, minor_error] = std::from_chars(dot + 1, end, version.minor);
  if (minor_error != std::errc() || rest != end) return std::nullopt;
  return version;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

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

Error status_error(const Response& response) {
  const std::string message = parse_message(response.body);
  if (response.status == 400 && contains(message, "client version") &&
      (contains(message, "too old") || contains(message, "too new"))) {
    return {Code::unsupported, 0,
            fmt::format("{}; hint: bygone speaks API versions {} to {}", printable(message),
                        kOldest.text(), kNewest.text())};
  }
  if (message.empty())
    return {code_of(response.status), 0, fmt::format("HTTP {}", response.status)};
  return {code_of(response.status), 0, printable(message)};
}

class HttpEngine final : public Engine {
 public:
  HttpEngine(Endpoint endpoint, const ConnectOptions& options, std::string version, bool podman)
      : endpoint_(std::move(endpoint)),
        deadline_(options.deadline),
        max_answer_bytes_(options.max_answer_bytes),
        prefix_("/v" + std::move(version)),
        podman_(podman) {}

  [[nodiscard]] std::string address() const override { return endpoint_.address(); }
  [[nodiscard]] std::string socket_path() const override { return endpoint_.socket_path; }

  Result<EngineInfo> info() override {
    const std::string what = "asking for the engine's identity";
    Result<EngineInfo> info = explain(parse_info(TRY(get("/info", what))), what);
    // Podman makes up a new id for every answer.
    if (info.ok() && podman_) info->id.clear();
    return info;
  }

  Result<std::vector<ContainerSummary>> containers() override {
    const std::string what = "listing containers";
    return explain(parse_containers(TRY(get("/containers/json?all=1", what))), what);
  }

  Result<Container> container(const std::string& id) override {
    const std::string what = "inspecting container " + printable(id);
    return explain(parse_container(TRY(get("/containers/" + escape(id) + "/json", what))), what);
  }

  Result<ContainerState> state(const std::string& id) override {
    return TRY(container(id))
    .state;
  }

  Result<std::vector<Volume>> volumes() override {
    const std::string what = "listing volumes";
    return explain(parse_volumes(TRY(get("/volumes", what))), what);
  }

  Result<Volume> volume(const std::string& name) override {
    const std::string what = "inspecting volume " + printable(name);
    return explain(parse_volume(TRY(get("/volumes/" + escape(name), what))), what);
  }

  Result<Paused> pause(const std::string& id, std::chrono::milliseconds deadline) override;
  Result<Unpaused> unpause(const std::string& id) override;

 private:
  template <class T>
  Result<T> explain(Result<T> result, const std::string& what) const {
    if (result.ok()) return result;
    return explained(std::move(result).error(), what);
  }

  [[nodiscard]] Error explained(Error error, const std::string& what) const {
    return std::move(error).with("Docker engine " + printable(address()) + ": " + what);
  }

  // Any answer, whatever its status.
  Result<Response> ask(Method method, const std::string& target, const std::string& what,
                       std::chrono::milliseconds deadline) const {
    Request request{.method = method, .target = prefix_ + target};
    request.deadline = deadline;
    request.max_answer_bytes = max_answer_bytes_;
    return explain(send(endpoint_, request), what);
  }

  // The body of a good answer.
  Result<std::string> get(const std::string& target, const std::string& what) const {
    Response response = TRY(ask(Method::get, target, what, deadline_));
    if (response.status != 200) return explained(status_error(response), what);
    return std::move(response.body);
  }

  Endpoint endpoint_;
  std::chrono::milliseconds deadline_;
  std::uint64_t max_answer_bytes_;
  std::string prefix_;
  bool podman_;
};

// A refusal is understood by asking for the state, not by its text, which differs between engines.
Result<Paused> HttpEngine::pause(const std::string& id, std::chrono::milliseconds deadline) {
  const std::string what = "pausing container " + printable(id);
  const Response response =
      TRY(ask(Method::post, "/containers/" + escape(id) + "/pause", what, deadline));
  if (response.status == 204) return Paused::paused;
  const Error error = explained(status_error(response), what);
  // Docker refuses with 409, Podman with 500 and this text. Any other 500 is a freeze that failed
  // half-way: whatever the state is now, it is not a refusal.
  if (response.status != 409 && !contains(response.body, "state improper")) return error;
  const ContainerState now = TRY(state(id));
  if (now.status == Status::paused) return Paused::already_paused;
  if (now.status == Status::restarting) return Paused::restarting;
  if (now.status != Status::running) return Paused::not_running;
  return error;
}

Result<Unpaused> HttpEngine::unpause(const std::string& id) {
  const std::string what = "unpausing container " + printable(id);
  const Response response =
      TRY(ask(Method::post, "/containers/" + escape(id) + "/unpause", what, deadline_));
  if (response.status == 204) return Unpaused::unpaused;
  const Error error = explained(status_error(response), what);
  if (response.status != 409 && response.status != 500) return error;
  const ContainerState now = TRY(state(id));
  if (now.status == Status::paused || now.paused) return error;
  return Unpaused::was_not_paused;
}

Result<std::unique_ptr<Engine>> negotiate(const Endpoint& endpoint, const ConnectOptions& options) {
  Request request{.method = Method::get, .target = "/_ping"};
  request.deadline = options.deadline;
  request.max_answer_bytes = options.max_answer_bytes;
  const Response response = TRY(send(endpoint, request));
  const auto header = response.headers.find("api-version");
  if (header == response.headers.end()) {
    if (contains(response.body, "HTTP request to an HTTPS server")) {
      return Error{Code::invalid, 0,
                   "the engine wants TLS; hint: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"};
    }
    if (response.status != 200) return status_error(response);
    return Error{Code::invalid, 0, "what answers names no API version; hint: check DOCKER_HOST"};
  }
  const std::optional<ApiVersion> newest = parse_version(header->second);
  if (!newest) {
    return Error{Code::invalid, 0,
                 fmt::format("'{}' is no API version", printable(header->second))};
  }
  if (*newest < kOldest) {
    return Error{Code::unsupported, 0,
                 fmt::format("the engine speaks API {} at most, bygone needs {}; hint: update the "
                             "Docker engine",
                             newest->text(), kOldest.text())};
  }
  const bool podman = response.headers.count("libpod-api-version") != 0;
  return std::unique_ptr<Engine>(
      std::make_unique<HttpEngine>(endpoint, options, std::min(kNewest, *newest).text(), podman));
}

}  // namespace

Result<std::unique_ptr<Engine>> connect(const ConnectOptions& options) {
  const Endpoint endpoint = TRY(parse_endpoint(options));
  Result<std::unique_ptr<Engine>> engine = negotiate(endpoint, options);
  if (engine.ok()) return engine;
  return std::move(engine).error().with("Docker engine " + printable(endpoint.address()) +
                                        ": connecting");
}

}  // namespace bygone::docker
