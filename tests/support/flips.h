// SPDX-License-Identifier: Apache-2.0
//
// A repository with files in every place that FORMAT.md names (section 1), of which one bit at a
// time flips and flips back. For tests of whoever reads it. One thread.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "store/condemned.h"
#include "store/notes.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::test {

struct Flip {
  std::string region;  // the folder at the top; packs by their kind: "packs/data", "packs/page"
  std::string file;    // below the repository
  std::uint64_t at = 0;
  unsigned bit = 0;
};

class Flips {
 public:
  Flips();

  [[nodiscard]] std::string path() const { return folder_ / "repo"; }
  // Every region, with its files below the repository.
  [[nodiscard]] const std::map<std::string, std::vector<std::string>>& regions() const {
    return regions_;
  }
  // A bit of any byte of any file of a region.
  [[nodiscard]] Flip choose(const std::string& region, std::mt19937_64& random) const;
  // The i-th of many: the regions in turn, so that the small ones get their share.
  [[nodiscard]] Flip choose(std::uint64_t i, std::mt19937_64& random) const;
  void flip(const Flip& flip) const;
  // All files as they were: whoever looked may have mended the index and written notes.
  void put_back(const Flip& flip) const;

  // What is wrong with what the repository gives; empty when all of that is right. `whole`: whether
  // it gave everything.
  [[nodiscard]] std::string lie(bool& whole) const;
  [[nodiscard]] std::string lie() const {
    bool whole = false;
    return lie(whole);
  }

  struct Known {
    store::Snapshot snapshot;
    MemoryTree tree;
    bool forgotten = false;
  };
  // What is committed, and what is in the trash.
  [[nodiscard]] const std::map<SnapshotId, Known>& known() const { return known_; }
  [[nodiscard]] static store::Secret other_secret() { return key_file("in the safe"); }
  [[nodiscard]] const Bytes& bytes_of(const std::string& file) const { return bytes_.at(file); }

 private:
  void make();
  void remember(const store::Snapshot& snapshot, const MemoryTree& tree);
  void collect();
  std::string lie_of_trees(store::Repository& repository, bool& whole) const;
  std::string lie_of_notes(store::Repository& repository, bool& whole) const;
  std::string lie_of_lists(store::Repository& repository, bool& whole) const;

  TempFolder folder_;
  std::map<SnapshotId, Known> known_;
  std::vector<store::Note> notes_;
  std::vector<store::CondemnedList> lists_;
  std::map<std::string, std::vector<std::string>> regions_;
  std::map<std::string, Bytes> bytes_;
};

}  // namespace bygone::test
