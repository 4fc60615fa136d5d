// SPDX-License-Identifier: Apache-2.0
#include "store/chunk_store.h"

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "store/session.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::TestRecord;
using test::value_of;

class Chunks : public testing::Test {
 protected:
  Chunks() : repository_(test::new_repository(folder_ / "repo")) {}

  ChunkId id(const Bytes& raw, ChunkKind kind = ChunkKind::data) {
    return repository_->keys().chunk_id(kind, raw);
  }
  Result<std::shared_ptr<const Bytes>> get(const Bytes& raw) {
    return chunks().get(ChunkKind::data, id(raw));
  }
  bool reads(const Bytes& raw) {
    const auto bytes = get(raw);
    return bytes.ok() && **bytes == raw;
  }
  ChunkStore& chunks() { return repository_->chunks(); }
  Index& index() { return repository_->index(); }
  std::string file(const PackId& pack) { return pack_path(repository_->path(), pack); }
  bool is_stored(const Bytes& raw) {
    const auto listing = value_of(chunks().list_packs());
    return value_of(chunks().is_stored(ChunkKind::data, id(raw), {listing.begin(), listing.end()}));
  }
  // A new process, so to speak: no cache, and no memory of a rebuild.
  void reopen() {
    repository_.reset();
    repository_ = test::reopen(folder_ / "repo");
  }
  void damage_body(const PackId& pack, std::uint32_t slot = 0) {
    const Record record = value_of(chunks().pack(pack))->records()[slot];
    test::flip_bit(file(pack), static_cast<std::int64_t>(record.offset + kSealedHeadBytes));
  }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
  const Bytes a_ = test::noise(5000, 1);
  const Bytes b_ = test::noise(5000, 2);
};

TEST_F(Chunks, AreFoundInPacksThatTheIndexDoesNotKnowYet) {
  test::write_pack(*repository_, {{.raw = a_}});
  EXPECT_TRUE(reads(a_));
  EXPECT_EQ(value_of(index().chunk_count()), 1u);
  test::write_pack(*repository_, {{.raw = b_}});
  EXPECT_TRUE(reads(b_));
}

TEST_F(Chunks, ThatNoPackHoldsAreNotFound) {
  test::write_pack(*repository_, {{.raw = a_}});
  EXPECT_CODE(Code::not_found, get(b_));
  EXPECT_TRUE(reads(a_));
}

TEST_F(Chunks, OfOneKindAreNotReadAsTheOther) {
  const Bytes page_like = test::prose(500, 1);
  test::write_pack(*repository_, {{.raw = page_like}});
  EXPECT_CODE(Code::not_found, chunks().get(ChunkKind::page, id(page_like)));
  EXPECT_CODE(Code::not_found, chunks().get(ChunkKind::page, id(page_like, ChunkKind::page)));
}

// What is open keeps its space on the disk.
TEST_F(Chunks, LetsGoOfPacksThatWereRemoved) {
  const PackId kept = test::write_pack(*repository_, {{.raw = a_}});
  const PackId removed = test::write_pack(*repository_, {{.raw = b_}});
  const std::weak_ptr<const PackReader> first = value_of(chunks().pack(kept));
  const std::weak_ptr<const PackReader> second = value_of(chunks().pack(removed));
  std::filesystem::remove(file(removed));
  EXPECT_FALSE(second.expired());
  chunks().close_removed_packs();
  EXPECT_FALSE(first.expired());
  EXPECT_TRUE(second.expired());
  EXPECT_CODE(Code::not_found, chunks().pack(removed));
}

TEST_F(Chunks, AreFoundAgainWhenTheirRowIsMissingOrWrong) {
  const PackId pack = test::write_pack(*repository_, {{.raw = a_}, {.raw = b_}});
  const ChunkId ia = id(a_);
  const ChunkId ib = id(b_);
  struct Case {
    const char* name;
    std::vector<PackContents> rows;
  };
  const Case cases[] = {
      {"the slot of another chunk", {{pack, {ib, ia}}}},
      {"a slot that is not there", {{pack, {ib, ib, ib, ia}}}},
      {"a pack that never was", {{random_id<PackId>(), {ia, ib}}}},
  };
  for (const Case& c : cases) {
    reopen();
    value_of(index().insert(c.rows));
    EXPECT_TRUE(reads(a_)) << c.name;
    EXPECT_TRUE(reads(b_)) << c.name;
  }
  reopen();
  value_of(index().clear());
  EXPECT_TRUE(reads(a_));
}

TEST_F(Chunks, ThatNoFooterShowsCostNoRebuildOfTheIndex) {
  test::write_pack(*repository_, {{.raw = a_}});
  value_of(chunks().adopt_packs());
  // A name without a footer, as of a pack that is gone: a rebuild keeps it, and empties its rows.
  const PackId gone = random_id<PackId>();
  value_of(index().insert({{.pack = gone, .chunks = {id(b_)}}}));
  const auto losses = value_of(index().losses());
  reopen();
  testing::internal::CaptureStderr();
  EXPECT_CODE(Code::not_found, get(b_));
  EXPECT_CODE(Code::not_found, chunks().get(ChunkKind::data, random_id<ChunkId>()));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(value_of(index().losses()), losses);
  // One that a footer shows does.
  value_of(index().remove_packs({value_of(chunks().list_packs()).at(0)}));
  value_of(index().insert({{.pack = value_of(chunks().list_packs()).at(0), .chunks = {}}}));
  testing::internal::CaptureStderr();
  EXPECT_TRUE(reads(a_));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("rebuilding the index"), std::string::npos);
}

TEST_F(Chunks, OfAPackThatIsGoneAreReadFromTheSecondCopy) {
  const PackId first = test::write_pack(*repository_, {{.raw = a_}});
  const PackId second = test::write_pack(*repository_, {{.raw = a_}});
  value_of(chunks().adopt_packs());
  const PackId named = value_of(index().find(id(a_)))->pack;
  std::filesystem::remove(file(named));
  reopen();
  EXPECT_TRUE(reads(a_));
  std::filesystem::remove(file(named == first ? second : first));
  reopen();
  EXPECT_CODE(Code::not_found, get(a_));
}

TEST_F(Chunks, AreReadFromTheSecondCopyWhenTheFirstIsDamaged) {
  test::write_pack(*repository_, {{.raw = a_}});
  test::write_pack(*repository_, {{.raw = a_}});
  value_of(chunks().adopt_packs());
  const PackId named = value_of(index().find(id(a_)))->pack;
  damage_body(named);
  EXPECT_TRUE(reads(a_));
  // The whole pack, footer included.
  reopen();
  test::cut_to(file(named), 500);
  EXPECT_TRUE(reads(a_));
  for (const PackId& pack : value_of(chunks().list_packs())) test::cut_to(file(pack), 400);
  reopen();
  const auto lost = get(a_);
  EXPECT_FALSE(lost.ok());
}

TEST_F(Chunks, ThatAreDamagedEverywhereNameChunkAndPack) {
  const PackId pack = test::write_pack(*repository_, {{.raw = a_}});
  ASSERT_TRUE(chunks().pack(pack).ok());
  damage_body(pack);
  const auto lost = get(a_);
  ASSERT_TRUE(test::fails_with(Code::corrupt, lost));
  EXPECT_NE(lost.error().message.find(id(a_).hex()), std::string::npos);
  EXPECT_NE(lost.error().message.find(pack.hex()), std::string::npos);
}

// A disk with sectors that it cannot read, in the middle of some packs.
class BadDisk final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::set<std::string> bad;

  Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) override {
    const std::string path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd.get())).string();
    if (offset == kPackHeaderBytes && bad.contains(path)) return os_error(EIO, "reading");
    return inner_.read_at(fd, out, offset);
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }
};

class ChunksOnABadDisk : public Chunks {
 protected:
  // A new process: what the one before failed to read it would not try again for a while.
  void reopen() {
    repository_.reset();
    repository_ =
        value_of(Repository::open(folder_ / "repo", test::key_file(), {.files = &files_}));
  }

  BadDisk files_{system_files()};
};

TEST_F(ChunksOnABadDisk, AreReadFromTheSecondCopy) {
  const PackId packs[] = {test::write_pack(*repository_, {{.raw = a_}}),
                          test::write_pack(*repository_, {{.raw = a_}})};
  value_of(chunks().adopt_packs());
  for (const PackId& pack : packs) {
    files_.bad = {file(pack)};
    reopen();
    EXPECT_TRUE(reads(a_));
  }
}

TEST_F(ChunksOnABadDisk, SayThatTheDiskFailsWhateverBecameOfTheOtherCopies) {
  const PackId packs[] = {test::write_pack(*repository_, {{.raw = a_}}),
                          test::write_pack(*repository_, {{.raw = a_}}),
                          test::write_pack(*repository_, {{.raw = a_}})};
  value_of(chunks().adopt_packs());
  for (const PackId& pack : packs) damage_body(pack);
  for (const PackId& pack : packs) {
    files_.bad = {file(pack)};
    reopen();
    const auto lost = get(a_);
    ASSERT_TRUE(test::fails_with(Code::io, lost));
    EXPECT_EQ(lost.error().errnum, EIO);
    EXPECT_NE(lost.error().message.find(pack.hex()), std::string::npos);
  }
}

class DeltaChain : public Chunks {
 protected:
  // Versions that differ in a few bytes each; version n is a delta on n - 1.
  std::vector<Bytes> versions(std::size_t count) {
    std::vector<Bytes> out = {test::noise(50'000, 9)};
    for (std::size_t i = 1; i < count; ++i) {
      out.push_back(out.back());
      out.back()[i * 1000] ^= 0xff;
    }
    return out;
  }
  // One pack for each record, so that a base can be lost alone.
  std::vector<PackId> write_chain(const std::vector<Bytes>& versions) {
    std::vector<PackId> packs = {test::write_pack(*repository_, {{.raw = versions[0]}})};
    for (std::size_t i = 1; i < versions.size(); ++i) {
      const auto depth = static_cast<std::uint8_t>(std::min(i, kMaxDeltaDepth));
      packs.push_back(test::write_pack(
          *repository_, {{.raw = versions[i], .base = versions[i - 1], .depth = depth}}));
    }
    return packs;
  }
};

TEST_F(DeltaChain, IsFollowedToADepthOfSeven) {
  const auto chain = versions(8);
  write_chain(chain);
  for (std::size_t depth = 0; depth < chain.size(); ++depth) {
    reopen();
    EXPECT_TRUE(reads(chain[depth])) << depth;
    EXPECT_TRUE(is_stored(chain[depth])) << depth;
  }
}

TEST_F(DeltaChain, IsRefusedAtADepthOfEight) {
  const auto chain = versions(9);
  write_chain(chain);  // the ninth record says 7 and lies: a head that says 8 is no head
  EXPECT_CODE(Code::corrupt, get(chain[8]));
  EXPECT_FALSE(is_stored(chain[8]));
  EXPECT_TRUE(reads(chain[7]));
}

TEST_F(DeltaChain, ThatGoesInACircleEndsInAnError) {
  const Bytes x = test::noise(3000, 1);
  Bytes y = x;
  y[5] ^= 1;
  test::write_pack(*repository_, {{.raw = x, .base = y, .depth = 1}});
  test::write_pack(*repository_, {{.raw = y, .base = x, .depth = 1}});
  EXPECT_FALSE(get(x).ok());
  EXPECT_FALSE(is_stored(x));
}

TEST_F(DeltaChain, WithoutItsBaseIsNotStoredAndIsFoundAgainAsAPlainCopy) {
  const auto chain = versions(3);
  const auto packs = write_chain(chain);
  value_of(chunks().adopt_packs());
  ASSERT_TRUE(is_stored(chain[2]));
  std::filesystem::remove(file(packs[0]));
  reopen();
  value_of(chunks().adopt_packs());
  EXPECT_FALSE(is_stored(chain[2]));
  EXPECT_FALSE(get(chain[2]).ok());
  // The plain copy is adopted first: the index prefers the delta, which is of no use.
  const PackId plain = test::write_pack(*repository_, {{.raw = chain[2]}});
  value_of(index().insert({{plain, {id(chain[2])}}}));
  value_of(index().insert({{packs[2], {id(chain[2])}}}));
  reopen();
  EXPECT_TRUE(reads(chain[2]));
}

TEST_F(DeltaChain, ReadsABaseFromItsSecondCopy) {
  const auto chain = versions(2);
  const auto packs = write_chain(chain);
  test::write_pack(*repository_, {{.raw = chain[0]}});
  damage_body(packs[0]);
  reopen();
  EXPECT_TRUE(reads(chain[1]));
}

TEST_F(Chunks, AreStoredOnlyWhenTheListingAndTheFooterSaySo) {
  const PackId pack = test::write_pack(*repository_, {{.raw = a_}});
  value_of(chunks().adopt_packs());
  EXPECT_TRUE(is_stored(a_));
  EXPECT_FALSE(is_stored(b_));
  EXPECT_FALSE(value_of(chunks().is_stored(ChunkKind::data, id(a_), {})));
  EXPECT_FALSE(value_of(chunks().is_stored(ChunkKind::page, id(a_), {pack})));
  value_of(index().insert({{pack, {id(a_), id(b_)}}}));
  EXPECT_FALSE(is_stored(b_));
}

TEST_F(Chunks, AreAdoptedOnceAndNoAnswerWhenTheirPackIsGone) {
  const PackId pack = test::write_pack(*repository_, {{.raw = a_}, {.raw = b_}});
  value_of(chunks().adopt_packs());
  value_of(chunks().adopt_packs());
  EXPECT_EQ(value_of(index().packs()).size(), 1u);
  std::filesystem::remove(file(pack));
  const auto listing = value_of(chunks().adopt_packs());
  EXPECT_TRUE(listing.empty());
  EXPECT_FALSE(value_of(chunks().is_stored(ChunkKind::data, id(a_), {})));
  // Its name stays until a session has noted that it is missing.
  EXPECT_EQ(value_of(index().packs()).size(), 1u);
  value_of(Session::begin(*repository_, Compression::standard));
  EXPECT_TRUE(value_of(index().packs()).empty());
  EXPECT_EQ(value_of(index().find(id(a_))), std::nullopt);
}

TEST_F(Chunks, ARebuiltIndexGivesTheSameAnswers) {
  for (std::uint64_t i = 0; i < 5; ++i) {
    test::write_pack(*repository_,
                     {{.raw = test::noise(100, 2 * i)}, {.raw = test::noise(100, 2 * i + 1)}});
  }
  value_of(chunks().adopt_packs());
  std::vector<Location> before;
  for (std::uint64_t i = 0; i < 10; ++i) {
    before.push_back(*value_of(index().find(id(test::noise(100, i)))));
  }
  value_of(chunks().rebuild_index());
  for (std::uint64_t i = 0; i < 10; ++i) {
    EXPECT_EQ(*value_of(index().find(id(test::noise(100, i)))), before[i]);
  }
}

TEST_F(Chunks, FilesThatAreNoPacksAreLeftAlone) {
  test::write_pack(*repository_, {{.raw = a_}});
  test::write_whole(repository_->path() + "/packs/README", as_bytes("hello"));
  test::write_whole(repository_->path() + "/packs/00/notes.txt", as_bytes("hello"));
  EXPECT_EQ(value_of(chunks().adopt_packs()).size(), 1u);
  EXPECT_TRUE(reads(a_));
}

// Who reads a damaged file retries; each search looks at every footer.
TEST_F(Chunks, ThatAreLostAreSearchedForOnceInAWhile) {
  class CountingFiles final : public test::WatchedFiles {
   public:
    using WatchedFiles::WatchedFiles;
    std::atomic<std::size_t> calls{0};

   protected:
    Result<void> before(test::Call /*call*/, const std::string& /*path*/) override {
      ++calls;
      return {};
    }
  };
  test::write_pack(*repository_, {{.raw = a_}});
  CountingFiles files(system_files());
  const auto repository = value_of(Repository::open(
      repository_->path(), test::key_file(), {.index_dir = folder_ / "other", .files = &files}));
  EXPECT_CODE(Code::not_found, repository->chunks().get(ChunkKind::data, id(b_)));
  EXPECT_GT(files.calls.exchange(0), 256u);
  EXPECT_CODE(Code::not_found, repository->chunks().get(ChunkKind::data, id(b_)));
  EXPECT_EQ(files.calls.load(), 0u);
  EXPECT_OK(repository->chunks().get(ChunkKind::data, id(a_)));
}

// Hourly backups make many packs of a few records; each open one is a descriptor.
TEST_F(Chunks, OfManySmallPacksAreReadWithFewDescriptors) {
  constexpr std::uint64_t kPacks = 600;
  for (std::uint64_t i = 0; i < kPacks; ++i) {
    test::write_pack(*repository_, {{.raw = test::noise(20, i)}});
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit tight{400, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  for (std::uint64_t i = 0; i < kPacks; ++i) EXPECT_TRUE(reads(test::noise(20, i))) << i;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(Chunks, AreReadByManyThreadsWhileTheIndexIsRebuilt) {
  std::vector<TestRecord> records;
  for (std::uint64_t i = 0; i < 40; ++i) records.push_back({.raw = test::noise(3000, i)});
  test::write_pack(*repository_, records);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (const TestRecord& record : records) EXPECT_TRUE(reads(record.raw));
    });
  }
  EXPECT_OK(chunks().rebuild_index());
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace bygone::store
