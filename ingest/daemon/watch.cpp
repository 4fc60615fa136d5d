// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/watch.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "ingest/holder.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;
using Time = std::chrono::steady_clock::time_point;

constexpr milliseconds kGlance{200};      // how soon it notices what is asked of it
constexpr milliseconds kQuiet{300};       // after the last event of a burst
constexpr milliseconds kPatience{2'000};  // with a burst that does not end
constexpr milliseconds kTick{1'000};
constexpr milliseconds kLookAnyway{300'000};   // events may be lost
constexpr milliseconds kAfterFailure{10'000};  // of a look
constexpr milliseconds kReconnect{1'000};
constexpr milliseconds kReconnectSlowly{10'000};
constexpr unsigned kQuickTries = 30;

// What makes a difference to what there is. Not every engine leaves out what was not asked for.
const std::vector<std::string> kActions = {"create", "start", "rename", "destroy"};

bool matters(const docker::Event& event) {
  if (event.type.empty()) return true;  // it could not be read
  return event.attributes.count(kHolderLabel) == 0 &&
         std::find(kActions.begin(), kActions.end(), event.action) != kActions.end();
}

Time now() { return std::chrono::steady_clock::now(); }

}  // namespace

Watch::Watch(WatchWork work) : work_(std::move(work)), thread_([this] { run(); }) {}

Watch::~Watch() {
  stop_ = true;
  thread_.join();
}

void Watch::pause(milliseconds time) const {
  for (const Time until = now() + time; !stop_ && now() < until;) {
    std::this_thread::sleep_for(std::min(time, kGlance));
  }
}

void Watch::run() {
  for (unsigned tries = 0; !stop_;) {
    const Time begun = now();
    const Result<void> ended = listen();
    if (stop_) return;
    if (!ended.ok()) work_.lost(ended.error());
    tries = now() - begun > kReconnectSlowly ? 0 : tries + 1;
    pause(tries < kQuickTries ? kReconnect : kReconnectSlowly);
  }
}

// Subscribes first and looks then, so that nothing falls between.
Result<void> Watch::listen() {
  const std::shared_ptr<docker::Engine> engine = TRY(work_.connect());
  const auto stream = TRY(engine->events({"container", "volume"}, kActions, 0));
  work_.connected(engine);
  // Events came since the last look, the first of them then; a first look is due at once.
  bool has_events = true;
  Time first_event = now() - kPatience, last_event = first_event;
  Time looked = now(), ticked = now() - kTick;
  while (!stop_) {
    const std::optional<docker::Event> event = TRY(stream->next(kGlance));
    if (event && matters(*event)) {
      last_event = now();
      if (!has_events) first_event = last_event;
      has_events = true;
    }
    if (asked_.exchange(false) || now() - looked > kLookAnyway) {
      has_events = true;
      first_event = now() - kPatience;
    }
    if (now() - ticked >= kTick) {
      work_.tick(*engine);
      ticked = now();
    }
    if (!has_events || (now() - last_event < kQuiet && now() - first_event < kPatience)) continue;
    has_events = false;
    looked = now();
    const Result<void> seen = work_.look(*engine);
    if (seen.ok()) continue;
    if (seen.error().code == Code::unavailable) return seen.error();
    looked = now() - kLookAnyway + kAfterFailure;
  }
  return {};
}

}  // namespace bygone::ingest
