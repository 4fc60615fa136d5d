// SPDX-License-Identifier: Apache-2.0
#include "ingest/fingerprints.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include <xxhash.h>
#ifdef BYGONE_HAS_XXHASH_DISPATCH
// Hashes with the widest vectors of the processor: a freeze is a sixth shorter.
#include <xxh_x86dispatch.h>
#endif

#include "store/crypto.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMostKept = 2u << 20;  // blocks: 32 GiB of them, in 120 MB of memory
constexpr std::uint64_t kShortestRun = 4;    // of zeros: it takes as much as three fingerprints
// About what a file takes beside its fingerprints, and one of which only the name is kept.
constexpr std::uint64_t kFileCost = 256;
constexpr std::uint64_t kNameCost = 64;

}  // namespace

Fingerprint fingerprint(ByteView block, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(block.data(), block.size(), seed);
  return {.low = hash.low64, .high = hash.high64};
}

FingerprintRoom& FingerprintRoom::operator=(FingerprintRoom&& other) noexcept {
  if (this != &other) {
    give_back();
    owner_ = other.owner_;
    for_ = other.for_;
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

bool FingerprintRoom::take(std::uint64_t bytes) {
  const std::uint64_t most = owner_->most_memory_;
  if (owner_->memory_.fetch_add(bytes) + bytes > (for_ == For::names ? most : most / 8 * 7)) {
    owner_->memory_ -= bytes;
    return false;
  }
  bytes_ += bytes;
  return true;
}

void FingerprintRoom::give_back() {
  if (owner_ != nullptr) owner_->memory_ -= std::exchange(bytes_, 0);
}

// The last run that begins at `block` or before; nullptr for none.
const FileFingerprints::Run* FileFingerprints::run_before(std::uint64_t block) const {
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), block,
                                      [](auto at, const Run& run) { return at < run.begin; });
  return after == runs_.begin() ? nullptr : &*std::prev(after);
}

bool FileFingerprints::has(std::uint64_t block, const Fingerprint& print) const {
  if (const Run* run = run_before(block)) {
    if (block < run->end) return zero_ == print;
    block -= run->zeros;
  }
  return block < prints_.size() && prints_[block] == print;
}

std::uint64_t FileFingerprints::zeros_until(std::uint64_t block) const {
  const Run* run = run_before(block);
  return run == nullptr ? block : std::max(block, run->end);
}

// Where there is no room for one, none follows: each is known by how many there are before it.
void FileFingerprints::add(const Fingerprint& print) {
  if (!is_complete_) return;
  if (prints_.size() == prints_.capacity()) {
    // Not twice as many: what is not used counts, too.
    const std::size_t more = std::max<std::size_t>(4, prints_.capacity() / 8);
    is_complete_ = room_.take(more * sizeof print);
    if (!is_complete_) return;
    prints_.reserve(prints_.capacity() + more);
  }
  prints_.push_back(print);
}

void FileFingerprints::add_zeros(std::uint64_t count, const Fingerprint& print) {
  const std::uint64_t begin = blocks();
  const bool goes_on = !runs_.empty() && runs_.back().end == begin;
  if (!goes_on && count < kShortestRun) {
    for (; count > 0; --count) add(print);
    return;
  }
  if (!is_complete_) return;
  zero_ = print;
  zeros_ += count;
  if (goes_on) {
    runs_.back().end += count;
    runs_.back().zeros = zeros_;
    return;
  }
  // A vector may have as much again in reserve.
  if (!room_.take(2 * sizeof(Run))) {
    is_complete_ = false;
    zeros_ -= count;
    return;
  }
  runs_.push_back({.begin = begin, .end = begin + count, .zeros = zeros_});
}

Fingerprinter::Fingerprinter(Fingerprints& owner)
    : seed_(owner.seed()), zero_(owner.zeros()), result_(owner) {}

void Fingerprinter::end_block() {
  if (block_.empty()) return;
  result_.add(fingerprint(block_, seed_));
  block_.clear();
}

void Fingerprinter::data(ByteView bytes) {
  result_.size_ += bytes.size();
  if (!result_.is_complete_) return;
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), kFingerprintBlock - block_.size());
    // A whole block in one piece is hashed where it stands.
    if (n == kFingerprintBlock) {
      result_.add(fingerprint(bytes.first(n), seed_));
    } else {
      block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      if (block_.size() == kFingerprintBlock) end_block();
    }
    bytes = bytes.subspan(n);
  }
}

void Fingerprinter::zeros(std::uint64_t length) {
  static const Bytes kZeros(kFingerprintBlock);
  if (!block_.empty()) {  // the rest of a block that begins with data
    const std::size_t n = static_cast<std::size_t>(
        std::min<std::uint64_t>(length, kFingerprintBlock - block_.size()));
    data(ByteView(kZeros).first(n));
    length -= n;
  }
  const std::uint64_t whole = length / kFingerprintBlock;
  result_.size_ += whole * kFingerprintBlock;
  if (whole > 0) result_.add_zeros(whole, zero_);
  data(ByteView(kZeros).first(static_cast<std::size_t>(length % kFingerprintBlock)));
}

FileFingerprints Fingerprinter::finish() {
  end_block();
  return std::move(result_);
}

std::uint64_t Fingerprints::memory_for(std::uint64_t usable, std::size_t share) {
  return std::max(kLeastMemory, std::min(usable / 32, kMostMemory) / share);
}

Fingerprints::Fingerprints(std::uint64_t most_memory) : most_memory_(most_memory) {
  std::array<std::uint8_t, 8> random{};
  store::fill_random(random);
  std::memcpy(&seed_, random.data(), sizeof seed_);
  zeros_ = fingerprint(Bytes(kFingerprintBlock), seed_);
}

void Fingerprints::put(std::size_t volume, const store::Entry& entry, FileFingerprints prints) {
  // A million small files leave room for what it is worth more for.
  const bool is_small = prints.size() < store::kSmallFile;
  const std::uint64_t most = is_small ? most_memory_ / 2 : most_memory_;
  const bool is_worth_it = prints.is_complete() || prints.blocks() > 0;
  const bool has_room = is_worth_it && memory_ + kFileCost <= most;
  const std::lock_guard lock(mutex_);
  if (const auto found = files_.find({volume, entry.inode}); found != files_.end()) {
    found->second.reset();
    return;
  }
  if (is_small && !has_room) small_are_closed_ = true;
  if (is_closed_ || (is_small && small_are_closed_)) return;
  if (!names_.take(has_room ? kFileCost : kNameCost)) {
    is_closed_ = true;
    return;
  }
  files_.emplace(Key{volume, entry.inode},
                 has_room ? std::make_shared<const FileFingerprints>(std::move(prints)) : nullptr);
}

std::shared_ptr<const FileFingerprints> Fingerprints::find(
    std::size_t volume, const store::Entry& now, const std::optional<store::Entry>& hot) const {
  if (!hot || hot->inode != now.inode || hot->type != store::FileType::regular ||
      (hot->flags & store::kUnreadable) != 0) {
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  const auto found = files_.find({volume, hot->inode});
  const bool is_it = found != files_.end() && found->second && found->second->size() == hot->size;
  return is_it ? found->second : nullptr;
}

void Fingerprints::keep(const Fingerprint& print, std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  kept_.emplace(print, ticket);
}

std::uint64_t Fingerprints::kept(const Fingerprint& print) const {
  const std::lock_guard lock(mutex_);
  const auto found = kept_.find(print);
  return found == kept_.end() ? 0 : found->second;
}

bool Fingerprints::is_full() const {
  const std::lock_guard lock(mutex_);
  return kept_.size() >= kMostKept;
}

}  // namespace bygone::ingest
