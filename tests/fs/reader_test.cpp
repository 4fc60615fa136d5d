// SPDX-License-Identifier: Apache-2.0
#include "fs/reader.h"

#include <chrono>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/memory_repository.h"

namespace bygone::fs {
namespace {

using test::Item;
using test::MemoryRepository;

// Counts what is asked for, can be made to wait, and loses chunks.
class WatchedChunks final : public store::ChunkSource {
 public:
  explicit WatchedChunks(store::ChunkSource& inner) : inner_(inner) {}
  Result<std::shared_ptr<const Bytes>> get(store::ChunkKind kind, const ChunkId& id) override {
    {
      std::unique_lock lock(mutex_);
      ++counts_[id];
      changed_.notify_all();
      changed_.wait(lock, [&] { return !held_; });
    }
    if (id == lost) return Error{Code::corrupt, 0, "chunk " + id.hex() + " in pack 12"};
    return inner_.get(kind, id);
  }
  void hold(bool on) {
    const std::lock_guard lock(mutex_);
    held_ = on;
    changed_.notify_all();
  }
  int count(const ChunkId& id) {
    const std::lock_guard lock(mutex_);
    return counts_[id];
  }
  // Waits until `id` was asked for; false after ten seconds.
  bool wait_for(const ChunkId& id) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return counts_[id] > 0; });
  }
  ChunkId lost;

 private:
  store::ChunkSource& inner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<ChunkId, int> counts_;
  bool held_ = false;
};

class ReaderTest : public testing::Test {
 protected:
  EntryPtr store(Item item) {
    const store::Entry root = repository_.write(repository_.folder("", {std::move(item)}));
    auto leaf = repository_.trees().lookup(root, "f");
    return std::make_shared<const store::Entry>(**leaf);
  }
  // `chunks` chunks of noise; their bytes go to expected_.
  EntryPtr large(int chunks, std::size_t each = 256 << 10) {
    std::vector<store::Extent> extents;
    std::mt19937_64 random(static_cast<std::uint64_t>(chunks));
    for (int i = 0; i < chunks; ++i) {
      std::string bytes(each, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      expected_ += bytes;
      extents.push_back(repository_.chunk(bytes));
      ids_.push_back(extents.back().chunk);
    }
    return store(repository_.file("f", extents));
  }
  std::string read(Reader& reader, const EntryPtr& file, std::uint64_t offset, std::uint64_t size) {
    const auto pieces = reader.read(1, file, offset, size);
    if (!pieces.ok()) return "error: " + pieces.error().message;
    std::string out;
    for (const Piece& piece : *pieces) out += as_text(piece.bytes);
    return out;
  }

  MemoryRepository repository_;
  WatchedChunks chunks_{repository_.chunks()};
  std::string expected_;
  std::vector<ChunkId> ids_;
};

TEST_F(ReaderTest, GivesTheBytesOfEveryKindOfExtent) {
  store::Extent shared = repository_.chunk("xxMIDDLEyy");
  shared.offset = 2;
  shared.length = 6;
  const EntryPtr file =
      store(repository_.file("f", {repository_.chunk("begin"), MemoryRepository::hole(100'000),
                                   shared, MemoryRepository::zeros(70'000)}));
  const std::string all =
      "begin" + std::string(100'000, '\0') + "MIDDLE" + std::string(70'000, '\0');
  Reader reader(repository_.trees(), chunks_);
  EXPECT_EQ(read(reader, file, 0, 1 << 20), all);
  for (const auto& [offset, size] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 1}, {3, 10}, {100'003, 4}, {100'007, 3}, {170'000, 100'000}, {170'010, 1}}) {
    EXPECT_EQ(read(reader, file, offset, size), all.substr(offset, size)) << offset;
  }
  EXPECT_EQ(read(reader, file, all.size(), 10), "");
  EXPECT_EQ(read(reader, file, all.size() + 10, 10), "");
}

TEST_F(ReaderTest, GivesInlineBytes) {
  const EntryPtr file = store(repository_.file("f", "some text"));
  Reader reader(repository_.trees(), chunks_);
  EXPECT_EQ(read(reader, file, 0, 4096), "some text");
  EXPECT_EQ(read(reader, file, 5, 2), "te");
}

TEST_F(ReaderTest, GivesTheSameBytesInWhateverOrderTheyAreRead) {
  const EntryPtr file = large(40, 100'003);
  ReaderOptions options;
  options.cache_bytes = 1 << 20;  // far less than the file
  Reader reader(repository_.trees(), chunks_, options);
  for (std::size_t at = 0; at < expected_.size(); at += 131072) {
    ASSERT_EQ(read(reader, file, at, 131072), expected_.substr(at, 131072)) << at;
  }
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  EXPECT_EQ(read(reader, file, 12345, 0), "");
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = random() % expected_.size(), size = random() % 300'000;
    ASSERT_EQ(read(reader, file, at, size), expected_.substr(at, size)) << at << " " << size;
  }
}

TEST_F(ReaderTest, DecodesAChunkOnceForManyReaders) {
  const EntryPtr file = large(1);
  Reader reader(repository_.trees(), chunks_, {.threads = 0});
  chunks_.hold(true);
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(read(reader, file, 0, 1 << 20), expected_); });
  }
  EXPECT_TRUE(chunks_.wait_for(ids_[0]));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  chunks_.hold(false);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(chunks_.count(ids_[0]), 1);
}

TEST_F(ReaderTest, ReadsAheadOfASequence) {
  const EntryPtr file = large(30);
  Reader reader(repository_.trees(), chunks_);
  EXPECT_EQ(read(reader, file, 0, 131072), expected_.substr(0, 131072));
  // 3 MiB ahead are the chunks up to number 12.
  EXPECT_TRUE(chunks_.wait_for(ids_[8]));
  EXPECT_EQ(chunks_.count(ids_[20]), 0);
  for (std::size_t at = 131072; at < 3u << 20; at += 131072) read(reader, file, at, 131072);
  EXPECT_TRUE(chunks_.wait_for(ids_[20]));
}

TEST_F(ReaderTest, DoesNotReadAheadOfScatteredReads) {
  const EntryPtr file = large(60);
  Reader reader(repository_.trees(), chunks_);
  for (const std::size_t chunk : {50u, 10u, 30u}) read(reader, file, chunk * (256u << 10), 8192);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  int fetched = 0;
  for (const ChunkId& id : ids_) fetched += chunks_.count(id);
  EXPECT_EQ(fetched, 3);
}

TEST_F(ReaderTest, FailsForTheRangeOfADamagedChunkOnly) {
  const EntryPtr file = large(4);
  chunks_.lost = ids_[1];
  Reader reader(repository_.trees(), chunks_);
  const std::size_t chunk = 256 << 10;
  EXPECT_EQ(read(reader, file, 0, chunk), expected_.substr(0, chunk));
  EXPECT_EQ(read(reader, file, 2 * chunk, chunk), expected_.substr(2 * chunk, chunk));
  const auto damaged = reader.read(1, file, chunk - 1, 2);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.error().code, Code::corrupt);
  EXPECT_NE(damaged.error().message.find(ids_[1].hex()), std::string::npos);
  EXPECT_NE(damaged.error().message.find("pack 12"), std::string::npos);
  chunks_.lost = {};
  EXPECT_EQ(read(reader, file, chunk, chunk), expected_.substr(chunk, chunk)) << "repaired";
}

TEST_F(ReaderTest, FailsForWhatWasNeverCaptured) {
  Item lost = repository_.file("f", "");
  lost.entry.size = 1000;
  lost.entry.flags = store::kUnreadable;
  Reader reader(repository_.trees(), chunks_);
  const auto answer = reader.read(1, store(lost), 0, 10);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, Code::io);
}

TEST_F(ReaderTest, RefusesExtentsThatDoNotCoverTheFile) {
  store::Entry file;
  file.size = 100;
  file.content = store::Entry::Content::extents;
  file.extents = {repository_.chunk("short")};
  Reader reader(repository_.trees(), chunks_);
  EXPECT_EQ(reader.read(1, std::make_shared<store::Entry>(file), 0, 100).error().code,
            Code::corrupt);
  file.extents[0].length = 100;  // more than the chunk has
  EXPECT_EQ(reader.read(1, std::make_shared<store::Entry>(file), 0, 100).error().code,
            Code::corrupt);
}

TEST_F(ReaderTest, FindsDataAndHoles) {
  const EntryPtr sparse =
      store(repository_.file("f", {MemoryRepository::hole(4096), repository_.chunk("data"),
                                   MemoryRepository::zeros(96), MemoryRepository::hole(1000)}));
  const EntryPtr dense = store(repository_.file("f", "inline"));
  using Offset = std::optional<std::uint64_t>;
  Reader reader(repository_.trees(), chunks_);
  struct Case {
    EntryPtr file;
    std::uint64_t from;
    Offset data, hole;
  };
  for (const Case& c : std::vector<Case>{{sparse, 0, 4096, 0},
                                         {sparse, 4000, 4096, 4000},
                                         {sparse, 4096, 4096, 4196},
                                         {sparse, 4150, 4150, 4196},
                                         {sparse, 4196, std::nullopt, 4196},
                                         {sparse, 5195, std::nullopt, 5195},
                                         {sparse, 5196, std::nullopt, std::nullopt},
                                         {dense, 0, 0, 6},
                                         {dense, 5, 5, 6},
                                         {dense, 6, std::nullopt, std::nullopt}}) {
    EXPECT_EQ(*reader.next_data(*c.file, c.from), c.data) << c.from;
    EXPECT_EQ(*reader.next_hole(*c.file, c.from), c.hole) << c.from;
  }
}

}  // namespace
}  // namespace bygone::fs
