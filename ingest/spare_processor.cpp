// SPDX-License-Identifier: Apache-2.0
#include "ingest/spare_processor.h"

#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "store/base/log.h"

namespace bygone::ingest {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// What others use, in processors. In between it stays as it is. The kernel's own work for a backup
// on an idle host, writing packs, comes to less than the first.
constexpr double kBusy = 0.4;
constexpr double kCalm = 0.2;

constexpr auto kFirstWindow = 100ms;  // ten ticks a processor
constexpr auto kWindow = 500ms;
constexpr auto kForgotten = 5s;  // without a watch: what was seen before tells nothing any more

// Whether it had others and has these now. A thread may have ended, a processor gone.
bool bind(pid_t thread, const cpu_set_t& processors) {
  cpu_set_t before;
  if (::sched_getaffinity(thread, sizeof before, &before) != 0) return false;
  if (CPU_EQUAL(&before, &processors)) return false;
  return ::sched_setaffinity(thread, sizeof processors, &processors) == 0;
}

}  // namespace

SpareProcessor::SpareProcessor(Times times) : times_(std::move(times)) {}

SpareProcessor::~SpareProcessor() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (watcher_.joinable()) watcher_.join();
}

SpareProcessor::Watch::Watch(SpareProcessor& spare) : spare_(spare) {
  const std::lock_guard lock(spare_.mutex_);
  if (++spare_.watches_ > 1) return;
  if (Clock::now() - spare_.looked_ > kForgotten) {
    spare_.seen_.reset();
    spare_.others_busy_ = false;
  }
  if (!spare_.watcher_.joinable()) {
    try {
      spare_.watcher_ = std::thread([&watched = spare_] { watched.watch(); });
    } catch (const std::system_error& error) {
      log::warning(std::string("no processor is left to others: ") + error.what());
    }
  }
  spare_.is_outdated_ = true;
  spare_.changed_.notify_all();
}

SpareProcessor::Watch::~Watch() {
  const std::lock_guard lock(spare_.mutex_);
  if (--spare_.watches_ == 0) spare_.apply();
}

SpareProcessor::Hurry::Hurry(SpareProcessor& spare) : spare_(spare) {
  const std::lock_guard lock(spare_.mutex_);
  if (++spare_.hurries_ == 1) spare_.apply();
}

// To take a processor from a thread can take as long as the thread is in the kernel: that is for
// the watcher.
SpareProcessor::Hurry::~Hurry() {
  const std::lock_guard lock(spare_.mutex_);
  --spare_.hurries_;
  spare_.is_outdated_ = true;
  spare_.changed_.notify_all();
}

void SpareProcessor::watch() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || watches_ > 0 || !is_settled_; });
    if (stopping_) return;
    if (std::exchange(is_outdated_, false)) apply();
    const bool is_first = watches_ > 0 && !seen_;
    if (is_first) look();
    changed_.wait_for(lock, is_first ? kFirstWindow : kWindow,
                      [&] { return stopping_ || is_outdated_; });
    if (stopping_) return;
    if (is_outdated_) continue;
    if (watches_ > 0) {
      look();
    } else {
      apply();
    }
  }
}

void SpareProcessor::look() {
  const auto times = times_();
  const auto now = Clock::now();
  const std::chrono::duration<double> window = now - std::exchange(looked_, now);
  if (!times) return;
  const auto before = std::exchange(seen_, times);
  if (!before) return;
  const double used = used_by_others(*before, *times) / window;  // processors
  others_busy_ = used >= kBusy || (others_busy_ && used >= kCalm);
  apply();
}

// In between, who decides which processors we may use may have given us others.
bool SpareProcessor::can_leave_one() {
  if (::sched_getaffinity(0, sizeof all_, &all_) != 0 || CPU_COUNT(&all_) < 2) return false;
  std::size_t last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &all_)) --last;
  but_one_ = all_;
  CPU_CLR(last, &but_one_);
  return true;
}

void SpareProcessor::apply() {
  const bool leave = others_busy_ && watches_ > 0 && hurries_ == 0;
  if (leave != is_left_) {
    if (leave && is_settled_ && !can_leave_one()) return;
    is_left_ = leave;
    is_settled_ = false;
  }
  // While it is left: whatever thread somebody else has given all.
  if (is_left_ || !is_settled_) is_settled_ = bind_all();
}

// Whether every thread had what it shall have. A thread has its processors from the one that starts
// it, and may be started while we go through them: it is met the next time.
bool SpareProcessor::bind_all() const {
  bool had = true;
  std::error_code error;
  std::filesystem::directory_iterator threads("/proc/self/task", error);
  for (; !error && threads != std::filesystem::directory_iterator(); threads.increment(error)) {
    const std::string name = threads->path().filename();
    pid_t thread = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), thread).ec != std::errc()) continue;
    if (bind(thread, is_left_ ? but_one_ : all_)) had = false;
  }
  return had && !error;
}

}  // namespace bygone::ingest
