// SPDX-License-Identifier: Apache-2.0
//
// Fingerprints of what the hot pass read: a seeded 128-bit XXH3 for each 16 KiB block of each
// file, a page of most databases, so that the pass under the freeze can tell, at the speed of
// memory, which blocks changed. Fingerprints is callable from any thread; a Fingerprinter is not.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "store/base/bytes.h"
#include "store/node.h"

namespace bygone::ingest {

inline constexpr std::size_t kFingerprintBlock = 16u << 10;

struct Fingerprint {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// Of one block of at most kFingerprintBlock bytes; `seed` is secret to this backup, so that nobody
// inside a container can make two blocks that look alike.
[[nodiscard]] Fingerprint fingerprint(ByteView block, std::uint64_t seed);

// Blocks in file order; the last may be short. Holes count as zeros.
struct FileFingerprints {
  std::uint64_t size = 0;
  bool is_complete = true;  // else there are none: it has too many blocks
  std::vector<Fingerprint> blocks;

  [[nodiscard]] bool has(std::uint64_t block, const Fingerprint& print) const {
    return block < blocks.size() && blocks[block] == print;
  }
};

// Gathers the fingerprints of one file while it is read from its beginning.
class Fingerprinter {
 public:
  // A terabyte. They would take more memory than a backup may.
  static constexpr std::uint64_t kMostBlocks = 1ULL << 26U;

  explicit Fingerprinter(std::uint64_t seed) : seed_(seed) {}
  void data(ByteView bytes);
  void zeros(std::uint64_t length);
  [[nodiscard]] FileFingerprints finish();

 private:
  void end_block();
  bool give_up(std::uint64_t length);
  std::uint64_t seed_;
  Bytes block_;
  FileFingerprints result_;
};

class Fingerprints {
 public:
  Fingerprints();
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  // Those of one reading of the file that `entry` is of.
  void put(std::size_t volume, const store::Entry& entry, FileFingerprints prints);
  // Those of the reading that gave `hot` its content, where the file that is `now` in its place is
  // the same one. Nothing (nullptr) where that is not sure: a file that was renamed or linked
  // meanwhile may have been read under two names, and nobody knows which reading is which.
  [[nodiscard]] std::shared_ptr<const FileFingerprints> find(
      std::size_t volume, const store::Entry& now, const std::optional<store::Entry>& hot) const;

  // Where the bytes of a block are kept, whatever file it is in: a look ahead has captured them.
  void keep(const Fingerprint& print, std::uint64_t ticket);
  // 0: nowhere.
  [[nodiscard]] std::uint64_t kept(const Fingerprint& print) const;
  // Whether there is no room for more.
  [[nodiscard]] bool is_full() const;

 private:
  struct Key {
    std::size_t volume;
    std::uint64_t inode;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return std::hash<std::uint64_t>()(key.inode * 31 + key.volume);
    }
  };
  struct PrintHash {
    std::size_t operator()(const Fingerprint& print) const { return print.low; }
  };
  std::uint64_t seed_;
  mutable std::mutex mutex_;  // guards all below
  // nullptr: it was read more than once.
  std::unordered_map<Key, std::shared_ptr<const FileFingerprints>, KeyHash> files_;
  std::unordered_map<Fingerprint, std::uint64_t, PrintHash> kept_;
};

}  // namespace bygone::ingest
