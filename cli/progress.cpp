// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <algorithm>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/text.h"

namespace bygone::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{200};
constexpr std::chrono::milliseconds kStatus{1000};

// Like duration_text, but of a fixed shape, so that the line does not jump.
std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::max(seconds, 0.0));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

double ratio(std::uint64_t done, std::uint64_t total) {
  return total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

std::string of_total(const std::string& done, const std::string& total, bool known) {
  return known && done != total ? done + " of " + total : done;
}

}  // namespace

ProgressState phase_state(const std::string& phase, std::uint64_t done, std::uint64_t total) {
  ProgressState state;
  state.phase = phase + ":";
  state.files_done = done;
  state.files_total = total;
  state.noun = "object";
  return state;
}

double fraction_done(const ProgressState& state) {
  const double bytes = ratio(state.bytes_done, state.bytes_total);
  const double files = ratio(state.files_done, state.files_total);
  if (state.bytes_total == 0) return files;
  // Rounding must not show 100 % while a file is still open.
  return files < 1 ? std::min(bytes, 0.999) : bytes;
}

std::string progress_text(const ProgressState& state, double elapsed_seconds) {
  std::string text = fmt::format("[{}] ", clock_text(elapsed_seconds));
  if (!state.phase.empty()) text += state.phase + " ";
  const double done = fraction_done(state);
  if (state.totals_known) text += fmt::format("{:.1f} %, ", done * 100);
  text += of_total(count_text(state.files_done), count_text(state.files_total), state.totals_known);
  text += fmt::format(" {}s", state.noun);
  if (state.bytes_total != 0) {
    text += ", " +
            of_total(size_text(state.bytes_done), size_text(state.bytes_total), state.totals_known);
    if (elapsed_seconds >= 1) {
      const double rate = static_cast<double>(state.bytes_done) / elapsed_seconds;
      text += fmt::format(", {}/s", size_text(static_cast<std::uint64_t>(rate)));
    }
  }
  if (state.totals_known && elapsed_seconds >= 3 && done > 0.005 && done < 1) {
    text += fmt::format(", {} left", clock_text(elapsed_seconds * (1 - done) / done));
  }
  return text;
}

Progress::Progress(Output& output) : output_(output), start_(Clock::now()) {}

Progress::~Progress() {
  if (!finished_) output_.progress_line("");
}

double Progress::elapsed_seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::show(const ProgressState& state) {
  if (!output_.json()) return output_.progress_line(progress_text(state, elapsed_seconds()));
  if (output_.quiet()) return;
  Json object{{"message_type", "status"},
              {"seconds_elapsed", static_cast<std::uint64_t>(elapsed_seconds())}};
  if (state.totals_known) {
    object["percent_done"] = fraction_done(state);
    object["total_files"] = state.files_total;
    object["total_bytes"] = state.bytes_total;
  }
  object["files_done"] = state.files_done;
  object["bytes_done"] = state.bytes_done;
  if (!state.phase.empty()) object["phase"] = state.phase;
  output_.object(object);
}

void Progress::update(const ProgressState& state) {
  if (!output_.json() && !output_.shows_progress()) return;
  const std::lock_guard lock(mutex_);  // held while showing: no old state after the last one
  const auto now = Clock::now();
  if (finished_ || now - shown_ < (output_.json() ? kStatus : kRedraw)) return;
  shown_ = now;
  show(state);
}

void Progress::finish(const ProgressState& state) {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  if (output_.json() || output_.shows_progress()) show(state);
  output_.end_progress_line();
}

Ticker::Ticker(std::function<void()> tick)
    : tick_(std::move(tick)), thread_([this] {
        std::unique_lock lock(mutex_);
        while (
            !stop_.wait_for(lock, std::chrono::milliseconds(250), [this] { return stopping_; })) {
          tick_();
        }
      }) {}

Ticker::~Ticker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

}  // namespace bygone::cli
