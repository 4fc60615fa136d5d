// SPDX-License-Identifier: Apache-2.0
#include "ingest/fingerprints.h"

#include <xxhash.h>

#include "store/crypto.h"

namespace bygone::ingest {

Fingerprint fingerprint(ByteView block, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(block.data(), block.size(), seed);
  return {.low = hash.low64, .high = hash.high64};
}

void Fingerprinter::end_block() {
  if (block_.empty()) return;
  result_.blocks.push_back(fingerprint(block_, seed_));
  block_.clear();
}

void Fingerprinter::data(ByteView bytes) {
  result_.size += bytes.size();
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
  prints.ctime = entry.ctime;
  update(volume, entry.inode, std::move(prints));
}

void Fingerprints::update(std::size_t volume, std::uint64_t inode, FileFingerprints prints) {
  auto shared = std::make_shared<const FileFingerprints>(std::move(prints));
  const std::lock_guard lock(mutex_);
  files_[{volume, inode}] = std::move(shared);
}

std::shared_ptr<const FileFingerprints> Fingerprints::find(std::size_t volume,
                                                           std::uint64_t inode) const {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find({volume, inode});
  return found == files_.end() ? nullptr : found->second;
}

}  // namespace bygone::ingest
