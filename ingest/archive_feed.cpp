// SPDX-License-Identifier: Apache-2.0
#include "ingest/archive_feed.h"

#include <utility>

namespace bygone::ingest {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kGlance{100};  // how late a cancel is seen

}  // namespace

ArchiveFeed::ArchiveFeed(docker::Engine& engine, std::string container, std::string path,
                         Limiter* limiter, const std::atomic<bool>& cancel, FeedOptions options)
    : engine_(engine),
      limiter_(limiter),
      cancel_(cancel),
      options_(options),
      thread_([this, container = std::move(container), path = std::move(path)] {
        run(container, path);
      }) {}

ArchiveFeed::~ArchiveFeed() { stop(); }

void ArchiveFeed::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ArchiveFeed::run(const std::string& container, const std::string& path) {
  const auto begin = SteadyClock::now();
  auto read = engine_.archive(
      container, path, [this](ByteView bytes) { return take(bytes); }, stop_);
  if (read && !filling_.empty()) put(std::move(filling_));
  const std::lock_guard lock(mutex_);
  took_ = SteadyClock::now() - begin;
  ended_ = true;
  if (!read) failure_ = std::move(read).error();
  changed_.notify_all();
}

// Called by the engine with what has come.
Result<void> ArchiveFeed::take(ByteView bytes) {
  const auto begin = SteadyClock::now();
  received_ += bytes.size();
  if (limiter_ != nullptr) TRY(limiter_->wait_for_transfer(bytes.size(), stop_));
  filling_.insert(filling_.end(), bytes.begin(), bytes.end());
  if (filling_.size() >= options_.block) {
    put(std::move(filling_));
    filling_ = Bytes();
    filling_.reserve(options_.block + (options_.block >> 2u));
  }
  const std::lock_guard lock(mutex_);
  waited_ += SteadyClock::now() - begin;
  if (stop_) return Error{Code::cancelled, 0, "cancelled"};
  return {};
}

void ArchiveFeed::put(Bytes block) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stop_ || blocks_.size() < options_.blocks; });
  blocks_.push_back(std::move(block));
  changed_.notify_all();
}

// Why whoever reads is to have no more.
std::optional<Error> ArchiveFeed::ordered_end() {
  const bool over = options_.over != nullptr && *options_.over;
  if (!over && !cancel_) return std::nullopt;
  stop_ = true;
  if (cancel_) return Error{Code::cancelled, 0, "cancelled"};
  return Error{Code::unavailable, 0, "the time for it is over"};
}

Result<ByteView> ArchiveFeed::next() {
  std::unique_lock lock(mutex_);
  auto end = ordered_end();
  while (!end && blocks_.empty() && !ended_) {
    changed_.wait_for(lock, kGlance);
    end = ordered_end();
  }
  if (end) return *std::move(end);
  if (!blocks_.empty()) {
    given_ = std::move(blocks_.front());
    blocks_.pop_front();
    changed_.notify_all();
    return ByteView(given_);
  }
  if (failure_) return *failure_;
  return ByteView();
}

std::chrono::nanoseconds ArchiveFeed::transfer_time() {
  const std::lock_guard lock(mutex_);
  return took_ - waited_;
}

}  // namespace bygone::ingest
