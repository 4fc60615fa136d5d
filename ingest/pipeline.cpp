// SPDX-License-Identifier: Apache-2.0
#include "ingest/pipeline.h"

#include <cstring>

#include "store/chunker.h"
#include "store/format.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::Extent;

// The second queue takes all items that can pass while a stream chunk is being filled, or the
// assembler would wait for a chunk that the stream cannot end.
constexpr std::size_t kStreamQueue = 1024;
constexpr std::size_t kAssemblerQueue = store::kStreamEntries + 1024;

}  // namespace

// Concatenates small files and cuts chunks from the stream (FORMAT.md section 5.3).
class Pipeline::Stream {
 public:
  Stream(const store::KeyRing& keys, ChunkJobs& jobs, ReaderPool& readers, std::uint64_t volume_tag)
      : keys_(keys), jobs_(jobs), readers_(readers), volume_tag_(volume_tag) {}

  // An item passed by that adds nothing; `unchanged_bytes` of small files lie in it.
  void pass(std::uint64_t unchanged_bytes) {
    gap_ += unchanged_bytes;
    if (!buffer_.empty() && ++entries_ >= store::kStreamEntries) flush();
  }

  void add(const std::shared_ptr<FileWork>& work) {
    if (gap_ > store::kStreamGap) flush();
    gap_ = 0;
    if (buffer_.empty()) entries_ = 0;
    parts_.push_back({work, buffer_.size(), work->content.size()});
    buffer_.insert(buffer_.end(), work->content.begin(), work->content.end());
    readers_.release(work->room);
    work->content = Bytes();
    while (buffer_.size() >= store::kMaxChunk) cut();
    if (!buffer_.empty() && ++entries_ >= store::kStreamEntries) flush();
  }

  void flush() {
    while (!buffer_.empty()) cut();
    entries_ = 0;
  }

 private:
  struct Part {
    std::shared_ptr<FileWork> work;
    std::size_t begin;  // in buffer_; what of it has been cut is gone from both
    std::size_t size;
  };

  void cut() {
    const std::size_t size = store::next_cut(keys_.gear_table(), buffer_, 0);
    auto chunk = std::make_shared<Bytes>(buffer_.begin(),
                                         buffer_.begin() + static_cast<std::ptrdiff_t>(size));
    const auto pending = jobs_.put(std::move(chunk), 0, size, volume_tag_);
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(size));
    while (!parts_.empty() && parts_.front().begin < size) {
      Part& part = parts_.front();
      const std::size_t length = std::min(part.size, size - part.begin);
      part.work->pieces.push_back({.extent = {.kind = Extent::Kind::data,
                                              .length = length,
                                              .offset = static_cast<std::uint32_t>(part.begin),
                                              .chunk = {}},
                                   .pending = pending});
      if (length < part.size) {
        part.size -= length;
        part.begin = size;
        break;
      }
      announce(part.work->pieces_ready);
      parts_.pop_front();
    }
    for (Part& part : parts_) part.begin -= size;
  }

  const store::KeyRing& keys_;
  ChunkJobs& jobs_;
  ReaderPool& readers_;
  std::uint64_t volume_tag_;
  Bytes buffer_;
  std::deque<Part> parts_;
  std::uint64_t gap_ = 0;
  std::size_t entries_ = 0;
};

struct Pipeline::Frame {
  Entry entry;
  int leaf = -1;
  std::optional<Entry> parent;
  std::vector<store::LeafRef> leaves;
  std::vector<Entry> entries;
  std::vector<int> entry_leaves;
};

Pipeline::Pipeline(store::Session& session, store::TreeWriter& writer, store::TreeReader& trees,
                   FileReader& reader, ChunkJobs& jobs, PipelineCounts& counts, Options options)
    : writer_(writer),
      trees_(trees),
      jobs_(jobs),
      counts_(counts),
      options_(options),
      keys_(session.repository().keys()),
      readers_(reader, options.mode, options.readers),
      to_stream_(kStreamQueue),
      to_assembler_(kAssemblerQueue),
      stream_([this, &reader] {
        Limiter::give_way(reader.limiter());
        run_stream();
      }),
      assembler_([this, &reader] {
        Limiter::give_way(reader.limiter());
        run_assembler();
      }) {}

Pipeline::~Pipeline() {
  if (stream_.joinable()) abandon();
  to_stream_.close();
  if (stream_.joinable()) stream_.join();
  if (assembler_.joinable()) assembler_.join();
}

void Pipeline::fail(Error error) {
  {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::move(error);
  }
  failed_.store(true);
}

void Pipeline::abandon() {
  fail({Code::cancelled, 0, "cancelled"});
  readers_.abandon();
  jobs_.abandon();
}

bool Pipeline::push(Item&& item) {
  if (item.kind == Item::Kind::file && !item.work->queued) {
    item.work->queued = true;
    readers_.push(item.work);
  }
  const bool awaited = item.kind == Item::Kind::file;
  to_stream_.push(std::move(item), awaited);
  return !failed_.load();
}

Result<Entry> Pipeline::finish() {
  to_stream_.close();
  stream_.join();
  assembler_.join();
  if (auto failure = jobs_.failure()) return *failure;
  const std::lock_guard lock(error_mutex_);
  if (error_) return *error_;
  if (!root_) return Error{Code::not_found, 0, "the volume vanished while it was read"};
  Entry* root = &*root_;
  TRY(writer_.finish({&root, 1}));
  return std::move(*root_);
}

void Pipeline::run_stream() {
  Stream stream(keys_, jobs_, readers_, options_.volume_tag);
  while (auto item = to_stream_.pop()) {
    if (item->kind == Item::Kind::file && !item->work->streamed) {
      FileWork& work = *item->work;
      work.streamed = true;
      // A large file goes its own way: nothing here waits for it.
      if (!work.large) work.read_done.wait(false, std::memory_order_acquire);
      if (!work.large && work.outcome == FileWork::Outcome::small) {
        stream.add(item->work);
      } else {
        const bool kept = !work.large && work.outcome == FileWork::Outcome::kept;
        stream.pass(kept ? work.entry.size : 0);
      }
    } else if (item->kind == Item::Kind::entry) {
      const Entry& entry = item->entry;
      const bool small = entry.type == store::FileType::regular && entry.size < store::kSmallFile;
      stream.pass(entry.is_directory() ? entry.subtree_bytes : small ? entry.size : 0);
    } else {
      stream.pass(0);
    }
    const bool awaited = item->kind == Item::Kind::file;
    to_assembler_.push(std::move(*item), awaited);
  }
  stream.flush();
  to_assembler_.close();
}

void Pipeline::run_assembler() {
  while (auto item = to_assembler_.pop()) {
    if (failed_.load()) continue;  // drain: nobody may wait for room for ever
    auto done = assemble(std::move(*item));
    if (!done) {
      fail(std::move(done).error());
      readers_.abandon();
      jobs_.abandon();
    }
  }
}

void Pipeline::add(Entry entry, int leaf) {
  if (entry.is_directory()) {
    counts_.folders += 1;
  } else {
    counts_.files += 1;
    if (entry.type == store::FileType::regular) counts_.bytes += entry.size;
  }
  frames_.back()->entries.push_back(std::move(entry));
  frames_.back()->entry_leaves.push_back(leaf);
}

Result<void> Pipeline::assemble(Item&& item) {
  switch (item.kind) {
    case Item::Kind::enter: {
      auto frame = std::make_unique<Frame>();
      frame->entry = std::move(item.entry);
      frame->leaf = item.leaf;
      frame->parent = std::move(item.parent);
      frame->leaves = std::move(item.leaves);
      frames_.push_back(std::move(frame));
      return {};
    }
    case Item::Kind::leave:
      return leave();
    case Item::Kind::entry:
      if (item.leaf < 0) {
        TRY(writer_.add_xattrs(item.entry));
      } else if (touches_thin(item.entry)) {
        TRY(renew(item.entry));
        item.leaf = -1;  // its parent's leaf names the old nodes
      }
      if (item.entry.is_directory()) {  // collapsed: its own files are counted here
        counts_.files += item.entry.subtree_files;
        counts_.bytes += item.entry.subtree_bytes;
      }
      add(std::move(item.entry), item.leaf);
      return {};
    case Item::Kind::file:
      return assemble_file(std::move(item));
  }
  return {};
}

// Damage is no reason to write anything anew: whoever reads the entry names it.
bool Pipeline::touches_thin(const Entry& entry) {
  if (options_.liveness == nullptr) return false;
  const auto touches = options_.liveness->touches(trees_, entry);
  return touches.ok() && *touches;
}

// Writes the extent nodes and attributes of an entry again, with the same content. Those of a
// directory are add_directory()'s.
Result<void> Pipeline::renew(Entry& entry) {
  if (entry.xattr_node && options_.liveness->is_thin(entry.xattr_node->page)) {
    if (auto xattrs = trees_.xattrs(entry)) {
      entry.xattrs = std::move(*xattrs);
      entry.xattr_node.reset();
      TRY(writer_.add_xattrs(entry));
    }
  }
  if (entry.content != Entry::Content::extent_node) return {};
  std::vector<Extent> extents;
  const auto read = trees_.extents(entry, 0, entry.size, [&](std::uint64_t, const Extent& extent) {
    extents.push_back(extent);
    return true;
  });
  if (!read) return {};
  const Entry before = entry;
  return writer_.add_extents(entry, std::move(extents), &before, &trees_);
}

Result<void> Pipeline::place_content(Entry& entry, FileWork& work,
                                     const std::optional<Entry>& parent) {
  if (work.outcome == FileWork::Outcome::small) {
    work.pieces_ready.wait(false, std::memory_order_acquire);
  }
  std::vector<Extent> extents;
  extents.reserve(work.pieces.size());
  for (const Piece& piece : work.pieces) {
    extents.push_back(piece.extent);
    if (!piece.pending) continue;
    extents.back().chunk = piece.pending->wait();
    if (extents.back().chunk.is_zero()) {
      if (auto failure = jobs_.failure()) return *failure;
      return Error{Code::cancelled, 0, "cancelled"};
    }
  }
  return writer_.add_extents(entry, std::move(extents), parent ? &*parent : nullptr, &trees_);
}

Result<void> Pipeline::assemble_file(Item&& item) {
  FileWork& work = *item.work;
  work.read_done.wait(false, std::memory_order_acquire);
  if (work.outcome == FileWork::Outcome::gone) return {};
  std::string name = std::move(item.entry.name);
  Entry entry = work.entry;
  entry.name = std::move(name);
  if (work.outcome == FileWork::Outcome::unreadable) {
    unreadable_.emplace_back(
        work.path, work.error.errnum != 0 ? std::strerror(work.error.errnum) : work.error.message);
  } else {
    if (work.outcome != FileWork::Outcome::kept) TRY(place_content(entry, work, item.parent));
    TRY(writer_.add_xattrs(entry));
  }
  const bool same = item.parent && entry == *item.parent;
  if (item.parent && !same) counts_.changed_files += 1;
  const bool moved = work.outcome == FileWork::Outcome::kept && touches_thin(entry);
  if (moved) TRY(renew(entry));
  const int leaf = same && !moved ? item.leaf : -1;
  if (frames_.empty()) {  // the volume is this one file
    counts_.files += 1;
    counts_.bytes += entry.size;
    root_ = std::move(entry);
    return {};
  }
  add(std::move(entry), leaf);
  return {};
}

Result<void> Pipeline::leave() {
  Frame& frame = *frames_.back();
  if (frame.entry.xattr_node && touches_thin(frame.entry)) TRY(renew(frame.entry));
  TRY(writer_.add_xattrs(frame.entry));
  std::vector<store::KnownLeaf> known;
  std::size_t unchanged = 0;
  for (std::size_t begin = 0; begin < frame.entries.size();) {
    const int leaf = frame.entry_leaves[begin];
    std::size_t end = begin + 1;
    while (end < frame.entries.size() && frame.entry_leaves[end] == leaf) ++end;
    if (leaf >= 0) {
      unchanged += end - begin;
      const store::LeafRef& ref = frame.leaves[static_cast<std::size_t>(leaf)];
      if (ref.entries == end - begin) known.push_back({ref.node, begin, end - begin});
    }
    begin = end;
  }
  const bool keep_node = frame.parent && frame.parent->is_directory() &&
                         unchanged == frame.entries.size() && unchanged == frame.parent->entries &&
                         !touches_thin(*frame.parent);
  if (keep_node) {
    frame.entry.content = Entry::Content::directory;
    frame.entry.node = frame.parent->node;
    frame.entry.entries = frame.parent->entries;
    frame.entry.subtree_files = frame.parent->subtree_files;
    frame.entry.subtree_bytes = frame.parent->subtree_bytes;
  } else {
    TRY(writer_.add_directory(frame.entry, frame.entries, known));
  }
  const int leaf = frame.parent && frame.entry == *frame.parent ? frame.leaf : -1;
  Entry entry = std::move(frame.entry);
  frames_.pop_back();
  if (frames_.empty()) {
    counts_.folders += 1;
    root_ = std::move(entry);
    return {};
  }
  add(std::move(entry), leaf);
  return {};
}

}  // namespace bygone::ingest
