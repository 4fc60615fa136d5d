// SPDX-License-Identifier: Apache-2.0
//
// Fingerprints of what the hot pass read: a seeded 128-bit XXH3 for each 16 KiB block of each
// file, a page of most databases, so that the pass under the freeze can tell, at the speed of
// memory, which blocks changed. Fingerprints is callable from any thread; a Fingerprinter is not.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
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

class Fingerprints;

// Memory that is taken of what all fingerprints of a backup may have, until it ends.
class FingerprintRoom {
 public:
  // The names of files have the last eighth for themselves: a large file must not make those after
  // it unknown.
  enum class For { prints, names };
  FingerprintRoom() = default;
  explicit FingerprintRoom(Fingerprints& owner, For what = For::prints)
      : owner_(&owner), for_(what) {}
  FingerprintRoom(FingerprintRoom&& other) noexcept
      : owner_(other.owner_), for_(other.for_), bytes_(std::exchange(other.bytes_, 0)) {}
  FingerprintRoom& operator=(FingerprintRoom&& other) noexcept;
  FingerprintRoom(const FingerprintRoom&) = delete;
  FingerprintRoom& operator=(const FingerprintRoom&) = delete;
  ~FingerprintRoom() { give_back(); }
  // Takes `bytes` more; false when there are not as many.
  [[nodiscard]] bool take(std::uint64_t bytes);
  void give_back();

 private:
  Fingerprints* owner_ = nullptr;
  For for_ = For::prints;
  std::uint64_t bytes_ = 0;
};

// Blocks in file order; the last may be short. Holes count as zeros, and long runs of them take no
// room: a file of a terabyte costs nothing to whoever makes one. Ends before the Fingerprints.
class FileFingerprints {
 public:
  FileFingerprints() = default;
  explicit FileFingerprints(Fingerprints& owner) : room_(owner) {}

  [[nodiscard]] std::uint64_t size() const { return size_; }  // of the file, in bytes
  // Whether all blocks have one; else there was no room for more than the first blocks().
  [[nodiscard]] bool is_complete() const { return is_complete_; }
  [[nodiscard]] std::uint64_t blocks() const { return prints_.size() + zeros_; }
  // Never of a block from blocks() on, whatever it holds.
  [[nodiscard]] bool has(std::uint64_t block, const Fingerprint& print) const;
  // Where a run of whole blocks of zeros ends that `block` is in; `block` when it is in none that
  // is known.
  [[nodiscard]] std::uint64_t zeros_until(std::uint64_t block) const;

 private:
  friend class Fingerprinter;
  struct Run {
    std::uint64_t begin = 0, end = 0;
    std::uint64_t zeros = 0;  // blocks of this and all runs before
  };
  [[nodiscard]] const Run* run_before(std::uint64_t block) const;
  void add(const Fingerprint& print);
  void add_zeros(std::uint64_t count, const Fingerprint& print);

  std::uint64_t size_ = 0;
  bool is_complete_ = true;
  std::vector<Fingerprint> prints_;  // of the blocks that are in no run
  std::vector<Run> runs_;
  std::uint64_t zeros_ = 0;  // blocks in runs
  Fingerprint zero_;         // of each of them
  FingerprintRoom room_;
};

// Gathers the fingerprints of one file while it is read from its beginning.
class Fingerprinter {
 public:
  explicit Fingerprinter(Fingerprints& owner);
  void data(ByteView bytes);
  void zeros(std::uint64_t length);
  [[nodiscard]] FileFingerprints finish();

 private:
  void end_block();
  std::uint64_t seed_;
  Fingerprint zero_;
  Bytes block_;
  FileFingerprints result_;
};

class Fingerprints {
 public:
  // Of the first 120 GiB and more that are no holes; of 800 GiB.
  static constexpr std::uint64_t kLeastMemory = 160u << 20;
  static constexpr std::uint64_t kMostMemory = 1u << 30;
  // For one of `share` backups at once, of a process that may use `usable` bytes in all.
  [[nodiscard]] static std::uint64_t memory_for(std::uint64_t usable, std::size_t share);

  explicit Fingerprints(std::uint64_t most_memory = kLeastMemory);
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  // That of a whole block of zeros.
  [[nodiscard]] const Fingerprint& zeros() const { return zeros_; }
  // Bytes that the fingerprints of files take, those still being gathered included.
  [[nodiscard]] std::uint64_t memory() const { return memory_; }
  // Those of one reading of the file that `entry` is of. What there is no room for counts as
  // changed.
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
  friend class FingerprintRoom;
  std::uint64_t seed_;
  Fingerprint zeros_;
  const std::uint64_t most_memory_;
  std::atomic<std::uint64_t> memory_{0};
  mutable std::mutex mutex_;  // guards all below
  // What files_ takes beside the fingerprints.
  FingerprintRoom names_{*this, FingerprintRoom::For::names};
  // Of small files, and of all: one was left out, so that nobody knows of a later one whether it
  // is read for the first time.
  bool small_are_closed_ = false;
  bool is_closed_ = false;
  // nullptr: it was read more than once.
  std::unordered_map<Key, std::shared_ptr<const FileFingerprints>, KeyHash> files_;
  std::unordered_map<Fingerprint, std::uint64_t, PrintHash> kept_;
};

}  // namespace bygone::ingest
