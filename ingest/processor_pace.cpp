// SPDX-License-Identifier: Apache-2.0
#include "ingest/processor_pace.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <unistd.h>

namespace bygone::ingest {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

// Of the time of all processors, where others want it all; more where they leave some of it.
constexpr double kOurShare = 0.04;
constexpr double kIdle = 0.20;  // others' share under which nobody is spared

// A first backup reads, hashes, compresses and encrypts 200 MB in a second of a processor.
constexpr double kFirstCost = 5e-9;
constexpr double kNewWeight = 0.4;  // of the last window, in what a byte costs

constexpr nanoseconds kFirstWindow = 200ms;  // twenty ticks a processor
constexpr nanoseconds kWindow = 500ms;

double seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

nanoseconds grown(nanoseconds from, nanoseconds to) { return std::max(to - from, 0ns); }

}  // namespace

std::optional<ProcessorTimes> parse_processor_times(std::string_view text) {
  constexpr std::string_view kAll = "cpu ";
  if (!text.starts_with(kAll)) return std::nullopt;
  text = text.substr(0, text.find('\n'));
  text.remove_prefix(kAll.size());
  // user nice system idle iowait irq softirq steal; guests are in user and nice.
  std::array<std::uint64_t, 8> ticks{};
  for (std::uint64_t& value : ticks) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
  }
  static const std::uint64_t tick =
      1'000'000'000U / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const auto time = [](std::uint64_t count) {
    return nanoseconds(static_cast<std::int64_t>(count * tick));
  };
  const std::uint64_t busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7];
  return ProcessorTimes{.all = time(busy + ticks[3] + ticks[4]), .busy = time(busy), .own = 0ns};
}

nanoseconds used_by_others(const ProcessorTimes& before, const ProcessorTimes& now) {
  // The kernel takes the two by different clocks: there may seem to be less than none.
  return std::max(grown(before.busy, now.busy) - grown(before.own, now.own), 0ns);
}

void ProcessorPace::begin(const ProcessorTimes& times, nanoseconds now) {
  seen_ = times;
  looked_ = now;
  bytes_ = 0;
  is_first_ = true;
  cost_ = kFirstCost;
  set_rate(1, static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

bool ProcessorPace::is_due(nanoseconds now) const {
  return now - looked_ >= (is_first_ ? kFirstWindow : kWindow);
}

void ProcessorPace::observe(const ProcessorTimes& times, nanoseconds now, std::uint64_t bytes) {
  if (!is_due(now)) return;
  const double all = seconds(grown(seen_.all, times.all));
  const double own = seconds(grown(seen_.own, times.own));
  const double others = seconds(used_by_others(seen_, times));
  const double window = seconds(now - looked_);
  if (bytes > bytes_) {
    const double cost = own / static_cast<double>(bytes - bytes_);
    cost_ = (1 - kNewWeight) * cost_ + kNewWeight * cost;
  }
  if (all > 0) set_rate(std::min(others / all, 1.0), all / window);
  seen_ = times;
  looked_ = now;
  bytes_ = bytes;
  is_first_ = false;
}

void ProcessorPace::set_rate(double others, double processors) {
  if (others < kIdle) {
    rate_ = 0;
    return;
  }
  const double allowed = kOurShare / others * processors / cost_;
  rate_ = allowed > static_cast<double>(kMostPace)
              ? 0
              : std::max(kLeastPace, static_cast<std::uint64_t>(allowed));
}

}  // namespace bygone::ingest
