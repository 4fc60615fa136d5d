// SPDX-License-Identifier: Apache-2.0
//
// FileReader's second half: what changed since the hot pass, captured and made into pieces.
#include <algorithm>

#include "ingest/file_reader.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::Extent;

// Stays in a processor's cache between its copy and its fingerprint.
constexpr std::size_t kCaptureRead = 256u << 10;

}  // namespace

FileReader::Known FileReader::known(const FileWork& work, bool is_ahead) const {
  return {.base = options_.fingerprints->find(options_.volume, work.entry, work.parent),
          .is_ahead = is_ahead};
}

void FileReader::look_ahead(FileWork& work) {
  Nanoseconds now = 0;
  const auto fd = open(work, now);
  if (!fd) return;
  const Known before = known(work, true);
  if (!before.base && work.entry.size < store::kSmallFile) return;  // captured in no time
  ignore(capture_blocks(work, *fd, before), "the capture will meet it again, and tell");
}

void FileReader::capture(FileWork& work) {
  // Nobody is to stand still for a capture that has failed.
  if (auto loss = options_.spill->loss()) return fail(work, std::move(*loss));
  Nanoseconds now = 0;
  auto fd = open(work, now);
  if (!fd) return fail(work, std::move(fd).error());
  auto xattrs = read_xattrs(*fd, options_.tree);
  if (!xattrs) return fail(work, std::move(xattrs).error());
  work.entry.xattrs = std::move(*xattrs);
  auto captured = capture_blocks(work, *fd, known(work, false));
  if (!captured) return fail(work, std::move(captured).error());
  work.entry.flags = is_racy(work.entry, now) ? store::kRacy : std::uint8_t{0};
  // Nothing writes under a freeze; after a deadline that passed, something may.
  auto after = look_at(*fd);
  if (!after || !same_times(after->entry, work.entry)) {
    work.entry.flags |= store::kRacy | store::kChangedWhileRead;
  }
  work.entry.size = work.captured->size;
}

Result<void> FileReader::capture_blocks(FileWork& work, const Fd& fd, const Known& known) {
  work.captured = std::make_unique<Captured>();
  Captured& captured = *work.captured;
  captured.size = work.entry.size;
  captured.has_base = known.base != nullptr;
  std::uint64_t truncated_at = captured.size, read_to = 0;
  TRY(for_each_segment(fd, captured.size, [&](const Segment& segment) -> Result<bool> {
    // Whole blocks: what of the first and the last is a gap reads as zeros.
    constexpr std::uint64_t kBlock = kFingerprintBlock;
    const std::uint64_t begin = segment.begin / kBlock * kBlock;
    std::uint64_t end = std::min(captured.size, (segment.end + kBlock - 1) / kBlock * kBlock);
    if (segment.kind != Segment::Kind::data) {
      capture_gap(captured, known, segment);
      // A block that gaps share is whole in none of them: it is read, as one shared with data is.
      if (begin == segment.begin || begin < read_to) return true;
      end = std::min(captured.size, begin + kBlock);
    }
    read_to = TRY(capture_range(captured, known, fd, begin, end));
    if (read_to < end) truncated_at = read_to;
    return read_to == end;
  }));
  captured.size = truncated_at;
  return {};
}

// Blocks that lie in the gap whole, and the last one of the file. A gap takes no time to capture: a
// look ahead passes it by.
void FileReader::capture_gap(Captured& captured, const Known& known, const Segment& gap) const {
  if (known.is_ahead) return;
  const auto blocks = [](std::uint64_t bytes) {
    return bytes / kFingerprintBlock + (bytes % kFingerprintBlock != 0 ? 1 : 0);
  };
  const std::uint64_t end =
      gap.end == captured.size ? blocks(gap.end) : gap.end / kFingerprintBlock;
  const std::uint64_t compared =
      known.base ? std::min<std::uint64_t>(end, known.base->blocks()) : 0;
  std::uint64_t block = blocks(gap.begin);
  for (; block < compared; ++block) {
    if (const std::uint64_t same = known.base->zeros_until(block); same > block) {
      block = std::min(same, compared) - 1;
      continue;
    }
    const std::uint64_t length =
        std::min<std::uint64_t>(kFingerprintBlock, captured.size - block * kFingerprintBlock);
    const Fingerprint zeros = length == kFingerprintBlock
                                  ? zeros_
                                  : fingerprint(Bytes(length), options_.fingerprints->seed());
    if (known.base->has(block, zeros)) continue;
    captured.add_gap({.begin = block, .end = block + 1, .kind = gap.kind});
  }
  // No version before this one had them.
  if (block < end) captured.add_gap({.begin = block, .end = end, .kind = gap.kind});
}

// Returns where it ended: before `end` when the file is shorter by now.
Result<std::uint64_t> FileReader::capture_range(Captured& captured, const Known& known,
                                                const Fd& fd, std::uint64_t begin,
                                                std::uint64_t end) {
  thread_local Bytes buffer(kCaptureRead);
  while (begin < end) {
    TRY(check_cancel());
    const std::size_t want =
        static_cast<std::size_t>(std::min<std::uint64_t>(end - begin, buffer.size()));
    std::size_t got = 0;
    while (got < want) {
      const std::size_t n =
          TRY(read_at(fd, MutableByteView(buffer).subspan(got, want - got), begin + got));
      if (n == 0) break;
      got += n;
    }
    if (!known.is_ahead) bytes_read_ += got;
    for (std::size_t at = 0; at < got; at += kFingerprintBlock) {
      TRY(capture_block(captured, known, (begin + at) / kFingerprintBlock,
                        ByteView(buffer).subspan(at, std::min(kFingerprintBlock, got - at))));
    }
    begin += got;
    if (got < want) return begin;
  }
  return end;
}

Result<void> FileReader::capture_block(Captured& captured, const Known& known, std::uint64_t number,
                                       ByteView block) {
  Fingerprints& prints = *options_.fingerprints;
  const Fingerprint print = fingerprint(block, prints.seed());
  if (known.base && known.base->has(number, print)) return {};
  std::uint64_t ticket = prints.kept(print);
  if (ticket == 0) {
    if (known.is_ahead && prints.is_full()) return {};
    ticket = TRY(options_.spill->append(
        block, known.is_ahead ? SealedSpill::Where::file : SealedSpill::Where::memory_first));
    if (known.is_ahead) prints.keep(print, ticket);
  }
  captured.add_block(number, ticket);
  return {};
}

void FileReader::resolve(FileWork& work) {
  if (work.outcome != FileWork::Outcome::waiting) return;  // capture failed
  const bool small =
      work.captured->size < store::kSmallFile && !work.captured->has_gaps() && !work.large;
  auto resolved = small ? resolve_small(work) : resolve_large(work);
  if (!resolved) fail(work, std::move(resolved).error());
  work.captured.reset();
}

Result<void> FileReader::resolve_small(FileWork& work) {
  const Captured& captured = *work.captured;
  Bytes content;
  for (std::uint64_t block = 0; content.size() < captured.size; ++block) {
    const std::uint64_t begin = content.size();
    const std::uint64_t end = std::min(captured.size, begin + kFingerprintBlock);
    const auto* kept = captured.block_from(block);
    const bool is_kept = kept != nullptr && kept->first == block;
    const Bytes bytes =
        TRY(is_kept ? options_.spill->read(kept->second) : base_bytes(*work.parent, begin, end));
    content.insert(content.end(), bytes.begin(), bytes.end());
  }
  take_content(work, std::move(content));
  return {};
}

// What the hot pass stored for [begin, end): its holes stay holes.
Result<void> FileReader::append_base(ContentCutter& cutter, const Entry& base, std::uint64_t begin,
                                     std::uint64_t end) {
  if (base.content == Entry::Content::inline_bytes) {
    cutter.append(TRY(base_bytes(base, begin, end)));
    return {};
  }
  std::vector<std::pair<std::uint64_t, Extent>> extents;
  TRY(trees_.extents(base, begin, end - begin, [&](std::uint64_t at, const Extent& extent) {
    extents.emplace_back(at, extent);
    return true;
  }));
  for (const auto& [at, extent] : extents) {
    const std::uint64_t from = std::max(at, begin);
    const std::uint64_t to = std::min(at + extent.length, end);
    if (extent.kind == Extent::Kind::hole) {
      cutter.hole(to - from);
    } else if (extent.kind == Extent::Kind::zero) {
      cutter.zeros(to - from);
    } else {
      cutter.append(TRY(base_bytes(base, from, to)));
    }
  }
  return {};
}

Result<void> FileReader::append_range(ContentCutter& cutter, FileWork& work, std::uint64_t begin,
                                      std::uint64_t end) {
  const Captured& captured = *work.captured;
  while (begin < end) {
    const std::uint64_t block = begin / kFingerprintBlock;
    const std::uint64_t block_begin = block * kFingerprintBlock;
    std::uint64_t to = std::min(end, block_begin + kFingerprintBlock);
    const auto* kept = captured.block_from(block);
    const Captured::Gap* gap = captured.gap_from(block);
    if (kept != nullptr && kept->first == block) {
      const Bytes bytes = TRY(options_.spill->read(kept->second));
      cutter.append(ByteView(bytes).subspan(begin - block_begin, to - begin));
    } else if (gap != nullptr && gap->begin <= block) {
      if (gap->kind == Segment::Kind::hole) {
        cutter.hole(to - begin);
      } else {
        cutter.zeros(to - begin);
      }
    } else {
      // As far as the hot pass's version goes on, in reads of a bearable size.
      to = std::min(end, block_begin + kCaptureRead);
      if (kept != nullptr) to = std::min(to, kept->first * kFingerprintBlock);
      if (gap != nullptr) to = std::min(to, gap->begin * kFingerprintBlock);
      TRY(append_base(cutter, *work.parent, begin, to));
    }
    begin = to;
  }
  return {};
}

// Extents of the hot pass that no changed block touches are kept; what lies between is cut anew.
Result<void> FileReader::resolve_large(FileWork& work) {
  const Captured& captured = *work.captured;
  ContentCutter cutter(session_.repository().keys(), jobs_, options_.volume_tag, captured.size);
  cutter.follow(ParentExtents::of(trees_, work.parent), trials_);
  std::vector<std::pair<std::uint64_t, Extent>> base;
  if (captured.has_base) {
    TRY(trees_.extents(*work.parent, 0, captured.size, [&](std::uint64_t at, const Extent& extent) {
      base.emplace_back(at, extent);
      return true;
    }));
  }
  std::uint64_t done = 0;
  for (const auto& [at, extent] : base) {
    const std::uint64_t end = at + extent.length;
    if (end > captured.size ||
        !captured.is_clean(at / kFingerprintBlock, (end - 1) / kFingerprintBlock)) {
      continue;
    }
    TRY(append_range(cutter, work, done, at));
    cutter.keep(extent);
    done = end;
  }
  TRY(append_range(cutter, work, done, captured.size));
  work.pieces = cutter.finish();
  work.entry.size = captured.size;
  work.outcome = FileWork::Outcome::pieces;
  return {};
}

}  // namespace bygone::ingest
