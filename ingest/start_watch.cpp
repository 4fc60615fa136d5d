// SPDX-License-Identifier: Apache-2.0
#include "ingest/start_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "ingest/survey.h"
#include "store/base/clock.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{1000};
// The start of a container is told once it runs: maybe after the thaw of those before which it did.
constexpr milliseconds kQuiet{150};
// Its volumes are mounted up to half a second before that: maybe before this began to watch.
constexpr Nanoseconds kBefore = 5 * kSecond;

}  // namespace

Result<StartWatch> StartWatch::begin(docker::Engine& engine) {
  return StartWatch(
      TRY(engine.events({"container", "volume"}, {"start", "die", "pause", "unpause", "mount"},
                        system_now() - kBefore)));
}

// True for one that tells of a resumption.
bool StartWatch::take(const docker::Event& event, const std::set<std::string>& held) {
  const bool is_held = held.count(event.id) != 0;
  if (event.type == "volume") {
    if (label(event.attributes, "read/write") == "true") {
      volumes_[label(event.attributes, "container")].insert(event.id);
    }
  } else if (event.action == "start" || event.action == "unpause") {
    if (is_held) return stand_still_;
    if (event.action == "start") started_[event.id] = label(event.attributes, "name");
  } else if (is_held) {
    stand_still_ = stand_still_ || event.action == "pause" || event.action == "die";
  } else if (event.action == "die" && !stand_still_) {
    started_.erase(event.id);
  }
  return false;
}

Result<void> StartWatch::read(const std::set<std::string>& held) {
  const auto stream = std::exchange(events_, nullptr);
  const auto deadline = steady_clock::now() + kPatience;
  for (bool is_over = false;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    const auto wait = std::max(milliseconds(0), is_over ? std::min(kQuiet, left) : left);
    const auto event = TRY(stream->next(wait));
    if (!event && is_over) return {};
    if (!event) {
      return Error{Code::unavailable, 0, "the engine does not tell its events in time"};
    }
    if (event->type.empty()) return Error{Code::invalid, 0, "an event that cannot be read"};
    is_over = take(*event, held) || is_over;
    if (steady_clock::now() > deadline && is_over) return {};
  }
}

std::set<std::string> StartWatch::volumes_of(const std::string& id) const {
  const auto found = volumes_.find(id);
  return found == volumes_.end() ? std::set<std::string>() : found->second;
}

}  // namespace bygone::ingest
