// SPDX-License-Identifier: Apache-2.0
//
// A repository as years of backups leave it, made without reading or writing file data: several
// sources, each a tree of folders with files like a database's (many chunks) and small ones, whose
// snapshots share almost everything. Data packs are hollow (hollow_packs.h); pages, snapshot
// records and the index are written by the real session. The same options give the same shape.
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/session.h"
#include "tests/scale/hollow_packs.h"

namespace bygone::test {

struct WorldOptions {
  std::uint64_t chunks = 10'000'000;  // distinct ones, about: one in twenty comes with increments
  std::uint64_t snapshots = 2000;
  std::uint64_t sources = 8;
};

class World {
 public:
  World(store::Repository& repository, const WorldOptions& options);

  // The first snapshot of every source.
  void found();
  // Another one of every source, an hour later: in two folders every large file has a run of new
  // chunks, three in four of them deltas on what stood there.
  void grow();

  [[nodiscard]] std::uint64_t chunks() const { return next_chunk_; }
  [[nodiscard]] std::uint64_t snapshots() const { return snapshots_; }
  [[nodiscard]] const HollowPacks& packs() const { return packs_; }

 private:
  static constexpr std::size_t kLargeFiles = 8;  // in a folder
  static constexpr std::size_t kSmallFiles = 256;
  // A place in a large file: the chunk there, the plain one that it or a delta builds on, its size.
  struct Piece {
    std::uint32_t chunk;
    std::uint32_t base;
    std::uint32_t size;
  };
  struct Source {
    std::string name;
    std::vector<Piece> pieces;  // of the large files, by folder and file
    store::Entry root;
  };

  Piece new_piece();
  void store(const Piece& piece, std::uint64_t tag);
  [[nodiscard]] std::vector<store::Extent> extents_of(const Source& source, std::size_t file) const;
  store::Entry new_file(const std::string& name);
  store::Entry make_folder(Source& source, std::uint64_t tag, store::TreeWriter& writer);
  store::Entry small_file(std::size_t number, std::uint64_t tag);
  void change_folder(Source& source, std::size_t folder, std::uint64_t tag,
                     store::TreeWriter& writer, store::Entry& directory);
  std::vector<store::Entry> list(const store::Entry& directory);
  void commit(store::Session& session, store::ClaimedSource& claimed, const Source& source);
  store::ClaimedSource claim(store::Session& session, const Source& source);
  std::unique_ptr<store::Session> begin();

  store::Repository& repository_;
  WorldOptions options_;
  HollowPacks packs_;
  std::size_t large_chunks_;  // of a large file
  std::size_t changes_;       // new chunks in a large file that changed
  std::vector<Source> sources_;
  std::uint64_t next_chunk_ = 0, next_inode_ = 1, snapshots_ = 0;
  std::uint64_t random_ = 1;
  Nanoseconds now_;
};

}  // namespace bygone::test
