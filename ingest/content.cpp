// SPDX-License-Identifier: Apache-2.0
#include "ingest/content.h"

#include <algorithm>
#include <cstring>

#include "store/chunker.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Extent;
using store::kMaxChunk;
using store::kZeroAlign;
using store::kZeroRun;

constexpr std::size_t kReadAtOnce = 1u << 20;
constexpr std::size_t kLookAhead = 4;  // chunks of the parent behind one that changed
constexpr std::size_t kLookAheadBytes = 3u << 20;
constexpr unsigned kMostUntried = 64;  // chunks of a rewritten file between two tries of a delta

bool is_zero(ByteView block) {
  return block[0] == 0 && std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
}

// Whether a chunk of the parent can be here too. Behind the last one of a run of data the content
// ended; taken where it goes on, it would leave a short chunk for every growth of a log.
bool fits(const ParentExtents::Piece& piece, std::size_t available, bool flush) {
  if (piece.followed) return piece.length <= available;
  return flush && piece.length == available;
}

}  // namespace

ContentCutter::ContentCutter(const store::KeyRing& keys, ChunkJobs& jobs, std::uint64_t volume_tag,
                             std::uint64_t expected_size)
    : keys_(keys),
      jobs_(jobs),
      volume_tag_(volume_tag),
      // One byte more than the file: the read that finds its end needs room as well.
      capacity_(std::clamp<std::size_t>(expected_size + 1, 2 * kZeroAlign, kPooledBuffer)) {}

void ContentCutter::new_buffer(std::size_t keep_from) {
  // Chunks under way share the old buffer: what is not cut yet moves to a new one. File offsets
  // stay aligned with it, so that blocks of zeros are found where they begin.
  const std::size_t tail = end_ - keep_from;
  if (tail * 2 > capacity_) capacity_ = kPooledBuffer;
  auto fresh = jobs_.buffer(capacity_);
  if (tail > 0) std::memcpy(fresh->data(), buffer_->data() + keep_from, tail);
  base_ += keep_from;
  begin_ -= keep_from;
  scanned_ -= keep_from;
  end_ = tail;
  buffer_ = std::move(fresh);
}

MutableByteView ContentCutter::room() {
  if (!buffer_ || end_ == buffer_->size()) new_buffer(buffer_ ? begin_ : 0);
  return MutableByteView(*buffer_).subspan(end_, std::min(buffer_->size() - end_, kReadAtOnce));
}

void ContentCutter::advance(std::size_t n) {
  end_ += n;
  find_zeros(false);
  if (!in_zeros_) cut(scanned_ - zero_run_, false);
}

void ContentCutter::append(ByteView data) {
  while (!data.empty()) {
    const MutableByteView space = room();
    const std::size_t n = std::min(space.size(), data.size());
    std::copy_n(data.begin(), n, space.begin());
    advance(n);
    data = data.subspan(n);
  }
}

// Moves scanned_ over whole aligned blocks (the last one of the run may be shorter), turning runs
// of kZeroRun zeros and more into `zero` extents.
void ContentCutter::find_zeros(bool at_end) {
  while (scanned_ < end_) {
    const std::size_t to_boundary =
        kZeroAlign - static_cast<std::size_t>((base_ + scanned_) % kZeroAlign);
    const std::size_t size = std::min(to_boundary, end_ - scanned_);
    if (size < to_boundary && !at_end) return;
    // A block that begins in the middle, after a kept extent, is data whatever it holds.
    const bool aligned = (base_ + scanned_) % kZeroAlign == 0;
    const bool zero = aligned && is_zero(ByteView(*buffer_).subspan(scanned_, size));
    scanned_ += size;
    if (in_zeros_) {
      if (zero) {
        zeros_ += size;
        begin_ = scanned_;
      } else {
        end_zeros();
      }
    } else if (!zero) {
      zero_run_ = 0;
    } else if ((zero_run_ += size) >= kZeroRun) {
      cut(scanned_ - zero_run_, true);
      zeros_ = zero_run_;
      zero_run_ = 0;
      in_zeros_ = true;
      begin_ = scanned_;
    }
  }
}

// Cuts chunks from the run [begin_, end): all of it with `flush`, else while a cut is certain.
void ContentCutter::cut(std::size_t end, bool flush) {
  while (begin_ < end && (flush || end - begin_ >= kMaxChunk)) {
    const Predicted predicted = parent_ ? cut_as_before(end, flush) : Predicted::nothing;
    if (predicted == Predicted::wants_more) return;
    if (predicted == Predicted::nothing) cut_by_content(end);
  }
}

// Takes the parent's chunk that began here, when it is here again or has merely changed: then its
// end still looks like one, or that of one of the next chunks does. What changed, the jobs find
// out: every hash here is one core's work for the whole file.
ContentCutter::Predicted ContentCutter::cut_as_before(std::size_t end, bool flush) {
  const std::int64_t at = static_cast<std::int64_t>(base_ + begin_) + shift_;
  if (at < 0) return Predicted::nothing;
  const auto pieces = parent_->from(static_cast<std::uint64_t>(at), kLookAhead);
  const std::size_t available = end - begin_;
  if (pieces.empty() || !fits(pieces.front(), available, flush)) return Predicted::nothing;
  std::size_t size = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    // Never farther, were it at hand: cuts do not depend on how much is read at once.
    const std::size_t wanted = size + static_cast<std::size_t>(pieces[i].length);
    if (wanted > kLookAheadBytes) break;
    if (!fits(pieces[i], available - size, flush)) {
      if (!flush && wanted > available) return Predicted::wants_more;
      break;
    }
    size += static_cast<std::size_t>(pieces[i].length);
    if (!ends_like_chunk(size)) continue;
    for (const ParentExtents::Piece& piece : pieces.first(i + 1)) {
      put(static_cast<std::size_t>(piece.length),
          {.id = {}, .predecessor = piece.chunk, .trials = trials_});
    }
    return Predicted::taken;
  }
  // The longest chunks, and the last of a run of data, end where nothing shows it.
  const ParentExtents::Piece& front = pieces.front();
  size = static_cast<std::size_t>(front.length);
  if (hash(begin_, size) != front.chunk) return Predicted::nothing;
  put(size, {.id = front.chunk, .predecessor = {}, .trials = {}});
  return Predicted::taken;
}

void ContentCutter::cut_by_content(std::size_t end) {
  std::size_t size = store::next_cut(
      keys_.gear_table(), ByteView(*buffer_).subspan(begin_, end - begin_), base_ + begin_);
  if (!parent_) return put(size, {});
  size = cut_of_parent_within(size);
  const std::int64_t here = static_cast<std::int64_t>(base_ + begin_);
  const std::uint64_t before = static_cast<std::uint64_t>(std::max<std::int64_t>(here + shift_, 0));
  const ChunkId id = hash(begin_, size);
  if (const auto found = parent_->find(id, before)) {
    shift_ = static_cast<std::int64_t>(*found) - here;
    return put(size, {.id = id, .predecessor = {}, .trials = {}});
  }
  // By its middle: where a row became shorter, the first byte still falls into the chunk before.
  put(size, {.id = id, .predecessor = parent_->covering(before + size / 2), .trials = trials_});
}

// Where what was rewritten ends within a file, the parent's cuts are ahead: the first of them that
// shows is taken, or chunk after chunk would miss them by what lies between.
std::size_t ContentCutter::cut_of_parent_within(std::size_t size) {
  const std::int64_t at = static_cast<std::int64_t>(base_ + begin_) + shift_;
  if (at < 0) return size;
  const std::uint64_t here = static_cast<std::uint64_t>(at);
  auto begin = parent_->next_begin(here + store::kMinChunk);
  while (begin && *begin - here < size) {
    const std::size_t before = static_cast<std::size_t>(*begin - here);
    if (ends_like_chunk(before)) return before;
    begin = parent_->next_begin(*begin + 1);
  }
  return size;
}

void ContentCutter::put(std::size_t size, store::ChunkHint hint) {
  pieces_.push_back(
      {.extent = {.kind = Extent::Kind::data, .length = size, .offset = 0, .chunk = {}},
       .pending = jobs_.put(buffer_, begin_, size, volume_tag_, std::move(hint))});
  begin_ += size;
}

ChunkId ContentCutter::hash(std::size_t offset, std::size_t size) {
  const std::uint64_t at = base_ + offset;
  if (hashed_size_ != size || hashed_at_ != at) {
    hashed_ = keys_.chunk_id(store::ChunkKind::data, ByteView(*buffer_).subspan(offset, size));
    hashed_at_ = at;
    hashed_size_ = size;
  }
  return hashed_;
}

bool ContentCutter::ends_like_chunk(std::size_t size) const {
  return store::ends_like_chunk(keys_.gear_table(), ByteView(*buffer_).subspan(begin_, size));
}

void ContentCutter::follow(std::unique_ptr<ParentExtents> parent,
                           std::shared_ptr<store::DeltaTrials> trials) {
  parent_ = std::move(parent);
  if (parent_) trials_ = std::make_shared<store::DeltaTrials>(kMostUntried, std::move(trials));
}

void ContentCutter::end_zeros() {
  if (!in_zeros_) return;
  in_zeros_ = false;
  pieces_.push_back(
      {.extent = {.kind = Extent::Kind::zero, .length = zeros_, .offset = 0, .chunk = {}},
       .pending = nullptr});
  zeros_ = 0;
}

void ContentCutter::end_run() {
  find_zeros(true);
  if (in_zeros_) {
    end_zeros();
  } else {
    cut(end_, true);
  }
  zero_run_ = 0;
  base_ += end_;
  begin_ = scanned_ = end_ = 0;
  buffer_.reset();
}

void ContentCutter::gap(Extent::Kind kind, std::uint64_t length) {
  if (length == 0) return;
  end_run();
  base_ += length;
  if (!pieces_.empty() && pieces_.back().extent.kind == kind) {
    pieces_.back().extent.length += length;
    return;
  }
  pieces_.push_back(
      {.extent = {.kind = kind, .length = length, .offset = 0, .chunk = {}}, .pending = nullptr});
}

void ContentCutter::hole(std::uint64_t length) { gap(Extent::Kind::hole, length); }
void ContentCutter::zeros(std::uint64_t length) { gap(Extent::Kind::zero, length); }

void ContentCutter::keep(const Extent& extent) {
  end_run();
  base_ += extent.length;
  shift_ = 0;
  pieces_.push_back({.extent = extent, .pending = nullptr});
}

std::vector<Piece> ContentCutter::finish() {
  end_run();
  return std::move(pieces_);
}

}  // namespace bygone::ingest
