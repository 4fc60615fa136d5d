// SPDX-License-Identifier: Apache-2.0
#include "ingest/ephemeral.h"

#include <algorithm>
#include <utility>

#include "ingest/survey.h"
#include "store/base/bytes.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;

// How soon it notices that it is to stop.
constexpr milliseconds kGlance{250};
constexpr milliseconds kReconnect{1000};
constexpr std::chrono::minutes kLookAnyway{5};  // events may be lost
// A burst of containers is held by as many at once. They wait, mostly: while an engine starts a
// container it tells nothing about it, and whoever waits for that must not keep another from being
// held before it has ended.
constexpr std::size_t kHolders = 32;

}  // namespace

Ephemeral::Ephemeral(EphemeralWork work) : work_(std::move(work)), record_(work_.state_folder) {
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
  auto looked = std::chrono::steady_clock::now(), listed = looked;
  while (!stop_) {
    const std::optional<docker::Event> event = TRY(stream->next(kGlance));
    if (event && event->type.empty()) look_at_everything(*engine);
    if (event && !event->type.empty()) take(*event);
    if (std::chrono::steady_clock::now() - looked < work_.retry_after) continue;
    looked = std::chrono::steady_clock::now();
    if (looked - listed > kLookAnyway) {
      listed = looked;
      look_at_everything(*engine);
    }
    {
      const std::lock_guard lock(mutex_);
      to_hold_.insert(to_hold_.end(), not_held_.begin(), not_held_.end());
      not_held_.clear();
    }
    want_look();
  }
  return {};
}

void Ephemeral::take(const docker::Event& event) {
  if (event.attributes.count(kHolderLabel) != 0) return;
  if (event.action == "destroy") return want_look();
  // Not every engine leaves out what was not asked for, such as health checks.
  if (event.action != "create" && event.action != "start") return;
  const std::lock_guard lock(mutex_);
  // Its start, when nobody has come to its creation yet.
  if (std::find(to_hold_.begin(), to_hold_.end(), event.id) != to_hold_.end()) return;
  to_hold_.push_back(event.id);
  changed_.notify_all();
}

void Ephemeral::look_at_everything(docker::Engine& engine) {
  const auto containers = engine.containers();
  if (containers.ok()) {
    const std::lock_guard lock(mutex_);
    for (const docker::ContainerSummary& container : *containers) {
      // What has ended and is still there goes when somebody removes it; asking about thousands of
      // those takes a while.
      const bool stays = container.status == docker::Status::exited &&
                         label(container.labels, "bygone.hold") != "always";
      const bool may_go =
          !stays && container.labels.count(kHolderLabel) == 0 && !is_disabled(container.labels);
      if (may_go) to_hold_.push_back(container.id);
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
  if (!container.ok()) {
    // What is gone already had nothing to hold, or nothing that could be.
    if (container.error().code == Code::not_found) return well(id);
    work_.warn("container " + printable(id) +
               ": whether its data is to be held is not known yet: " + container.error().message);
    return not_held(id);
  }
  if (!is_to_be_held(*container) || !work_.wanted(*container)) return well(id);
  const std::shared_lock keep_image(image_);
  const Result<void> held = Holders(engine).hold(*container);
  if (held.ok()) return well(id);
  if (held.error().code == Code::not_found) {
    fail(id, held_name(*container),
         "it ended before its data could be held, which is lost: " + held.error().message);
    return well(id);
  }
  fail(id, held_name(*container),
       "its data is not held, and lost when it ends: " + held.error().message);
  not_held(id);
}

void Ephemeral::not_held(const std::string& id) {
  const std::lock_guard lock(mutex_);
  not_held_.insert(id);
}

void Ephemeral::well(const std::string& id) {
  const std::lock_guard lock(mutex_);
  failed_.erase(id);
}

void Ephemeral::fail(const std::string& id, const std::string& container, const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!failed_.insert(id).second) return;
  }
  work_.failed(container, why);
}

void Ephemeral::capture_in_turn() {
  const Result<void> read = record_.read();
  if (!read.ok()) {
    work_.warn(
        "what was captured of containers that have ended is not known, and captured again: " +
        read.error().message);
  }
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
    capture_ended(*engine);
  }
}

void Ephemeral::capture_ended(docker::Engine& engine) {
  const auto list = Holders(engine).list();
  if (!list.ok()) return;
  std::set<std::string> held_ids;
  for (const Held& held : list->held) held_ids.insert(held.container.id);
  told_if_not_kept(record_.keep_only(held_ids));
  const std::set<std::string> present(list->present.begin(), list->present.end());
  const bool is_first_look = !std::exchange(looked_at_held_, true);
  for (const Held& held : list->held) {
    if (stop_) return;
    if (present.count(held.container.id) != 0) continue;
    const std::optional<HeldCapture> before = record_.find(held.container.id);
    if (!before) capture(engine, held);
    if (before == HeldCapture::whole) release(engine, held);
    if (before == HeldCapture::partly && is_first_look) {
      work_.warn("container " + printable(held_name(held.container)) +
                 ", of which not all could be read, is held still; hint: docker rm -v " +
                 printable(held.holder_id) + " once it is not needed");
    }
  }
  tidy_up(engine);
  const std::lock_guard lock(mutex_);
  looked_ = true;
}

void Ephemeral::told_if_not_kept(const Result<void>& written) {
  if (!written.ok() && !told_not_kept_) {
    work_.warn("what was captured of containers that have ended is forgotten by the next start: " +
               written.error().message);
  }
  told_not_kept_ = !written.ok();
}

void Ephemeral::capture(docker::Engine& engine, const Held& held) {
  const std::string& id = held.container.id;
  const std::string name = held_name(held.container);
  if (name.empty()) {
    return fail(id, "bygone-holder-" + id,
                "what it holds cannot be told, and is not saved; hint: docker rm -v " +
                    printable(held.holder_id));
  }
  const Result<HeldCapture> captured = work_.capture(engine, held.container, stop_);
  if (captured.ok()) told_if_not_kept(record_.add(id, *captured));
  if (!captured.ok()) {
    const Error& error = captured.error();
    if (error.code == Code::cancelled && stop_) return;
    if (error.code == Code::busy) {
      return work_.warn("container " + printable(name) +
                        " has ended and waits, its data is held: " + error.message);
    }
    if (error.code != Code::not_found || Holders(engine).has_data(held)) {
      return fail(id, name,
                  "it has ended and is not saved yet, its data is held: " + error.message);
    }
    well(id);
    fail(id, name, "it has ended, and its data is gone and not saved: " + error.message);
  } else if (*captured == HeldCapture::partly) {
    // What could not be read is nowhere else. To try again without end would make snapshots without
    // end.
    well(id);  // what was told of before was another matter, and is over
    return fail(id, name,
                "it has ended, and not all of it could be read: what it left stays held; hint: "
                "docker rm -v bygone-holder-" +
                    id + " once it is not needed");
  }
  well(id);
  release(engine, held);
}

void Ephemeral::release(docker::Engine& engine, const Held& held) {
  const Result<void> released = Holders(engine).release(held);
  if (!released.ok()) {
    work_.warn("container " + printable(held_name(held.container)) +
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
