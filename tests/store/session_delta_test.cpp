// SPDX-License-Identifier: Apache-2.0
//
// Deltas as sessions write them (FORMAT.md section 5.4), and the four ways in which they could lose
// data: research/design.md calls them traps 1 to 4, and so do the tests.
#include <filesystem>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/index.h"
#include "store/session.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::value_of;

constexpr std::uint64_t kPackTag = 5;  // as test::write_pack() has it

class SessionDeltas : public testing::Test {
 protected:
  SessionDeltas() : repository_(test::new_repository(folder_ / "repo")) {}

  std::unique_ptr<Session> begin() {
    return value_of(Session::begin(*repository_, Compression::standard));
  }
  ChunkId id(const Bytes& raw) { return repository_->keys().chunk_id(ChunkKind::data, raw); }
  ChunkId put(Session& session, const Bytes& raw, std::optional<Bytes> before = std::nullopt,
              std::uint64_t tag = kPackTag) {
    ChunkHint hint;
    if (before) hint.predecessor = id(*before);
    return value_of(session.put_data(raw, tag, compressor_, hint));
  }
  static void commit(Session& session) {
    ClaimedSource source = value_of(session.claim(SourceKind::container, "engine", "host", "db"));
    Snapshot snapshot;
    snapshot.kind = SourceKind::container;
    snapshot.name = "db";
    snapshot.host_id = "engine";
    value_of(session.commit(source, snapshot));
  }
  // One session that stores one chunk.
  void store(const Bytes& raw, std::optional<Bytes> before = std::nullopt,
             std::uint64_t tag = kPackTag) {
    const auto session = begin();
    put(*session, raw, std::move(before), tag);
    commit(*session);
  }
  bool reads(const Bytes& raw) {
    const auto bytes = repository_->chunks().get(ChunkKind::data, id(raw));
    return bytes.ok() && **bytes == raw;
  }
  // Every record of a chunk that any footer shows.
  std::vector<Record> records(const Bytes& raw) {
    std::vector<Record> found;
    for (const PackId& pack : value_of(repository_->chunks().list_packs())) {
      for (const Record& record : value_of(repository_->chunks().pack(pack))->records()) {
        if (record.id == id(raw)) found.push_back(record);
      }
    }
    return found;
  }
  Record record(const Bytes& raw) {
    const auto found = records(raw);
    EXPECT_EQ(found.size(), 1u);
    return found.at(0);
  }
  PackId pack_of(const Bytes& raw) {
    return value_of(repository_->index().find(id(raw))).value().pack;
  }
  std::string file(const PackId& pack) { return pack_path(repository_->path(), pack); }
  void reopen() {
    repository_.reset();
    repository_ = test::reopen(folder_ / "repo");
  }
  // The content with some bytes overwritten.
  static Bytes edited(Bytes content, std::uint64_t seed, std::size_t bytes = 100) {
    const Bytes fresh = test::noise(bytes + 8, seed);
    std::size_t at = 0;
    for (std::size_t i = 0; i < 8; ++i) at = at * 256 + fresh[i];
    at %= content.size() - bytes;
    std::copy_n(fresh.begin() + 8, bytes, content.begin() + static_cast<std::ptrdiff_t>(at));
    return content;
  }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
  Compressor compressor_{Compression::standard};
  const Bytes x_ = test::noise(200'000, 1);
  const Bytes y_ = edited(x_, 2);
  const Bytes z_ = edited(y_, 3);
};

TEST_F(SessionDeltas, AreTheSizeOfTheChange) {
  store(x_);
  const auto session = begin();
  put(*session, y_, x_);
  EXPECT_LT(session->added_bytes(), 600u);
  EXPECT_EQ(*value_of(session->get(ChunkKind::data, id(y_))), y_);
  commit(*session);
  EXPECT_EQ(*value_of(session->get(ChunkKind::data, id(y_))), y_);
  const Record written = record(y_);
  EXPECT_EQ(written.base, id(x_));
  EXPECT_EQ(written.depth, 1);
  EXPECT_EQ(written.n, 1);
  EXPECT_EQ(written.volume_tag, kPackTag);
  reopen();
  EXPECT_TRUE(reads(y_));
  value_of(repository_->chunks().rebuild_index());
  reopen();
  EXPECT_TRUE(reads(y_));
}

TEST_F(SessionDeltas, NeverHangDeeperThanTwo) {
  std::vector<Bytes> versions = {x_};
  store(x_);
  for (std::uint64_t i = 1; i < 40; ++i) {
    versions.push_back(edited(versions.back(), 100 + i));
    store(versions[i], versions[i - 1]);
  }
  reopen();
  std::size_t plain = 0;
  std::set<ChunkId> middles;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    EXPECT_TRUE(reads(versions[i])) << i;
    const Record each = record(versions[i]);
    EXPECT_LE(each.depth, 2) << i;
    if (each.depth == 0) ++plain;
    if (each.depth == 1) middles.insert(each.id);
    if (i > 0) bytes += each.stored_size;
  }
  EXPECT_EQ(plain, 1u);
  // Without new middles the deltas would repeat all changes since the first one: 39 * 20 * 100.
  EXPECT_GT(middles.size(), 3u);
  EXPECT_LT(middles.size(), 20u);
  EXPECT_LT(bytes, 60'000u);
}

TEST_F(SessionDeltas, BuildOnWhatTheSameSessionStored) {
  const auto session = begin();
  put(*session, x_);
  put(*session, y_, x_);
  put(*session, z_, y_);
  for (const Bytes& each : {x_, y_, z_}) {
    EXPECT_EQ(*value_of(session->get(ChunkKind::data, id(each))), each);
  }
  EXPECT_LT(session->added_bytes(), 202'000u);
  commit(*session);
  reopen();
  EXPECT_EQ(record(z_).depth, 2);
  for (const Bytes& each : {x_, y_, z_}) EXPECT_TRUE(reads(each));
}

TEST_F(SessionDeltas, OverHalfOfThePlainRecordAreStoredPlain) {
  store(x_);
  const Bytes rewritten = test::noise(200'000, 9);
  const Bytes mostly = edited(x_, 4, 110'000);
  const Bytes partly = edited(x_, 5, 80'000);
  store(rewritten, x_);
  store(mostly, x_);
  store(partly, x_);
  EXPECT_EQ(record(rewritten).depth, 0);
  EXPECT_EQ(record(mostly).depth, 0);
  EXPECT_EQ(record(partly).depth, 1);
  EXPECT_TRUE(reads(mostly) && reads(partly) && reads(rewritten));
}

TEST_F(SessionDeltas, AreNotMadeOnAPredecessorThatNobodyHasOrThatIsAPage) {
  const auto session = begin();
  const ChunkId page = repository_->keys().chunk_id(ChunkKind::page, x_);
  value_of(session->put_page(page, x_));
  const Bytes near_page = edited(x_, 6);
  value_of(session->put_data(near_page, kPackTag, compressor_, {.predecessor = page}));
  put(*session, y_, z_);
  commit(*session);
  EXPECT_EQ(record(near_page).depth, 0);
  EXPECT_EQ(record(y_).depth, 0);
}

TEST_F(SessionDeltas, ArePassedOverWhileTrialsPause) {
  store(x_);
  const auto session = begin();
  const auto trials = std::make_shared<DeltaTrials>(8);
  const auto put_on_x = [&](const Bytes& raw) {
    value_of(
        session->put_data(raw, kPackTag, compressor_, {.predecessor = id(x_), .trials = trials}));
  };
  put_on_x(test::noise(100'000, 20));  // comes to nothing: the next is not tried
  put_on_x(y_);
  put_on_x(z_);
  commit(*session);
  EXPECT_EQ(record(y_).depth, 0);
  EXPECT_EQ(record(z_).depth, 1);
}

// Prune is about to drop X's pack, so this session does not see it. The file returns to X.
TEST_F(SessionDeltas, Trap1AChunkIsNeverStoredOnWhatHangsOnAnUnlistedCopyOfItself) {
  store(x_);
  store(y_, x_);
  const PackId first = pack_of(x_);
  ASSERT_EQ(record(y_).base, id(x_));
  std::filesystem::rename(file(first), folder_ / "aside");
  reopen();
  const auto session = begin();
  put(*session, x_, y_);
  commit(*session);
  EXPECT_EQ(record(x_).depth, 0);
  // Whether the old pack comes back or not, both versions are there.
  reopen();
  EXPECT_TRUE(reads(x_));
  EXPECT_TRUE(reads(y_));
  std::filesystem::rename(folder_ / "aside", file(first));
  reopen();
  EXPECT_TRUE(reads(x_));
  EXPECT_TRUE(reads(y_));
}

// Two sessions at once: one stores Y and X on Y, the other X and Y on X.
TEST_F(SessionDeltas, Trap2ACycleOfTwoSessionsReadsThroughThePlainCopies) {
  for (const bool first_commits_first : {true, false}) {
    SCOPED_TRACE(first_commits_first);
    repository_.reset();
    repository_ = test::new_repository(folder_ / (first_commits_first ? "one" : "two"));
    const auto one = begin();
    const auto two = begin();
    put(*one, y_);
    put(*one, x_, y_);
    put(*two, x_);
    put(*two, y_, x_);
    commit(first_commits_first ? *one : *two);
    commit(first_commits_first ? *two : *one);
    ASSERT_EQ(records(x_).size(), 2u);
    ASSERT_EQ(records(y_).size(), 2u);
    EXPECT_TRUE(reads(x_) && reads(y_));
    // What comes next hangs on real records that end in a plain one.
    const auto third = begin();
    put(*third, z_, y_);
    commit(*third);
    EXPECT_TRUE(reads(z_));
    EXPECT_LE(record(z_).depth, 2);
    EXPECT_GE(record(z_).depth, 1);
    const std::atomic<bool> cancel{false};
    const auto report = value_of(verify(*repository_, {.read_data_percent = 100}, {}, cancel));
    EXPECT_TRUE(report.damage.empty()) << report.damage.front();
  }
}

// The same, with an index whose rows name nothing but the two deltas.
TEST_F(SessionDeltas, Trap2ACycleInTheIndexIsNoAnswer) {
  const PackId packs[] = {
      test::write_pack(*repository_, {{.raw = y_}}),
      test::write_pack(*repository_, {{.raw = x_, .base = y_, .depth = 1}}),
      test::write_pack(*repository_, {{.raw = x_}}),
      test::write_pack(*repository_, {{.raw = y_, .base = x_, .depth = 1}}),
  };
  value_of(repository_->index().insert({{packs[0], {id(y_)}}, {packs[2], {id(x_)}}}));
  value_of(repository_->index().insert({{packs[1], {id(x_)}}, {packs[3], {id(y_)}}}));
  reopen();
  EXPECT_TRUE(reads(x_));
  EXPECT_TRUE(reads(y_));
  reopen();
  const auto session = begin();
  put(*session, z_, y_);  // no base that ends in a plain record
  put(*session, x_, y_);  // not known by such rows: stored once more
  commit(*session);
  EXPECT_EQ(record(z_).depth, 0);
  EXPECT_EQ(records(x_).size(), 3u);
  reopen();
  EXPECT_TRUE(reads(x_) && reads(y_) && reads(z_));
}

// A session died: its pack with the delta is there, the one with the base never reached the disk.
TEST_F(SessionDeltas, Trap3AnAdoptedDeltaWithoutItsBaseIsNeitherKnownNorABase) {
  test::write_pack(*repository_, {{.raw = y_, .base = x_, .depth = 1}});
  const auto session = begin();
  put(*session, z_, y_);
  put(*session, y_);
  commit(*session);
  EXPECT_EQ(record(z_).depth, 0);
  ASSERT_EQ(records(y_).size(), 2u);
  EXPECT_TRUE(reads(y_));
  EXPECT_TRUE(reads(z_));
  reopen();
  EXPECT_TRUE(reads(y_));
  // Once stored whole it is a base like any other.
  const Bytes next = edited(y_, 30);
  store(next, y_);
  EXPECT_EQ(record(next).base, id(y_));
  EXPECT_TRUE(reads(next));
}

// A volume that holds the same chunk must not have its next one compressed against the victim's.
TEST_F(SessionDeltas, Trap4NoDeltaCrossesVolumes) {
  store(x_, std::nullopt, kPackTag);
  store(y_, x_, kPackTag);
  const auto session = begin();
  put(*session, y_, std::nullopt, kPackTag + 1);  // known: nothing is stored
  put(*session, z_, y_, kPackTag + 1);
  const Bytes on_plain = edited(x_, 40);
  put(*session, on_plain, x_, kPackTag + 1);
  commit(*session);
  EXPECT_EQ(records(y_).size(), 1u);
  EXPECT_EQ(record(z_).depth, 0);
  EXPECT_EQ(record(on_plain).depth, 0);
  // From there on the second volume has bases of its own.
  const Bytes next = edited(z_, 41);
  store(next, z_, kPackTag + 1);
  EXPECT_EQ(record(next).base, id(z_));
}

TEST_F(SessionDeltas, PassADamagedBaseBy) {
  store(x_);
  store(y_, x_);
  const Record middle = record(y_);
  test::flip_bit(file(pack_of(y_)), static_cast<std::int64_t>(middle.offset + kSealedHeadBytes));
  reopen();
  store(z_, y_);
  EXPECT_EQ(record(z_).depth, 0);
  const Record plain = record(x_);
  test::flip_bit(file(pack_of(x_)), static_cast<std::int64_t>(plain.offset + kSealedHeadBytes));
  reopen();
  const Bytes other = edited(x_, 50);
  store(other, x_);
  EXPECT_EQ(record(other).depth, 0);
  EXPECT_TRUE(reads(z_));
  EXPECT_TRUE(reads(other));
}

TEST_F(SessionDeltas, AreNamedByVerifyWhenTheirBaseIsDamagedOrGone) {
  const Bytes x = test::noise(60'000, 60);  // too short to be cut in two
  const Bytes y = edited(x, 61);
  const test::MemoryTree before = {{"file", x}};
  const test::MemoryTree after = {{"file", y}};
  value_of(test::back_up(*repository_, before));
  const PackId base = pack_of(x);
  value_of(test::back_up(*repository_, after, {.instant = 1'710'003'600 * kSecond}));
  ASSERT_EQ(record(y).base, id(x));
  const auto damage = [&](double percent) {
    reopen();
    const std::atomic<bool> cancel{false};
    std::string text;
    for (const std::string& line :
         value_of(verify(*repository_, {.read_data_percent = percent}, {}, cancel)).damage) {
      text += line + "\n";
    }
    return text;
  };
  EXPECT_EQ(damage(100), "");
  test::flip_bit(file(base), kPackHeaderBytes + kSealedHeadBytes);
  EXPECT_EQ(damage(0), "");
  const std::string read = damage(100);
  EXPECT_NE(read.find("is a delta whose base cannot be read: chunk " + id(x).hex()),
            std::string::npos)
      << read;
  EXPECT_NE(read.find("2024-03-09T17:00"), std::string::npos) << read;
  std::filesystem::remove(file(base));
  const std::string structure = damage(0);
  EXPECT_NE(structure.find(id(y).hex() + " is a delta on"), std::string::npos) << structure;
  EXPECT_NE(structure.find("2024-03-09T17:00"), std::string::npos) << structure;
  // The next backup stores it again, whole.
  value_of(test::back_up(*repository_, after, {.instant = 1'710'007'200 * kSecond}));
  reopen();
  EXPECT_TRUE(reads(y));
}

// What the seal cannot see: the decoder's memory gave other bytes than were sealed, where
// the delta was made or where it was checked.
TEST_F(SessionDeltas, NeverHangOnABaseThatDecodedToOtherBytesOnce) {
  class Faulty final : public RecordReader {
   public:
    Faulty(Bytes bytes, int bad_read) : bytes_(std::move(bytes)), bad_read_(bad_read) {}
    Result<Bytes> read(std::uint32_t /*slot*/, ByteView /*base*/) const override {
      Bytes bytes = bytes_;
      if (++reads_ == bad_read_) bytes[1000] ^= 4;
      return bytes;
    }

   private:
    Bytes bytes_;
    int bad_read_;
    mutable int reads_ = 0;
  };
  Bytes delta;
  Record fresh;
  const auto make = [&](int bad_read) {
    const Link base{.record = {.id = id(x_), .volume_tag = kPackTag, .stored_size = 200'000},
                    .pack = std::make_shared<Faulty>(x_, bad_read)};
    fresh = {.id = id(y_), .volume_tag = kPackTag};
    return make_delta({base}, y_, compressor_, fresh, delta);
  };
  // The first read is what the delta is made on, the second what it is checked on.
  EXPECT_TRUE(value_of(make(0)));
  EXPECT_EQ(value_of(decompress(fresh.codec, delta, y_.size(), x_)), y_);
  EXPECT_TRUE(value_of(make(1)));  // the byte that was wrong is not referred to
  EXPECT_EQ(value_of(decompress(fresh.codec, delta, y_.size(), x_)), y_);
  EXPECT_CODE(Code::corrupt, make(2));
}

TEST_F(SessionDeltas, ComeFromManyThreads) {
  constexpr std::uint64_t kFiles = 16;
  std::vector<Bytes> before;
  {
    const auto session = begin();
    for (std::uint64_t i = 0; i < kFiles; ++i) {
      before.push_back(test::noise(70'000, 500 + i));
      put(*session, before.back());
    }
    commit(*session);
  }
  const auto session = begin();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Compressor compressor(Compression::fastest);
      // All threads store the same versions: one is the first, and the others build on it.
      for (std::uint64_t i = 0; i < kFiles; ++i) {
        Bytes last = before[i];
        for (std::uint64_t v = 0; v < 4; ++v) {
          const Bytes next = edited(last, 1000 * i + v);
          ASSERT_OK(session->put_data(next, kPackTag, compressor, {.predecessor = id(last)}));
          const auto back = session->get(ChunkKind::data, id(next));
          ASSERT_OK(back);
          EXPECT_EQ(**back, next);
          last = next;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  commit(*session);
  // get() waited for each version, so every one found its predecessor stored.
  EXPECT_LT(session->added_bytes(), kFiles * 4 * 1000);
}

}  // namespace
}  // namespace bygone::store
