// SPDX-License-Identifier: Apache-2.0
#include "ingest/tar_pass.h"

#include <algorithm>
#include <utility>

#include "ingest/kept_check.h"
#include "ingest/link_patch.h"
#include "store/base/log.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;

Error cut_short(const FileWork& work) {
  return {Code::invalid, 0,
          "the archive cannot be believed: " + printable(work.path) +
              " has less content than its size"};
}

// Calls `data` and `hole` with what a file consists of, in order, all of its size.
template <class Data, class Hole>
Result<void> for_each_block(const FileWork& work, TreeStream& stream, Data data, Hole hole) {
  std::uint64_t done = 0;
  while (auto block = TRY(stream.read())) {
    if (block->offset > done) TRY(hole(block->offset - done));
    TRY(data(block->data));
    done = block->offset + block->data.size();
  }
  if (done < work.entry.size) TRY(hole(work.entry.size - done));
  return {};
}

// The blocks of a file that differ from those of the hot pass.
class Comparison {
 public:
  Comparison(Captured& captured, const FileFingerprints* prints, std::uint64_t seed,
             SealedSpill& spill)
      : captured_(captured), prints_(prints), seed_(seed), spill_(spill) {}

  Result<void> data(ByteView bytes) {
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), kFingerprintBlock - block_.size());
      block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      if (block_.size() == kFingerprintBlock) TRY(end_block());
      bytes = bytes.subspan(n);
    }
    return {};
  }

  Result<void> zeros(std::uint64_t length) {
    static const Bytes kZeros(kFingerprintBlock);
    for (; length > 0; length -= std::min<std::uint64_t>(length, kZeros.size())) {
      TRY(data(ByteView(kZeros).first(std::min<std::uint64_t>(length, kZeros.size()))));
    }
    return {};
  }

  Result<void> end_block() {
    if (block_.empty()) return {};
    const bool same = prints_ != nullptr && prints_->has(number_, fingerprint(block_, seed_));
    if (!same && std::all_of(block_.begin(), block_.end(), [](auto byte) { return byte == 0; })) {
      captured_.add_gap({.begin = number_, .end = number_ + 1, .kind = Segment::Kind::hole});
    } else if (!same) {
      captured_.add_block(number_, TRY(spill_.append(block_)));
    }
    ++number_;
    block_.clear();
    return {};
  }

 private:
  Captured& captured_;
  const FileFingerprints* prints_;
  std::uint64_t seed_;
  SealedSpill& spill_;
  Bytes block_;
  std::uint64_t number_ = 0;
};

}  // namespace

FileReaderOptions TarPass::reader_options() const {
  return {.volume = volume_.number,
          .volume_tag = volume_.tag,
          .clock = context_.clock,
          .fingerprints = context_.fingerprints,
          .spill = context_.spill,
          .cancel = &context_.cancel,
          .limiter = context_.limiter};
}

Result<void> TarPass::take(FileReader& reader, FileWork& work, TreeStream& stream) {
  context_.files_seen += 1;
  context_.bytes_seen += work.entry.size;
  TRY(work.large ? take_large(work, stream) : take_small(reader, work, stream));
  context_.bytes_read += work.entry.size;
  return {};
}

Result<void> TarPass::take_small(FileReader& reader, FileWork& work, TreeStream& stream) {
  Bytes content;
  content.reserve(work.entry.size);
  TRY(for_each_block(
      work, stream,
      [&](ByteView data) -> Result<void> {
        content.insert(content.end(), data.begin(), data.end());
        return {};
      },
      [&](std::uint64_t length) -> Result<void> {
        content.resize(content.size() + length);
        return {};
      }));
  if (content.size() != work.entry.size) return cut_short(work);
  if (context_.fingerprints != nullptr) {
    Fingerprinter prints(*context_.fingerprints);
    prints.data(content);
    context_.fingerprints->put(volume_.number, work.entry, prints.finish());
  }
  reader.take_content(work, std::move(content));
  return {};
}

Result<void> TarPass::take_large(FileWork& work, TreeStream& stream) {
  ContentCutter cutter(context_.session.repository().keys(), context_.jobs, volume_.tag,
                       work.entry.size);
  cutter.follow(ParentExtents::of(context_.trees, work.parent), trials_);
  std::optional<Fingerprinter> prints;
  if (context_.fingerprints != nullptr) prints.emplace(*context_.fingerprints);
  TRY(for_each_block(
      work, stream,
      [&](ByteView data) -> Result<void> {
        if (prints) prints->data(data);
        cutter.append(data);
        return {};
      },
      [&](std::uint64_t length) -> Result<void> {
        if (prints) prints->zeros(length);
        cutter.hole(length);
        return {};
      }));
  work.pieces = cutter.finish();
  // Engines write holes out as zeros. Restored as holes they read the same, and a disk image of a
  // terabyte fits again where it came from.
  for (Piece& piece : work.pieces) {
    if (piece.extent.kind == store::Extent::Kind::zero) {
      piece.extent.kind = store::Extent::Kind::hole;
    }
  }
  work.outcome = FileWork::Outcome::pieces;
  if (prints) context_.fingerprints->put(volume_.number, work.entry, prints->finish());
  return {};
}

Result<void> TarPass::compare(FileWork& work, TreeStream& stream) {
  work.captured = std::make_unique<Captured>();
  Captured& captured = *work.captured;
  captured.size = work.entry.size;
  const auto prints = context_.fingerprints->find(volume_.number, work.entry, work.parent);
  captured.has_base = prints != nullptr;
  Comparison comparison(captured, prints.get(), context_.fingerprints->seed(), *context_.spill);
  TRY(for_each_block(
      work, stream, [&](ByteView data) { return comparison.data(data); },
      [&](std::uint64_t length) { return comparison.zeros(length); }));
  TRY(comparison.end_block());
  context_.bytes_read += work.entry.size;
  const bool same =
      captured.has_base && captured.is_as_before() && work.parent->size == work.entry.size;
  if (!same) return {};
  work.entry.content = work.parent->content;
  work.entry.inline_bytes = work.parent->inline_bytes;
  work.entry.extents = work.parent->extents;
  work.entry.node = work.parent->node;
  work.outcome = FileWork::Outcome::kept;
  work.captured.reset();
  return {};
}

Result<Entry> TarPass::patch(Entry root) {
  if (links_.empty()) return root;
  std::vector<std::string> lost;
  root = TRY(patch_links(context_.trees, context_.writer, root, links_, lost));
  if (!lost.empty() && volume_.excludes.empty()) {
    return Error{Code::invalid, 0,
                 "the archive cannot be believed: " + printable(lost.front()) +
                     " is another name of nothing"};
  }
  for (const std::string& name : lost) {
    notes_.unreadable.emplace_back(name,
                                   "its content came with another name of it, which is left out");
  }
  return root;
}

Result<Entry> TarPass::read_once(const std::optional<Entry>& parent) {
  notes_ = WalkNotes();
  const auto stream = open_(context_.limiter, notes_);
  FileReader reader(context_.session, context_.trees, context_.jobs, reader_options());
  Pipeline pipeline(context_.session, context_.writer, context_.trees, reader, context_.jobs,
                    context_.counts,
                    {.mode = ReaderPool::Mode::read,
                     .volume_tag = volume_.tag,
                     .readers = 1,
                     .liveness = context_.liveness});
  KeptCheck kept(context_.session, context_.trees);
  TarWalkOptions options{
      .collapse = false, .is_stored = {}, .take = [&](FileWork& work, TreeStream& from) {
        return take(reader, work, from);
      }};
  if (context_.may_lack_chunks) {
    options.is_stored = [&kept](const Entry& entry) { return kept.is_stored(entry); };
  }
  TarWalk walk(*stream, context_.trees, volume_.excludes, std::move(options), notes_);
  auto walked = walk.run(parent, [&](Item&& item) {
    return pipeline.push(std::move(item)) && !context_.cancel.load();
  });
  ended_early_ = stream->ended_early();
  if (context_.cancel) pipeline.abandon();
  auto root = pipeline.finish();
  if (context_.cancel) return Error{Code::cancelled, 0, "cancelled"};
  // Without its end the pipeline has no root: what it says of that is not the reason.
  if (!walked && walked.error().code != Code::cancelled) return std::move(walked).error();
  if (!root) return root;
  transfer_time_ = stream->transfer_time();
  links_ = walk.link_changes();
  return patch(std::move(*root));
}

Result<Entry> TarPass::read(const std::optional<Entry>& parent) {
  for (int attempt = 1;; ++attempt) {
    auto root = read_once(parent);
    if (root || !ended_early_ || attempt == kTransferTries) return root;
    log::warning(root.error().message + ": reading the volume again");
  }
}

Result<void> TarPass::capture(const Entry& hot) {
  WalkNotes before = std::exchange(notes_, WalkNotes());
  auto captured = capture_all(hot);
  captured_notes_ = std::exchange(notes_, std::move(before));
  return captured;
}

Result<void> TarPass::capture_all(const Entry& hot) {
  captured_.clear();
  const auto stream = open_(nullptr, notes_);
  TarWalk walk(*stream, context_.trees, volume_.excludes,
               {.collapse = true,
                .is_stored = {},
                .take = [&](FileWork& work, TreeStream& from) { return compare(work, from); }},
               notes_);
  auto walked = walk.run(hot, [&](Item&& item) {
    captured_.push_back(std::move(item));
    return !context_.cancel.load();
  });
  ended_early_ = stream->ended_early();
  if (!walked) return walked;
  links_ = walk.link_changes();
  return {};
}

Result<Entry> TarPass::store_captured() {
  notes_ = std::move(captured_notes_);
  FileReader reader(context_.session, context_.trees, context_.jobs, reader_options());
  return patch(TRY(store_items(context_, volume_, reader, ReaderPool::Mode::resolve,
                               std::exchange(captured_, {}), notes_.unreadable)));
}

}  // namespace bygone::ingest
