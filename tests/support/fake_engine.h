// SPDX-License-Identifier: Apache-2.0
//
// A Docker engine of containers that live in memory: pause and unpause obey Docker's rules, and a
// test can make calls fail or act before one. Any thread, as every Engine.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ingest/docker/engine.h"
#include "tests/support/bare_engine.h"

namespace bygone::docker {

class FakeEngine final : public test::BareEngine {
 public:
  explicit FakeEngine(std::string address = "unix:///run/fake.sock")
      : address_(std::move(address)) {}

  // A container, by default one that runs.
  void add(const std::string& id, Status status = Status::running) {
    const std::lock_guard lock(mutex_);
    states_[id].started_at = "2024-01-01T00:00:00Z";
    set(states_[id], status);
  }
  void remove(const std::string& id) {
    const std::lock_guard lock(mutex_);
    states_.erase(id);
  }
  void set_status(const std::string& id, Status status) {
    const std::lock_guard lock(mutex_);
    set(states_.at(id), status);
  }
  void restart(const std::string& id, const std::string& started_at) {
    const std::lock_guard lock(mutex_);
    states_.at(id).started_at = started_at;
    set(states_.at(id), Status::running);
  }
  [[nodiscard]] bool is_paused(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return states_.at(id).paused;
  }
  // The names of the calls that changed or tried to change something, in order: "pause db".
  [[nodiscard]] std::vector<std::string> calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  // The next `times` calls of `call` ("pause db") fail with `error`.
  void fail(const std::string& call, const Error& error, std::size_t times = 1) {
    const std::lock_guard lock(mutex_);
    failures_[call].insert(failures_[call].end(), times, error);
  }
  // An event, for those who listen by then. The fake tells its own pauses and resumptions.
  void tell(Event event) {
    const std::lock_guard lock(mutex_);
    told_->push_back(std::move(event));
  }
  [[nodiscard]] int listeners() const { return *listeners_; }
  // The command lines in a container, by its id; without any the engine cannot tell. Set it, and
  // on_exec, before any call.
  std::map<std::string, std::vector<std::string>> processes;
  std::function<Result<std::unique_ptr<Exec>>(const ExecRequest&)> on_exec;
  std::set<std::string> auto_remove;  // ids of containers that are gone at their end
  // What a container was made with for its end, and what a stop gave it, by its id.
  std::map<std::string, std::chrono::seconds> stop_timeouts, given_to_stop;
  // Runs before a call does anything, outside of the fake's lock; set it before any call.
  std::function<void(const std::string& call)> before;

  [[nodiscard]] std::string address() const override { return address_; }
  [[nodiscard]] std::string socket_path() const override { return address_.substr(7); }
  Result<EngineInfo> info() override { return EngineInfo{}; }
  Result<std::vector<ContainerSummary>> containers() override { return none(); }
  // Folders of the host that a container mounts writable, by its id.
  std::map<std::string, std::vector<std::string>> binds;
  Result<std::vector<ContainerSummary>> running_containers() override {
    TRY(begin("list"));
    const std::lock_guard lock(mutex_);
    std::vector<ContainerSummary> list;
    for (const auto& [id, state] : states_) {
      if (!state.running) continue;
      ContainerSummary summary;
      summary.id = summary.name = id;
      summary.status = state.status;
      for (const std::string& folder : binds[id]) {
        Mount mount;
        mount.type = MountType::bind;
        mount.source = folder;
        mount.writable = true;
        summary.mounts.push_back(std::move(mount));
      }
      list.push_back(std::move(summary));
    }
    return list;
  }
  // What the engine shows of containers; of others only what a stop wants to know.
  std::map<std::string, Container> shown;
  Result<Container> container(const std::string& id) override {
    const auto found = shown.find(id);
    if (found != shown.end()) return found->second;
    const std::lock_guard lock(mutex_);
    if (states_.count(id) == 0) return none();
    Container container;
    container.id = id;
    container.auto_remove = auto_remove.count(id) > 0;
    const auto timeout = stop_timeouts.find(id);
    if (timeout != stop_timeouts.end()) container.stop_timeout = timeout->second;
    return container;
  }
  Result<std::vector<Volume>> volumes() override { return std::vector<Volume>(); }
  Result<Volume> volume(const std::string&) override { return none(); }

  Result<ContainerState> state(const std::string& id) override {
    TRY(begin("state " + id));
    const std::lock_guard lock(mutex_);
    if (states_.count(id) == 0) return none();
    return states_[id];
  }

  Result<Paused> pause(const std::string& id, std::chrono::milliseconds) override {
    TRY(begin("pause " + id));
    const std::lock_guard lock(mutex_);
    if (states_.count(id) == 0) return none();
    ContainerState& state = states_[id];
    if (state.paused) return Paused::already_paused;
    if (state.status == Status::restarting) return Paused::restarting;
    if (state.status != Status::running) return Paused::not_running;
    set(state, Status::paused);
    told_->push_back({.type = "container", .action = "pause", .id = id, .attributes = {}});
    return Paused::paused;
  }

  Result<Stopped> stop(const std::string& id, std::chrono::seconds grace) override {
    TRY(begin("stop " + id));
    const std::lock_guard lock(mutex_);
    given_to_stop[id] = grace;
    if (states_.count(id) == 0) return none();
    if (!states_[id].running) return Stopped::was_not_running;
    set(states_[id], Status::exited);
    told_->push_back({.type = "container", .action = "die", .id = id, .attributes = {}});
    return Stopped::stopped;
  }

  Result<Started> start(const std::string& id) override {
    TRY(begin("start " + id));
    const std::lock_guard lock(mutex_);
    if (states_.count(id) == 0) return none();
    if (states_[id].running) return Started::was_running;
    states_[id].started_at += "+";
    set(states_[id], Status::running);
    told_->push_back({.type = "container", .action = "start", .id = id, .attributes = {}});
    return Started::started;
  }

  Result<std::unique_ptr<EventStream>> events(const std::vector<std::string>&,
                                              const std::vector<std::string>&,
                                              std::int64_t) override {
    TRY(begin("events"));
    const std::lock_guard lock(mutex_);
    return std::unique_ptr<EventStream>(std::make_unique<Events>(mutex_, told_, listeners_));
  }

  Result<std::vector<std::string>> top(const std::string& id) override {
    const auto found = processes.find(id);
    if (found == processes.end()) return BareEngine::top(id);
    return found->second;
  }

  Result<std::unique_ptr<Exec>> exec(const ExecRequest& request) override {
    return on_exec ? on_exec(request) : BareEngine::exec(request);
  }

  Result<Unpaused> unpause(const std::string& id) override {
    TRY(begin("unpause " + id));
    const std::lock_guard lock(mutex_);
    if (states_.count(id) == 0) return none();
    if (!states_[id].paused) return Unpaused::was_not_paused;
    set(states_[id], Status::running);
    told_->push_back({.type = "container", .action = "unpause", .id = id, .attributes = {}});
    return Unpaused::unpaused;
  }

 private:
  class Events final : public EventStream {
   public:
    Events(std::mutex& mutex, std::shared_ptr<std::vector<Event>> told,
           std::shared_ptr<std::atomic<int>> listeners)
        : mutex_(mutex),
          told_(std::move(told)),
          listeners_(std::move(listeners)),
          at_(told_->size()) {
      ++*listeners_;
    }
    ~Events() override { --*listeners_; }
    Result<std::optional<Event>> next(std::chrono::milliseconds) override {
      const std::lock_guard lock(mutex_);
      if (at_ == told_->size()) return std::optional<Event>();
      return std::optional<Event>(told_->at(at_++));
    }

   private:
    std::mutex& mutex_;
    std::shared_ptr<std::vector<Event>> told_;  // guarded by mutex_
    std::shared_ptr<std::atomic<int>> listeners_;
    std::size_t at_;
  };

  static Error none() { return Error{Code::not_found, 0, "no such container"}; }

  static void set(ContainerState& state, Status status) {
    state.status = status;
    state.paused = status == Status::paused;
    state.restarting = status == Status::restarting;
    state.running = state.paused || state.restarting || status == Status::running;
  }

  Result<void> begin(const std::string& call) {
    if (before) before(call);
    const std::lock_guard lock(mutex_);
    if (call.substr(0, 5) != "state" && call != "list" && call != "events") calls_.push_back(call);
    std::deque<Error>& errors = failures_[call];
    if (errors.empty()) return {};
    Error error = errors.front();
    errors.pop_front();
    return error;
  }

  std::string address_;
  std::mutex mutex_;  // guards all below
  std::map<std::string, ContainerState> states_;
  std::map<std::string, std::deque<Error>> failures_;
  std::vector<std::string> calls_;
  const std::shared_ptr<std::atomic<int>> listeners_ = std::make_shared<std::atomic<int>>(0);
  const std::shared_ptr<std::vector<Event>> told_ = std::make_shared<std::vector<Event>>();
};

}  // namespace bygone::docker
