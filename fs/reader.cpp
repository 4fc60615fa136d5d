// SPDX-License-Identifier: Apache-2.0
#include "fs/reader.h"

#include <algorithm>
#include <array>

#include "store/base/signals.h"

namespace bygone::fs {
namespace {

using store::Entry;
using store::Extent;

constexpr std::size_t kStreams = 256;           // files whose reading order is remembered
constexpr std::size_t kMostWanted = 64;         // chunks that wait to be decoded in advance
constexpr std::uint64_t kFirstRead = 64 << 10;  // a first read this large begins a sequence
// The kernel sends neighbouring reads from several threads: they arrive a little out of order.
constexpr std::uint64_t kDisorder = 2 << 20;

const std::array<std::uint8_t, 64 << 10> kZeros{};

Error not_covered() {
  return Error{Code::corrupt, 0, "the extents of the file do not add up to its size"};
}

// Whether the bytes are there at all.
Result<void> check_captured(const Entry& file) {
  if ((file.flags & store::kUnreadable) != 0 ||
      (file.content == Entry::Content::none && file.size != 0)) {
    return Error{Code::io, 0, "the file could not be read when it was captured"};
  }
  return {};
}

}  // namespace

Reader::Reader(store::TreeReader& trees, store::ChunkSource& chunks, ReaderOptions options)
    : trees_(trees), options_(options), cache_(chunks, options.cache_bytes), streams_(kStreams) {
  const SignalsBlocked blocked;
  for (unsigned i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
}

Reader::~Reader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Result<std::vector<Piece>> Reader::read(std::uint64_t stream, const EntryPtr& file,
                                        std::uint64_t offset, std::uint64_t size) {
  std::vector<Piece> out;
  if (offset >= file->size || size == 0) return out;
  size = std::min(size, file->size - offset);
  TRY(check_captured(*file));
  if (file->content == Entry::Content::inline_bytes) {
    if (file->inline_bytes.size() != file->size) return not_covered();
    out.push_back({file, ByteView(file->inline_bytes).subspan(offset, size)});
    return out;
  }
  read_ahead(stream, *file, offset, size);
  std::uint64_t at = offset;
  const std::uint64_t end = offset + size;
  Result<void> outcome;
  TRY(trees_.extents(*file, offset, size, [&](std::uint64_t base, const Extent& extent) {
    const std::uint64_t stop = std::min(end, base + extent.length);
    if (base > at || stop <= at) {
      outcome = not_covered();
    } else {
      outcome = append(extent, at - base, stop - at, out);
      at = stop;
    }
    return outcome.ok() && at < end;
  }));
  TRY(std::move(outcome));
  if (at != end) return not_covered();
  return out;
}

Result<void> Reader::append(const Extent& extent, std::uint64_t skip, std::uint64_t length,
                            std::vector<Piece>& out) {
  if (extent.kind != Extent::Kind::data) {
    while (length > 0) {
      const std::uint64_t run = std::min<std::uint64_t>(length, kZeros.size());
      out.push_back({nullptr, ByteView(kZeros).first(run)});
      length -= run;
    }
    return {};
  }
  BytesPtr chunk = TRY(cache_.get(extent.chunk));
  const std::uint64_t from = extent.offset + skip;
  if (from + length > chunk->size()) return not_covered();
  const ByteView bytes = ByteView(*chunk).subspan(from, length);
  out.push_back({std::move(chunk), bytes});
  return {};
}

void Reader::read_ahead(std::uint64_t stream, const Entry& file, std::uint64_t offset,
                        std::uint64_t size) {
  if (threads_.empty() || file.size <= kFirstRead) return;
  auto known = streams_.find(stream);
  const auto state = known ? *known : std::make_shared<Stream>();
  if (!known) streams_.insert(stream, state, 1);
  std::uint64_t from = 0, to = 0;
  {
    const std::lock_guard lock(state->mutex);
    const bool begins = offset == 0 && size >= kFirstRead;
    const bool goes_on =
        state->next != 0 && offset + kDisorder >= state->next && offset <= state->next + kDisorder;
    if (begins && !goes_on) state->ahead = 0;
    state->next = goes_on ? std::max(state->next, offset + size) : offset + size;
    if (!begins && !goes_on) {
      state->ahead = 0;
      return;
    }
    from = std::max(state->next, state->ahead);
    to = std::min(file.size, state->next + options_.read_ahead_bytes);
    // In steps, so that extents are not looked up for every small read.
    if (from >= to || (to < file.size && to - from < options_.read_ahead_bytes / 4)) return;
    state->ahead = to;
  }
  fetch_soon(file, from, to);
}

void Reader::fetch_soon(const Entry& file, std::uint64_t from, std::uint64_t to) {
  std::vector<ChunkId> ids;
  ignore(trees_.extents(file, from, to - from,
                        [&](std::uint64_t, const Extent& extent) {
                          const bool wanted = extent.kind == Extent::Kind::data &&
                                              (ids.empty() || ids.back() != extent.chunk) &&
                                              !cache_.is_near(extent.chunk);
                          if (wanted) ids.push_back(extent.chunk);
                          return ids.size() < kMostWanted;
                        }),
         "whoever reads there will be told");
  {
    const std::lock_guard lock(mutex_);
    for (const ChunkId& id : ids) {
      if (wanted_.size() < kMostWanted) wanted_.push_back(id);
    }
  }
  wake_.notify_all();
}

void Reader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !wanted_.empty(); });
    if (stop_) return;
    const ChunkId id = wanted_.front();
    wanted_.pop_front();
    lock.unlock();
    ignore(cache_.get(id), "whoever reads it will be told");
    lock.lock();
  }
}

Result<std::optional<std::uint64_t>> Reader::next_data(const Entry& file, std::uint64_t offset) {
  std::optional<std::uint64_t> found;
  if (offset >= file.size) return found;
  if (file.content != Entry::Content::extents && file.content != Entry::Content::extent_node) {
    return std::optional<std::uint64_t>(offset);
  }
  TRY(trees_.extents(file, offset, file.size - offset,
                     [&](std::uint64_t base, const Extent& extent) {
                       if (extent.kind == Extent::Kind::hole) return true;
                       found = std::max(base, offset);
                       return false;
                     }));
  return found;
}

Result<std::optional<std::uint64_t>> Reader::next_hole(const Entry& file, std::uint64_t offset) {
  std::optional<std::uint64_t> found;
  if (offset >= file.size) return found;
  TRY(trees_.extents(file, offset, file.size - offset,
                     [&](std::uint64_t base, const Extent& extent) {
                       if (extent.kind != Extent::Kind::hole) return true;
                       found = std::max(base, offset);
                       return false;
                     }));
  if (!found) found = file.size;
  return found;
}

}  // namespace bygone::fs
