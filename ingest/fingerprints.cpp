// SPDX-License-Identifier: Apache-2.0
#include "ingest/fingerprints.h"

#include <xxhash.h>
#ifdef BYGONE_HAS_XXHASH_DISPATCH
// Hashes with the widest vectors of the processor: a freeze is a sixth shorter.
#include <xxh_x86dispatch.h>
#endif

#include "store/crypto.h"

namespace bygone::ingest {
namespace {

constexpr std::size_t kMostKept = 2u << 20;  // blocks: 32 GiB of them, in 120 MB of memory

}  // namespace

Fingerprint fingerprint(ByteView block, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(block.data(), block.size(), seed);
  return {.low = hash.low64, .high = hash.high64};
}

void Fingerprinter::end_block() {
  if (block_.empty()) return;
  result_.blocks.push_back(fingerprint(block_, seed_));
  block_.clear();
}

// Whether there are too many blocks with `length` bytes more.
bool Fingerprinter::give_up(std::uint64_t length) {
  if (length / kFingerprintBlock + result_.blocks.size() > kMostBlocks) {
    result_.is_complete = false;
    result_.blocks = {};
  }
  return !result_.is_complete;
}

void Fingerprinter::data(ByteView bytes) {
  result_.size += bytes.size();
  if (give_up(bytes.size())) return;
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), kFingerprintBlock - block_.size());
    // A whole block in one piece is hashed where it stands.
    if (n == kFingerprintBlock) {
      result_.blocks.push_back(fingerprint(bytes.first(n), seed_));
    } else {
      block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      if (block_.size() == kFingerprintBlock) end_block();
    }
    bytes = bytes.subspan(n);
  }
}

void Fingerprinter::zeros(std::uint64_t length) {
  static const Bytes kZeros(kFingerprintBlock);
  if (give_up(length)) return;
  const Fingerprint whole = fingerprint(kZeros, seed_);
  while (length > 0) {
    const std::size_t space = kFingerprintBlock - block_.size();
    const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(length, space));
    if (n == kFingerprintBlock) {
      result_.size += n;
      result_.blocks.push_back(whole);
    } else {
      data(ByteView(kZeros).first(n));
    }
    length -= n;
  }
}

FileFingerprints Fingerprinter::finish() {
  end_block();
  return std::move(result_);
}

Fingerprints::Fingerprints() {
  std::array<std::uint8_t, 8> random{};
  store::fill_random(random);
  std::memcpy(&seed_, random.data(), sizeof seed_);
}

void Fingerprints::put(std::size_t volume, const store::Entry& entry, FileFingerprints prints) {
  auto shared =
      prints.is_complete ? std::make_shared<const FileFingerprints>(std::move(prints)) : nullptr;
  const std::lock_guard lock(mutex_);
  const auto [at, is_first] = files_.try_emplace({volume, entry.inode}, std::move(shared));
  if (!is_first) at->second.reset();
}

std::shared_ptr<const FileFingerprints> Fingerprints::find(
    std::size_t volume, const store::Entry& now, const std::optional<store::Entry>& hot) const {
  if (!hot || hot->inode != now.inode || hot->type != store::FileType::regular ||
      (hot->flags & store::kUnreadable) != 0) {
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  const auto found = files_.find({volume, hot->inode});
  const bool is_it = found != files_.end() && found->second && found->second->size == hot->size;
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
