// SPDX-License-Identifier: Apache-2.0
#include "ingest/docker/http_engine.h"

#include <cerrno>
#include <utility>

#include <fmt/core.h>

#include "ingest/docker/event_stream.h"
#include "ingest/docker/exec_session.h"
#include "ingest/docker/parse.h"
#include "store/base/bytes.h"

namespace bygone::docker {
namespace {

std::string container_target(const std::string& id, const char* call) {
  return "/containers/" + escape(id) + call;
}

class HttpEngine final : public Engine {
 public:
  HttpEngine(Client client, MadeBy made_by) : client_(std::move(client)), made_by_(made_by) {}

  [[nodiscard]] std::string address() const override { return client_.endpoint().address(); }
  [[nodiscard]] std::string socket_path() const override { return client_.endpoint().socket_path; }

  Result<EngineInfo> info() override {
    Result<EngineInfo> info = ask_for("/info", "asking for the engine's identity", parse_info);
    // Podman makes up a new id for every answer.
    if (info.ok() && made_by_ == MadeBy::podman) info->id.clear();
    return info;
  }

  Result<std::vector<ContainerSummary>> containers() override {
    return ask_for("/containers/json?all=1", "listing containers", parse_containers);
  }
  Result<std::vector<ContainerSummary>> running_containers() override {
    return ask_for("/containers/json", "listing the containers that run", parse_containers);
  }
  Result<Container> container(const std::string& id) override {
    return ask_for(container_target(id, "/json"), "inspecting container " + printable(id),
                   parse_container);
  }
  Result<ContainerState> state(const std::string& id) override {
    return TRY(container(id))
    .state;
  }
  Result<std::vector<Volume>> volumes() override {
    return ask_for("/volumes", "listing volumes", parse_volumes);
  }
  Result<Volume> volume(const std::string& name) override {
    return ask_for("/volumes/" + escape(name), "inspecting volume " + printable(name),
                   parse_volume);
  }
  Result<Image> image(const std::string& reference) override {
    return ask_for("/images/" + escape(reference) + "/json",
                   "inspecting image " + printable(reference), parse_image);
  }
  Result<std::vector<Change>> changes(const std::string& id) override {
    return ask_for(container_target(id, "/changes"),
                   "listing what changed in container " + printable(id), parse_changes);
  }
  Result<std::vector<std::string>> top(const std::string& id) override {
    return ask_for(container_target(id, "/top?ps_args=-eo%20pid,args"),
                   "listing the processes of container " + printable(id), parse_top);
  }

  Result<Paused> pause(const std::string& id, std::chrono::milliseconds deadline) override;
  Result<Unpaused> unpause(const std::string& id) override;
  Result<Stopped> stop(const std::string& id, std::chrono::seconds grace) override;
  Result<Started> start(const std::string& id) override;
  Result<std::string> create_container(const std::string& name,
                                       const std::string& body_json) override;
  Result<void> remove_container(const std::string& id, RemoveVolumes volumes, Force force) override;
  Result<void> remove_volume(const std::string& name) override {
    return remove(204, "/volumes/" + escape(name), "removing volume " + printable(name));
  }
  Result<void> import_empty_image(const std::string& repo, const std::string& tag) override;
  Result<void> remove_image(const std::string& reference) override {
    return remove(200, "/images/" + escape(reference), "removing image " + printable(reference));
  }
  Result<void> archive(const std::string& id, const std::string& path,
                       const std::function<Result<void>(ByteView)>& sink,
                       const std::atomic<bool>& cancel) override;
  Result<std::unique_ptr<Exec>> exec(const ExecRequest& request) override {
    return start_exec(client_, request);
  }
  Result<std::unique_ptr<EventStream>> events(const std::vector<std::string>& types,
                                              const std::vector<std::string>& actions,
                                              std::int64_t since_ns) override {
    return open_events(client_, types, actions, since_ns);
  }

 private:
  template <class Parse>
  auto ask_for(const std::string& target, const std::string& what, Parse parse) const
      -> decltype(parse(std::string())) {
    return client_.explain(parse(TRY(client_.get(target, what))), what);
  }

  Result<void> remove(int status, const std::string& target, const std::string& what) const {
    TRY(client_.demand(status, client_.request(Method::remove, target), what));
    return {};
  }

  Client client_;
  MadeBy made_by_;
};

// A refusal is understood by asking for the state, not by its text, which differs between engines.
Result<Paused> HttpEngine::pause(const std::string& id, std::chrono::milliseconds deadline) {
  const std::string what = "pausing container " + printable(id);
  Request request = client_.request(Method::post, container_target(id, "/pause"));
  request.deadline = deadline;
  const Response response = TRY(client_.ask(request, what));
  if (response.status == 204) return Paused::paused;
  const Error error = client_.explained(status_error(response.status, response.body), what);
  // Docker refuses with 409, Podman with 500 and this text. Any other 500 is a freeze that failed
  // half-way: whatever the state is now, it is not a refusal.
  if (response.status != 409 && response.body.find("state improper") == std::string::npos) {
    return error;
  }
  const ContainerState now = TRY(state(id));
  if (now.status == Status::paused) return Paused::already_paused;
  if (now.status == Status::restarting) return Paused::restarting;
  if (now.status != Status::running) return Paused::not_running;
  return error;
}

Result<Unpaused> HttpEngine::unpause(const std::string& id) {
  const std::string what = "unpausing container " + printable(id);
  const Request request = client_.request(Method::post, container_target(id, "/unpause"));
  const Response response = TRY(client_.ask(request, what));
  if (response.status == 204) return Unpaused::unpaused;
  const Error error = client_.explained(status_error(response.status, response.body), what);
  if (response.status != 409 && response.status != 500) return error;
  const ContainerState now = TRY(state(id));
  if (now.status == Status::paused || now.paused) return error;
  return Unpaused::was_not_paused;
}

Result<Stopped> HttpEngine::stop(const std::string& id, std::chrono::seconds grace) {
  const std::string what = "stopping container " + printable(id);
  Request request = client_.request(
      Method::post, container_target(id, "/stop?t=") + std::to_string(grace.count()));
  request.deadline += grace;
  const Response response = TRY(client_.ask(request, what));
  if (response.status == 204) return Stopped::stopped;
  if (response.status == 304) return Stopped::was_not_running;
  return client_.explained(status_error(response.status, response.body), what);
}

Result<Started> HttpEngine::start(const std::string& id) {
  const std::string what = "starting container " + printable(id);
  const Request request = client_.request(Method::post, container_target(id, "/start"));
  const Response response = TRY(client_.ask(request, what));
  if (response.status == 204) return Started::started;
  if (response.status == 304) return Started::was_running;
  return client_.explained(status_error(response.status, response.body), what);
}

Result<std::string> HttpEngine::create_container(const std::string& name,
                                                 const std::string& body_json) {
  const std::string what = "creating container " + printable(name);
  const std::string target =
      "/containers/create" + (name.empty() ? std::string() : "?name=" + escape(name));
  const Response response = TRY(client_.demand(201, client_.post_json(target, body_json), what));
  return client_.explain(parse_id(response.body), what);
}

Result<void> HttpEngine::remove_container(const std::string& id, RemoveVolumes volumes,
                                          Force force) {
  const std::string options =
      fmt::format("?v={}&force={}", volumes == RemoveVolumes::anonymous, force == Force::yes);
  return remove(204, container_target(id, options.c_str()), "removing container " + printable(id));
}

Result<void> HttpEngine::import_empty_image(const std::string& repo, const std::string& tag) {
  const std::string what = "importing image " + printable(repo + ":" + tag);
  Request request = client_.request(
      Method::post, "/images/create?fromSrc=-&repo=" + escape(repo) + "&tag=" + escape(tag));
  request.content_type = "application/x-tar";  // of no bytes at all, which is a tar of no files
  const Response response = TRY(client_.demand(200, request, what));
  return client_.explain(parse_progress(response.body), what);
}

Result<void> HttpEngine::archive(const std::string& id, const std::string& path,
                                 const std::function<Result<void>(ByteView)>& sink,
                                 const std::atomic<bool>& cancel) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kGlance{100};  // how late a cancel is seen
  const std::string what =
      fmt::format("reading {} of container {}", printable(path), printable(id));
  const Request request =
      client_.request(Method::get, container_target(id, "/archive?path=") + escape(path));
  HttpStream stream = TRY(client_.open(request, Upgrade::no, what));
  std::string received;
  for (Clock::time_point last = Clock::now(); !stream.ended();) {
    if (cancel) return client_.explained({Code::cancelled, 0, "cancelled"}, what);
    received.clear();
    if (TRY(client_.explain(stream.read(received, kGlance), what))) {
      TRY(sink(as_bytes(received)));
      last = Clock::now();
    } else if (!stream.ended() && Clock::now() - last >= client_.deadline()) {
      return client_.explained({Code::unavailable, ETIMEDOUT,
                                fmt::format("nothing came for {} ms", client_.deadline().count())},
                               what);
    }
  }
  return {};
}

}  // namespace

std::unique_ptr<Engine> make_http_engine(Client client, MadeBy made_by) {
  return std::make_unique<HttpEngine>(std::move(client), made_by);
}

}  // namespace bygone::docker
