// SPDX-License-Identifier: Apache-2.0
#include "ingest/ephemeral.h"

#include <algorithm>
#include <utility>

#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;

// How soon it notices that it is to stop.
constexpr milliseconds kGlance{250};
constexpr milliseconds kReconnect{1000};
// Captures that failed, and events that were lost.
constexpr std::chrono::seconds kLookAnyway{30};
// A burst of containers is held by several at once: each holder takes the engine some 20 ms.
constexpr std::size_t kHolders = 4;

}  // namespace

Ephemeral::Ephemeral(EphemeralWork work) : work_(std::move(work)) {
  threads_.emplace_back([this] { listen(); });
  threads_.emplace_back([this] { capture_in_turn(); });
  for (std::size_t i = 0; i < kHolders; ++i) threads_.emplace_back([this] { hold_in_turn(); });
}

Ephemeral::~Ephemeral() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Ephemeral::is_settled() const {
  const std::lock_guard lock(mutex_);
  return looked_ && to_hold_.empty() && holding_ == 0 && !look_ && !capturing_;
}

std::shared_ptr<docker::Engine> Ephemeral::engine() const {
  const std::lock_guard lock(mutex_);
  return engine_;
}

void Ephemeral::want_look() {
  const std::lock_guard lock(mutex_);
  look_ = true;
  changed_.notify_all();
}

void Ephemeral::listen() {
  while (!stop_) {
    // The daemon's own watch tells people that the engine is away.
    ignore(listen_once(), "tried again");
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kReconnect, [&] { return stop_.load(); });
  }
}

// Subscribes first and lists then, so that nothing falls between.
Result<void> Ephemeral::listen_once() {
  const std::shared_ptr<docker::Engine> engine = TRY(work_.connect());
  const auto stream = TRY(engine->events({"container"}, {"create", "start", "destroy"}, 0));
  {
    const std::lock_guard lock(mutex_);
    engine_ = engine;
  }
  look_at_everything(*engine);
  auto looked = std::chrono::steady_clock::now();
  while (!stop_) {
    const std::optional<docker::Event> event = TRY(stream->next(kGlance));
    if (event && event->type.empty()) look_at_everything(*engine);
    if (event && !event->type.empty()) take(*event);
    if (std::chrono::steady_clock::now() - looked < kLookAnyway) continue;
    looked = std::chrono::steady_clock::now();
    want_look();
  }
  return {};
}

void Ephemeral::take(const docker::Event& event) {
  if (event.attributes.count(kHolderLabel) != 0) return;
  if (event.action == "destroy") return want_look();
  const std::lock_guard lock(mutex_);
  to_hold_.push_back(event.id);
  changed_.notify_all();
}

void Ephemeral::look_at_everything(docker::Engine& engine) {
  const auto containers = engine.containers();
  if (containers.ok()) {
    const std::lock_guard lock(mutex_);
    for (const docker::ContainerSummary& container : *containers) {
      if (container.labels.count(kHolderLabel) == 0) to_hold_.push_back(container.id);
    }
  }
  want_look();
}

void Ephemeral::hold_in_turn() {
  for (;;) {
    std::string id;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !to_hold_.empty(); });
      if (stop_) return;
      id = std::move(to_hold_.front());
      to_hold_.pop_front();
      ++holding_;
    }
    if (const auto engine = this->engine()) hold(*engine, id);
    const std::lock_guard lock(mutex_);
    --holding_;
    changed_.notify_all();
  }
}

void Ephemeral::hold(docker::Engine& engine, const std::string& id) {
  const Result<docker::Container> container = engine.container(id);
  // What is gone already had nothing to hold, or nothing that could be.
  if (!container.ok() || !is_to_be_held(*container) || !work_.wanted(*container)) return;
  const std::shared_lock keep_image(image_);
  const Result<void> held = Holders(engine).hold(*container);
  if (held.ok()) return;
  work_.warn("container " + printable(container->name) +
             ": its data is not held: " + held.error().message);
}

void Ephemeral::capture_in_turn() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      capturing_ = false;
      changed_.wait(lock, [&] { return stop_ || look_; });
      if (stop_) return;
      // A container that is being held is there; it is looked at when it is gone.
      look_ = false;
      capturing_ = true;
    }
    const auto engine = this->engine();
    if (!engine) continue;
    const auto list = Holders(*engine).list();
    if (!list.ok()) continue;
    const std::set<std::string> present(list->present.begin(), list->present.end());
    for (const Held& held : list->held) {
      if (present.count(held.container.id) == 0 && !stop_) capture(*engine, held);
    }
    tidy_up(*engine);
    const std::lock_guard lock(mutex_);
    looked_ = true;
  }
}

void Ephemeral::capture(docker::Engine& engine, const Held& held) {
  if (held.container.name.empty()) {
    work_.warn("holder " + printable(held.holder_id) +
               ": what it holds cannot be told; hint: docker "
               "rm -v " +
               printable(held.holder_id));
    return;
  }
  const Result<void> captured = work_.capture(engine, held.container, stop_);
  if (!captured.ok() && captured.error().code != Code::not_found) {
    if (captured.error().code != Code::cancelled) {
      work_.warn("container " + printable(held.container.name) +
                 " is gone and not captured yet, its data is held: " + captured.error().message);
    }
    return;
  }
  if (!captured.ok()) {
    work_.warn("container " + printable(held.container.name) +
               " is gone and cannot be captured: " + captured.error().message);
  }
  const Result<void> released = Holders(engine).release(held);
  if (!released.ok()) {
    work_.warn("container " + printable(held.container.name) +
               ": its holder stays for now: " + released.error().message);
  }
}

// The image goes with the last holder; the next one makes it anew. Not while one is being made: it
// would keep an image that has lost its name, which nobody would find to remove.
void Ephemeral::tidy_up(docker::Engine& engine) {
  {
    const std::lock_guard lock(mutex_);
    if (look_ || holding_ > 0 || !to_hold_.empty()) return;
  }
  const std::unique_lock no_holder_comes(image_);
  const auto list = Holders(engine).list();
  if (!list.ok() || !list->held.empty()) return;
  ignore(Holders(engine).remove_image(), "a container that somebody made from it keeps it");
}

}  // namespace bygone::ingest
