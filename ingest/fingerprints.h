// SPDX-License-Identifier: Apache-2.0
//
// Fingerprints of what the hot pass read: a seeded 128-bit XXH3 for each 16 KiB block of each
// file, a page of most databases, so that the pass under the freeze can tell, at the speed of
// memory, which blocks changed. The only includer of xxhash. Fingerprints is callable from any
// thread; a Fingerprinter is not.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
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
  std::uint64_t size = 0;  // of what the hot pass read, and
  store::Timestamp ctime;  // of the file then
  std::vector<Fingerprint> blocks;
  // Of blocks that a look ahead has captured, and whose fingerprint is of that: where their bytes
  // are in the spill. 0, or beyond its end: as the hot pass read it.
  std::vector<std::uint64_t> tickets;

  // Whether they are of what that entry of the hot pass has: a file that was renamed meanwhile may
  // have been read under both names, and has fingerprints of the second time.
  [[nodiscard]] bool is_of(const store::Entry& entry) const {
    return entry.type == store::FileType::regular && entry.size == size && entry.ctime == ctime;
  }
  // Whether the file had these bytes there when it was last looked at.
  [[nodiscard]] bool has(std::uint64_t block, const Fingerprint& print) const {
    return block < blocks.size() && blocks[block] == print;
  }
  [[nodiscard]] std::uint64_t ticket(std::uint64_t block) const {
    return block < tickets.size() ? tickets[block] : 0;
  }
  void capture(std::uint64_t block, const Fingerprint& print, std::uint64_t ticket) {
    if (block >= blocks.size()) blocks.resize(block + 1);  // no block has an empty fingerprint
    if (block >= tickets.size()) tickets.resize(block + 1);
    blocks[block] = print;
    tickets[block] = ticket;
  }
};

// Gathers the fingerprints of one file while it is read from its beginning.
class Fingerprinter {
 public:
  explicit Fingerprinter(std::uint64_t seed) : seed_(seed) {}
  void data(ByteView bytes);
  void zeros(std::uint64_t length);
  [[nodiscard]] FileFingerprints finish();

 private:
  void end_block();
  std::uint64_t seed_;
  Bytes block_;
  FileFingerprints result_;
};

class Fingerprints {
 public:
  Fingerprints();
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  // Those of what was read as `entry`.
  void put(std::size_t volume, const store::Entry& entry, FileFingerprints prints);
  // Those that find() gave, with what was captured since.
  void update(std::size_t volume, std::uint64_t inode, FileFingerprints prints);
  // Nothing (nullptr) for a file that the hot pass did not read.
  [[nodiscard]] std::shared_ptr<const FileFingerprints> find(std::size_t volume,
                                                             std::uint64_t inode) const;

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
  std::uint64_t seed_;
  mutable std::mutex mutex_;
  std::unordered_map<Key, std::shared_ptr<const FileFingerprints>, KeyHash> files_;
};

}  // namespace bygone::ingest
