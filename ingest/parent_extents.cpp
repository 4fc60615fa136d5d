// SPDX-License-Identifier: Apache-2.0
#include "ingest/parent_extents.h"

#include <algorithm>

#include "store/base/log.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::Extent;

constexpr std::uint64_t kBehind = 32u << 20;
constexpr std::uint64_t kAhead = 64u << 20;
// So much is always known ahead: what from() gives with a few pieces of kMaxChunk.
constexpr std::uint64_t kReserve = 16u << 20;

}  // namespace

std::unique_ptr<ParentExtents> ParentExtents::of(store::TreeReader& trees,
                                                 const std::optional<Entry>& parent) {
  const bool usable = parent && parent->type == store::FileType::regular &&
                      (parent->content == Entry::Content::extents ||
                       parent->content == Entry::Content::extent_node) &&
                      parent->size > 0;
  if (!usable) return nullptr;
  return std::unique_ptr<ParentExtents>(new ParentExtents(trees, *parent));
}

void ParentExtents::load(std::uint64_t offset) {
  offset = std::min(offset, file_.size - 1);
  const bool ahead = end_ == file_.size || offset + kReserve <= end_;
  if (loaded_ && begin_ <= offset && ahead) return;
  loaded_ = true;
  begin_ = offset - std::min(offset, kBehind);
  end_ = std::min(file_.size, offset + kAhead);
  pieces_.clear();
  covered_.clear();
  places_.clear();
  // The extent behind the window tells whether data follows the last one in it.
  const std::uint64_t length = std::min(end_ + store::kMaxChunk, file_.size) - begin_;
  std::uint64_t data_end = 0;
  const auto read =
      trees_.extents(file_, begin_, length, [&](std::uint64_t at, const Extent& extent) {
        if (extent.kind != Extent::Kind::data) return true;
        if (!pieces_.empty() && pieces_.back().begin + pieces_.back().length == at) {
          pieces_.back().followed = true;
        }
        data_end = at + extent.length;
        covered_.push_back({at, data_end, extent.chunk});
        if (extent.offset == 0) {
          pieces_.push_back({at, extent.length, extent.chunk, false});
          places_.emplace(extent.chunk, at);
        }
        return true;
      });
  if (read) return;
  log::warning(read.error().message + ": a changed file is stored without its previous version");
  pieces_.clear();
  covered_.clear();
  places_.clear();
  begin_ = 0;
  end_ = file_.size;
}

std::vector<ParentExtents::Piece>::const_iterator ParentExtents::at_or_behind(
    std::uint64_t offset) {
  load(offset);
  return std::lower_bound(pieces_.begin(), pieces_.end(), offset,
                          [](const Piece& piece, std::uint64_t at) { return piece.begin < at; });
}

std::span<const ParentExtents::Piece> ParentExtents::from(std::uint64_t offset, std::size_t most) {
  if (offset >= file_.size) return {};
  const auto first = at_or_behind(offset);
  if (first == pieces_.end() || first->begin != offset) return {};
  auto last = first;
  while (static_cast<std::size_t>(last - first) < most && std::next(last) != pieces_.end() &&
         last->begin + last->length == std::next(last)->begin) {
    ++last;
  }
  return {first, std::next(last)};
}

std::optional<std::uint64_t> ParentExtents::next_begin(std::uint64_t offset) {
  const auto next = at_or_behind(offset);
  if (next == pieces_.end()) return std::nullopt;
  return next->begin;
}

std::optional<ChunkId> ParentExtents::covering(std::uint64_t offset) {
  load(offset);
  const auto after =
      std::upper_bound(covered_.begin(), covered_.end(), offset,
                       [](std::uint64_t at, const Covered& run) { return at < run.begin; });
  if (after == covered_.begin()) return std::nullopt;
  const Covered& run = *std::prev(after);
  const bool last = run.end == file_.size;
  if (offset < run.end || last) return run.chunk;
  return std::nullopt;
}

std::optional<std::uint64_t> ParentExtents::find(const ChunkId& chunk, std::uint64_t offset) {
  load(offset);
  const auto found = places_.find(chunk);
  if (found == places_.end()) return std::nullopt;
  return found->second;
}

}  // namespace bygone::ingest
