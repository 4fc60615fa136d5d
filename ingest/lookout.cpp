// SPDX-License-Identifier: Apache-2.0
#include "ingest/lookout.h"

#include <algorithm>
#include <utility>

#include "store/base/log.h"

namespace bygone::ingest {

std::optional<RunningNow> Lookout::look() {
  if (engine_ == nullptr) return std::nullopt;
  auto now = RunningNow::look(*engine_, host_, volumes_);
  if (!now) {
    log::warning(now.error().message);
    return std::nullopt;
  }
  if (watch_) before_.push_back(*now);
  return std::move(*now);
}

void Lookout::watch() {
  watch_.reset();
  before_.clear();
  if (engine_ == nullptr) return;
  auto begun = StartWatch::begin(*engine_);
  if (begun) {
    watch_ = std::move(*begun);
  } else {
    log::info(begun.error().message + ": who runs for a moment only is not noticed");
  }
}

// The list first: whoever is not on it has ended, and his start was told before.
std::optional<RunningNow> Lookout::look_after(const std::set<std::string>& held) {
  auto now = look();
  auto watch = std::exchange(watch_, std::nullopt);
  // Without anybody who was held nothing tells where the events of that time end.
  if (!watch || !now || held.empty()) return now;
  if (const auto told = watch->read(held); !told) {
    log::info(told.error().message + ": who ran for a moment only may go unnoticed");
  }
  if (!take_up(*watch, *now)) return std::nullopt;
  return now;
}

// Whom no list has shown. False when the engine does not tell what one of them can write to.
bool Lookout::take_up(const StartWatch& watch, RunningNow& now) {
  for (const auto& each : watch.started()) {
    const std::string& id = each.first;
    const std::string& name = each.second;
    const bool is_listed = std::any_of(before_.begin(), before_.end(),
                                       [&](const RunningNow& look) { return look.lists(id); });
    if (is_listed) continue;
    const auto container = engine_->container(id);
    if (container) {
      docker::ContainerSummary ended;
      ended.id = id;
      ended.name = name;
      ended.status = docker::Status::running;
      ended.mounts = container->mounts;
      now.add_ended(ended, host_, volumes_);
    } else if (container.error().code == Code::not_found) {
      now.add_gone({id, name, false, ""}, watch.volumes_of(id));
    } else {
      log::warning(container.error().message);
      return false;
    }
  }
  return true;
}

}  // namespace bygone::ingest
