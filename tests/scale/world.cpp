// SPDX-License-Identifier: Apache-2.0
#include "tests/scale/world.h"

#include <algorithm>

#include <fmt/core.h>

#include "tests/support/expect.h"

namespace bygone::test {
namespace {

using store::Entry;
using store::Extent;
using store::FileType;

constexpr std::uint64_t kIncrementsShare = 20;  // one chunk in so many comes with an increment
constexpr Nanoseconds kHour = 3600 * kSecond;

// A chunk of some 256 KiB, of some 97 kB compressed.
std::uint32_t raw_size(std::uint64_t random) {
  return static_cast<std::uint32_t>((128u << 10) + random % (256u << 10));
}
std::uint32_t stored_size(std::uint32_t raw, std::uint64_t random) {
  return static_cast<std::uint32_t>(std::uint64_t{raw} * (25 + random % 25) / 100);
}

std::uint64_t hash_of(std::uint64_t number) { return IdHash{}(synthetic_id(number)); }

Extent data(std::uint32_t size, std::uint64_t chunk) {
  return {Extent::Kind::data, size, 0, synthetic_id(chunk)};
}

}  // namespace

World::World(store::Repository& repository, const WorldOptions& options)
    : repository_(repository),
      options_(options),
      packs_(repository),
      now_(system_now() -
           static_cast<Nanoseconds>(options.snapshots / options.sources + 1) * kHour) {
  const std::uint64_t of_source = options.chunks / options.sources;
  large_chunks_ = static_cast<std::size_t>(std::clamp<std::uint64_t>(of_source / 64, 16, 1024));
  const std::uint64_t of_increment = options.chunks / kIncrementsShare / options.snapshots;
  changes_ = static_cast<std::size_t>(
      std::clamp<std::uint64_t>(of_increment / (2 * kLargeFiles), 1, large_chunks_));
  for (std::uint64_t i = 0; i < options.sources; ++i) {
    sources_.push_back({.name = fmt::format("source-{}", i), .pieces = {}, .root = {}});
  }
}

World::Piece World::new_piece() {
  const auto number = static_cast<std::uint32_t>(next_chunk_++);
  return {.chunk = number, .base = number, .size = raw_size(hash_of(number))};
}

void World::store(const Piece& piece, std::uint64_t tag) {
  const std::uint64_t random = hash_of(piece.chunk) >> 20;
  store::Record record{.id = synthetic_id(piece.chunk), .volume_tag = tag};
  record.raw_size = piece.size;
  record.codec = store::kCodecZstd;
  record.stored_size = stored_size(piece.size, random);
  if (piece.base != piece.chunk) {
    record.base = synthetic_id(piece.base);
    record.depth = 1;
    record.n = 1;
    record.stored_size = static_cast<std::uint32_t>(300 + random % 3000);
  }
  packs_.add(std::move(record));
}

std::vector<Extent> World::extents_of(const Source& source, std::size_t file) const {
  std::vector<Extent> extents;
  const Piece* piece = source.pieces.data() + file * large_chunks_;
  for (std::size_t i = 0; i < large_chunks_; ++i) {
    extents.push_back(data(piece[i].size, piece[i].chunk));
  }
  return extents;
}

Entry World::new_file(const std::string& name) {
  Entry entry;
  entry.name = name;
  entry.mode = 0640;
  entry.uid = entry.gid = 999;
  entry.mtime = entry.ctime = {now_ / kSecond, 123'456'789};
  entry.inode = next_inode_++;
  return entry;
}

Entry World::small_file(std::size_t number, std::uint64_t tag) {
  Entry file = new_file(fmt::format("file-{:03}", number));
  file.content = Entry::Content::extents;
  for (std::size_t i = 0; i <= number % 3; ++i) {
    const Piece piece = new_piece();
    store(piece, tag);
    file.extents.push_back(data(piece.size, piece.chunk));
    file.size += piece.size;
  }
  return file;
}

Entry World::make_folder(Source& source, std::uint64_t tag, store::TreeWriter& writer) {
  const std::size_t number = source.pieces.size() / (kLargeFiles * large_chunks_);
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < kSmallFiles; ++i) entries.push_back(small_file(i, tag));
  for (std::size_t i = 0; i < kLargeFiles; ++i) {
    Entry file = new_file(fmt::format("relation-{}", i));
    for (std::size_t place = 0; place < large_chunks_; ++place) {
      source.pieces.push_back(new_piece());
      store(source.pieces.back(), tag);
      file.size += source.pieces.back().size;
    }
    value_of(
        writer.add_extents(file, extents_of(source, number * kLargeFiles + i), nullptr, nullptr));
    entries.push_back(std::move(file));
  }
  Entry folder = new_file(fmt::format("folder-{:06}", number));
  folder.type = FileType::directory;
  folder.mode = 0750;
  value_of(writer.add_directory(folder, entries));
  return folder;
}

std::vector<Entry> World::list(const Entry& directory) {
  std::vector<Entry> entries;
  value_of(repository_.trees().list(directory, 0, [&](const Entry& entry) {
    entries.push_back(entry);
    return true;
  }));
  return entries;
}

void World::change_folder(Source& source, std::size_t folder, std::uint64_t tag,
                          store::TreeWriter& writer, Entry& directory) {
  std::vector<Entry> entries = list(directory);
  for (std::size_t i = 0; i < kLargeFiles; ++i) {
    const std::size_t file = folder * kLargeFiles + i;
    random_ = hash_of(random_);
    const std::size_t first = random_ % (large_chunks_ - changes_ + 1);
    for (std::size_t place = first; place < first + changes_; ++place) {
      Piece& piece = source.pieces[file * large_chunks_ + place];
      piece.chunk = static_cast<std::uint32_t>(next_chunk_++);
      if (piece.chunk % 4 == 0) piece.base = piece.chunk;  // nothing to build on: plain
      store(piece, tag);
    }
    Entry& entry = entries[kSmallFiles + i];
    const Entry before = entry;
    entry.mtime = entry.ctime = {now_ / kSecond, 0};
    value_of(writer.add_extents(entry, extents_of(source, file), &before, &repository_.trees()));
  }
  value_of(writer.add_directory(directory, entries));
}

std::unique_ptr<store::Session> World::begin() {
  return value_of(store::Session::begin(repository_, store::Compression::standard));
}

store::ClaimedSource World::claim(store::Session& session, const Source& source) {
  return value_of(session.claim(store::SourceKind::folder, "scale", "scale", source.name));
}

void World::commit(store::Session& session, store::ClaimedSource& claimed, const Source& source) {
  packs_.flush();
  store::Snapshot snapshot;
  snapshot.kind = store::SourceKind::folder;
  snapshot.name = source.name;
  snapshot.host_id = snapshot.host = "scale";
  snapshot.zone = "UTC";
  snapshot.instant = snapshot.started = snapshot.finished = now_;
  snapshot.volumes.push_back({.name = {},
                              .destination = {},
                              .origin = "/srv/" + source.name,
                              .kind = store::VolumeKind::folder,
                              .root = source.root});
  snapshot.files = source.root.subtree_files;
  snapshot.folders = source.root.entries;
  snapshot.bytes = source.root.subtree_bytes;
  snapshot.program = "scale";
  value_of(session.commit(claimed, snapshot));
  ++snapshots_;
}

void World::found() {
  const std::uint64_t in_increments = options_.chunks / kIncrementsShare;
  for (Source& source : sources_) {
    const auto session = begin();
    store::ClaimedSource claimed = claim(*session, source);
    const std::uint64_t tag = session->volume_tag(claimed.id, "");
    store::TreeWriter writer(repository_.keys(), *session);
    const std::uint64_t end = next_chunk_ + (options_.chunks - in_increments) / options_.sources;
    std::vector<Entry> folders;
    while (next_chunk_ < end) folders.push_back(make_folder(source, tag, writer));
    source.root = new_file("");
    source.root.type = FileType::directory;
    source.root.mode = 0755;
    value_of(writer.add_directory(source.root, folders));
    Entry* const roots[] = {&source.root};
    value_of(writer.finish(roots));
    commit(*session, claimed, source);
  }
}

void World::grow() {
  now_ += kHour;
  const auto session = begin();
  for (Source& source : sources_) {
    store::ClaimedSource claimed = claim(*session, source);
    const std::uint64_t tag = session->volume_tag(claimed.id, "");
    store::TreeWriter writer(repository_.keys(), *session);
    std::vector<Entry> folders = list(source.root);
    random_ = hash_of(random_);
    const std::size_t first = random_ % folders.size();
    const std::size_t second = (first + folders.size() / 2) % folders.size();
    change_folder(source, first, tag, writer, folders[first]);
    if (second != first) change_folder(source, second, tag, writer, folders[second]);
    value_of(writer.add_directory(source.root, folders));
    Entry* const roots[] = {&source.root};
    value_of(writer.finish(roots));
    commit(*session, claimed, source);
  }
}

}  // namespace bygone::test
