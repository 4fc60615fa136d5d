// SPDX-License-Identifier: Apache-2.0
//
// Deltas: which older record a new chunk may be stored as the difference to, and the making of it.
// The rules are a pure function of the records that are there, never of what the index says alone;
// session.h finds those records and writes the result. Callable from any thread. FORMAT.md section
// 5.4.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "store/compress.h"
#include "store/record.h"

namespace bygone::store {

// One record of a chain of deltas, and where it can be read.
struct Link {
  Record record;
  std::shared_ptr<const RecordReader> pack;
  std::uint32_t slot = 0;
};
// A chunk's record, that of its base, and so on to a plain one. Empty: it does not count as stored.
using Chain = std::vector<Link>;
// A record that holds the chunk and counts as stored, nothing when there is none.
using FindLink = std::function<Result<std::optional<Link>>(const ChunkId&)>;

// Follows the bases of `id` to a plain record. Empty when one of them is not found, or when none of
// kMaxDeltaDepth + 1 records is plain (two sessions can make deltas on each other's chunks).
// Errors: those of `find`.
[[nodiscard]] Result<Chain> follow_chain(const ChunkId& id, const FindLink& find);

// One way to store a chunk: on the record `base` of its predecessor's chain, when the delta takes
// at most `limit` bytes.
struct DeltaPlan {
  std::size_t base = 0;
  std::uint8_t depth = 0;
  std::uint16_t n = 0;
  std::size_t limit = 0;
  friend bool operator==(const DeltaPlan&, const DeltaPlan&) = default;
};

// What may be tried for the chunk `id` of a volume, given the records of its predecessor's chain,
// in this order; when nothing fits, or the list is empty, the chunk is to be stored plain. Never
// deeper than two, never across volumes, never on itself.
[[nodiscard]] std::vector<DeltaPlan> plan_deltas(const ChunkId& id, std::uint64_t volume_tag,
                                                 const std::vector<Record>& chain);

// Makes a delta of `raw`, whose id and volume tag stand in `record`, by the first plan that fits:
// the stored bytes go to `out`, and base, depth, n, codec and stored size to `record`. False when
// none fits, or when a base cannot be read (which is logged). Errors: corrupt when the delta does
// not give `raw` back: a fault of memory or compressor.
[[nodiscard]] Result<bool> make_delta(const Chain& chain, ByteView raw, Compressor& compressor,
                                      Record& record, Bytes& out);

// Whether one more try is worth its time: after every delta that came to nothing twice as many
// chunks go by untried, up to a limit, until one succeeds. Where nothing is known yet the wider
// one is asked: the trials of a file are within those of its volume. Callable from any thread.
class DeltaTrials {
 public:
  explicit DeltaTrials(unsigned most_untried, std::shared_ptr<DeltaTrials> wider = nullptr)
      : most_untried_(most_untried), wider_(std::move(wider)) {}
  [[nodiscard]] bool next();
  void note(bool worth_it);

 private:
  const unsigned most_untried_;
  const std::shared_ptr<DeltaTrials> wider_;
  std::mutex mutex_;
  unsigned pause_ = 0;
  unsigned left_ = 0;   // chunks of the pause that have not gone by
  bool known_ = false;  // a try has ended
};

// What whoever cut a chunk knows about it.
struct ChunkHint {
  std::optional<ChunkId> id;           // its bytes were hashed already
  std::optional<ChunkId> predecessor;  // what stood in its place before
  std::shared_ptr<DeltaTrials> trials;
};

}  // namespace bygone::store
