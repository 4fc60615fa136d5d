// SPDX-License-Identifier: Apache-2.0
//
// Data packs without data, for repositories of a size that nobody wants to write: header, footer
// and trailer are real and prove themselves, the records between them are one hole. So whatever
// looks at footers alone (index, verify without --read-data, marking) works as on real packs, and
// who reads a record is told that it is damaged. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "store/index.h"
#include "store/record.h"
#include "store/repository.h"

namespace bygone::test {

// The id of chunk `number`: as evenly spread as a keyed hash, and every number has another one.
[[nodiscard]] ChunkId synthetic_id(std::uint64_t number);

// What inserting rows into the index costs.
struct IndexCost {
  std::uint64_t rows = 0;
  std::uint64_t commits = 0;
  std::uint64_t bytes = 0;  // handed to write(2) and its like: LMDB writes whole pages of 4 KiB
  double seconds = 0;

  IndexCost& operator+=(const IndexCost& other);
  [[nodiscard]] double bytes_a_row() const;
};

// Index::insert(), measured: `wchar` of /proc/self/io before and after. It counts what LMDB writes
// wherever the file stands and whether it reaches the disk or not, meta pages and free lists
// included; no other thread may write meanwhile. Throws when the index fails.
IndexCost insert_measured(store::Index& index, const std::vector<store::PackContents>& packs);

class HollowPacks {
 public:
  // Rows that a session lets wait before it inserts them (store/session_store.cpp).
  static constexpr std::size_t kBatch = 256u << 10;

  explicit HollowPacks(store::Repository& repository) : repository_(repository) {}

  // Adds a record with its id, sizes, codec, volume tag and base; its offset is set here. A pack
  // that is full is written, and rows are inserted, when a session would.
  void add(store::Record record);
  // Writes the open pack and inserts all rows.
  void flush();

  [[nodiscard]] const IndexCost& cost() const { return cost_; }
  [[nodiscard]] std::uint64_t packs() const { return packs_; }

 private:
  void close_pack();
  void insert();

  store::Repository& repository_;
  std::vector<store::Record> open_;
  std::uint64_t end_ = store::kPackHeaderBytes;
  std::vector<store::PackContents> waiting_;
  std::size_t waiting_rows_ = 0;
  std::uint64_t packs_ = 0;
  IndexCost cost_;
};

}  // namespace bygone::test
