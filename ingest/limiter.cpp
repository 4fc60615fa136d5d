// SPDX-License-Identifier: Apache-2.0
#include "ingest/limiter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <thread>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/base/bytes.h"
#include "store/base/files.h"
#include "store/base/stall.h"

namespace bygone::ingest {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kLeast = 64 * kKiB;
constexpr std::uint64_t kMostPerSecond = kMiB * 1024 * 1024;

constexpr nanoseconds kSlice = 50ms;   // of a sleep, so that a cancel is heard
constexpr nanoseconds kBurst = 100ms;  // of unused rate that may be caught up with

// Measured beside pgbench: 20 MB/s took nothing from it, 100 MB/s a quarter.
constexpr std::uint64_t kGentle = 20 * kMiB;
constexpr std::uint64_t kUnseeing = 32 * kMiB;  // where the kernel tells nothing
constexpr std::uint64_t kStep = 4;

// Shares of the time in which we did not wait for a disk, but others did.
constexpr double kBusy = 0.08;
constexpr double kDrowning = 0.50;
constexpr double kCalm = 0.04;
constexpr double kOwnShare = 0.85;  // more of a window, and nothing of others could be heard
constexpr unsigned kMostCalmNeeded = 16;

// Not the lowest: on a host that is busy for days a backup must come to its end all the same.
constexpr int kNice = 15;

constexpr nanoseconds kLook = 100ms;
constexpr nanoseconds kShortWindow = 1500ms;
constexpr nanoseconds kLongWindow = 3s;
// Since we last read: what the kernel calls recent is then all others'.
constexpr nanoseconds kForgotten = 12s;

// The begin of a file of the kernel's; empty for one that cannot be read.
std::string first_lines(const char* path) {
  const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return {};
  std::array<char, 512> text{};
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  return n <= 0 ? std::string() : std::string(text.data(), static_cast<std::size_t>(n));
}

std::optional<ProcessorTimes> read_processors() {
  auto times = parse_processor_times(first_lines("/proc/stat"));
  timespec own{};
  if (!times || ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) != 0) return std::nullopt;
  times->own = std::chrono::seconds(own.tv_sec) + nanoseconds(own.tv_nsec);
  return times;
}

// The number behind `key`, up to a space or the end of the line.
template <class T>
std::optional<T> number_after(std::string_view line, std::string_view key) {
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + key.size());
  T value{};
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

double share(nanoseconds part, nanoseconds whole) {
  return static_cast<double>(part.count()) / static_cast<double>(whole.count());
}

Error not_a_limit(std::string_view text) {
  return Error{Code::invalid, 0,
               fmt::format("'{}' is no limit for reading; hint: auto, off, or bytes a second such "
                           "as 50M, from 64K to 1024G",
                           printable(text))};
}

}  // namespace

Result<ReadLimit> parse_read_limit(std::string_view text) {
  if (text == "off") return ReadLimit{};
  if (text == "auto") return ReadLimit{.kind = ReadLimit::Kind::automatic, .bytes_per_second = 0};
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc()) return not_a_limit(text);
  std::string_view unit = text.substr(static_cast<std::size_t>(parsed.ptr - text.data()));
  std::uint64_t factor = 1;
  constexpr std::string_view kUnits = "KMG";
  if (!unit.empty()) {
    const std::size_t power = kUnits.find(unit.front());
    if (power == std::string_view::npos) return not_a_limit(text);
    for (std::size_t i = 0; i <= power; ++i) factor *= kKiB;
    unit.remove_prefix(1);
    if (!unit.empty() && unit != "B" && unit != "iB") return not_a_limit(text);
  }
  if (value > kMostPerSecond / factor || value * factor < kLeast) return not_a_limit(text);
  return ReadLimit{.kind = ReadLimit::Kind::fixed, .bytes_per_second = value * factor};
}

std::string to_text(const ReadLimit& limit) {
  if (limit.kind == ReadLimit::Kind::off) return "off";
  if (limit.kind == ReadLimit::Kind::automatic) return "auto";
  std::uint64_t value = limit.bytes_per_second;
  constexpr std::array<const char*, 4> kUnits = {"", "K", "M", "G"};
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && value % kKiB == 0) {
    value /= kKiB;
    ++unit;
  }
  return std::to_string(value) + kUnits[unit];
}

std::optional<Pressure> parse_pressure(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.starts_with("some ")) continue;
    const auto recent = number_after<double>(line, "avg10=");
    const auto total = number_after<std::int64_t>(line, "total=");
    if (!recent || !total) return std::nullopt;
    return Pressure{.recent = *recent, .stalled = std::chrono::microseconds(*total)};
  }
  return std::nullopt;
}

Surroundings Surroundings::real() {
  return {.now = [] { return nanoseconds(std::chrono::steady_clock::now().time_since_epoch()); },
          .sleep = [](nanoseconds time) { std::this_thread::sleep_for(time); },
          .pressure = [] { return parse_pressure(first_lines("/proc/pressure/io")); },
          .our_own_waits = disk_waits,
          .processors = read_processors};
}

Limiter::Limiter(ReadLimit limit, Surroundings surroundings)
    : limit_(limit), surroundings_(std::move(surroundings)), rate_(limit.bytes_per_second) {}

void Limiter::give_way(const Limiter* limiter) {
  if (limiter == nullptr || limiter->is_off()) return;
  // Of this thread alone, as Linux has it. Nobody is refused less than he has, and who already has
  // less (started by `nice`) keeps it.
  if (::getpriority(PRIO_PROCESS, 0) < kNice) ::setpriority(PRIO_PROCESS, 0, kNice);
}

std::optional<std::uint64_t> Limiter::rate() const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t pace = pace_.rate();
  const std::uint64_t rate = rate_ == 0 || pace == 0 ? rate_ + pace : std::min(rate_, pace);
  if (rate == 0) return std::nullopt;
  return rate;
}

nanoseconds Limiter::Bucket::take(std::uint64_t bytes, std::uint64_t rate, nanoseconds now) {
  if (rate == 0) return next_ = now;
  const nanoseconds granted = std::max(next_, now - kBurst);
  next_ = granted + nanoseconds(static_cast<std::int64_t>(static_cast<double>(bytes) * 1e9 /
                                                          static_cast<double>(rate)));
  return granted;
}

Result<void> Limiter::wait(std::uint64_t bytes, std::uint64_t from_disk,
                           const std::atomic<bool>& cancel) {
  return wait_for(bytes, bytes, from_disk, cancel);
}

// What an engine does for us others seem to do: its processors tell nothing.
Result<void> Limiter::wait_for_transfer(std::uint64_t bytes, const std::atomic<bool>& cancel) {
  return wait_for(bytes, 0, bytes, cancel);
}

// `computed`: bytes that are to be paid for at the processors.
nanoseconds Limiter::pay(std::uint64_t bytes, std::uint64_t computed, std::uint64_t from_disk,
                         nanoseconds now) {
  if (limit_.kind == ReadLimit::Kind::fixed) return disk_.take(bytes, rate_, now);
  observe(now);
  bytes_ += computed;
  const nanoseconds until = processors_.take(computed, pace_.rate(), now);
  if (from_disk == 0) return until;
  const nanoseconds granted = disk_.take(from_disk, rate_, now);
  return std::max(until, rate_ == 0 && drowns_others_out(now) ? now + kSlice : granted);
}

// Whether what was to be waited for is no more: the others have done.
bool Limiter::is_free(nanoseconds now) {
  const std::lock_guard lock(mutex_);
  if (limit_.kind == ReadLimit::Kind::fixed) return false;
  observe(now);
  return rate_ == 0 && pace_.rate() == 0;
}

Result<void> Limiter::wait_for(std::uint64_t bytes, std::uint64_t computed, std::uint64_t from_disk,
                               const std::atomic<bool>& cancel) {
  if (is_off()) return {};
  nanoseconds until{0};
  {
    const std::lock_guard lock(mutex_);
    until = pay(bytes, computed, from_disk, surroundings_.now());
  }
  for (;;) {
    if (cancel.load()) return Error{Code::cancelled, 0, "cancelled"};
    const nanoseconds now = surroundings_.now();
    if (until <= now || (until - now > kSlice && is_free(now))) return {};
    surroundings_.sleep(std::min(until - now, kSlice));
  }
}

// Before the first read, and after a long pause, the last 10 s tell of others alone.
void Limiter::begin(nanoseconds now) {
  begun_ = true;
  bytes_ = 0;
  disk_ = {};
  processors_ = {};
  if (const auto times = surroundings_.processors()) pace_.begin(*times, now);
  calm_windows_ = 0;
  calm_needed_ = 1;
  const auto pressure = surroundings_.pressure();
  if (!pressure) {
    rate_ = kUnseeing;
    return;
  }
  rate_ = pressure->recent / 100 < kCalm ? 0 : kGentle;
  open_window(now, *pressure);
}

void Limiter::open_window(nanoseconds now, const Pressure& pressure) {
  last_look_ = now;
  window_begin_ = now;
  window_stalled_ = pressure.stalled;
  window_own_ = surroundings_.our_own_waits();
}

// On a disk as slow as us we wait all the time, and could not tell whether others do.
bool Limiter::drowns_others_out(nanoseconds now) const {
  const nanoseconds window = now - window_begin_;
  if (window < 4 * kSlice) return false;
  return share(surroundings_.our_own_waits() - window_own_, window) > kOwnShare;
}

void Limiter::observe(nanoseconds now) {
  const bool forgotten = now - last_asked_ > kForgotten;
  last_asked_ = now;
  if (!begun_ || forgotten) return begin(now);
  if (pace_.is_due(now)) {
    if (const auto times = surroundings_.processors()) pace_.observe(*times, now, bytes_);
  }
  observe_disk(now);
}

void Limiter::observe_disk(nanoseconds now) {
  if (now - last_look_ < kLook) return;
  last_look_ = now;
  const auto pressure = surroundings_.pressure();
  if (!pressure) return;
  const nanoseconds window = now - window_begin_;
  // Its totals move at the kernel's own pace: a window ends where they did, or where they would
  // have, had anything waited.
  const bool moved = pressure->stalled != window_stalled_ && window >= kShortWindow;
  if (!moved && window < kLongWindow) return;
  const nanoseconds own =
      std::clamp<nanoseconds>(surroundings_.our_own_waits() - window_own_, 0ns, window);
  const nanoseconds quiet = window - own;
  if (share(quiet, window) >= 1 - kOwnShare - 0.05) {
    const nanoseconds all = pressure->stalled - window_stalled_;
    judge(std::clamp(share(all - own, quiet), 0.0, 1.0));
  }
  open_window(now, *pressure);
}

// `others`: the share of the time without us in which somebody waited for a disk.
void Limiter::judge(double others) {
  if (others >= kBusy) {
    const bool was_fast = rate_ == 0 || rate_ > kGentle;
    if (was_fast) {
      rate_ = kGentle;
      calm_needed_ = std::min(2 * calm_needed_, kMostCalmNeeded);
    } else if (others >= kDrowning) {
      rate_ = std::max(kLeastPace, rate_ / 2);
    } else {
      rate_ = std::min(kGentle, 2 * rate_);
    }
    calm_windows_ = 0;
    return;
  }
  if (others >= kCalm) return;
  if (++calm_windows_ < calm_needed_) return;
  if (rate_ == 0) {
    calm_needed_ = 1;
    return;
  }
  calm_windows_ = 0;
  rate_ = rate_ * kStep > kMostPace ? 0 : rate_ * kStep;
}

}  // namespace bygone::ingest
