// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "store/pack_reader.h"
#include "store/pack_writer.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::value_of;

class Pack : public testing::Test {
 protected:
  Pack() : repository_(test::new_repository(folder_ / "repo")) {}

  // A finished pack of raw records.
  PackId write_pack(const std::vector<Bytes>& contents, ChunkKind kind = ChunkKind::data) {
    auto writer = value_of(PackWriter::create(system_files(), keys(), path(), kind));
    for (const Bytes& content : contents)
      value_of(writer->write(reserve(*writer, content), content));
    value_of(writer->finish());
    return writer->id();
  }
  Record reserve(PackWriter& writer, const Bytes& content) {
    Record record{.id = keys().chunk_id(writer.kind(), content), .volume_tag = 5};
    record.raw_size = record.stored_size = static_cast<std::uint32_t>(content.size());
    writer.reserve(record);
    return record;
  }
  Result<std::shared_ptr<const PackReader>> open(const PackId& id) {
    return PackReader::open(system_files(), keys(), path(), id);
  }
  // Every record decodes to what was put in.
  bool reads(const PackId& id, const std::vector<Bytes>& contents) {
    const auto reader = open(id);
    if (!reader || (*reader)->records().size() != contents.size()) return false;
    for (std::uint32_t slot = 0; slot < contents.size(); ++slot) {
      const auto bytes = (*reader)->read(slot, {});
      if (!bytes || *bytes != contents[slot]) return false;
    }
    return true;
  }
  const KeyRing& keys() { return repository_->keys(); }
  const std::string& path() { return repository_->path(); }
  std::string file(const PackId& id) { return pack_path(path(), id); }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
  const std::vector<Bytes> contents_ = {test::noise(100, 1), test::noise(5000, 2),
                                        test::noise(1, 3)};
};

TEST_F(Pack, GivesBackWhatWasWrittenBeforeAndAfterItsEnd) {
  auto writer = value_of(PackWriter::create(system_files(), keys(), path(), ChunkKind::data));
  for (const Bytes& content : contents_)
    value_of(writer->write(reserve(*writer, content), content));
  EXPECT_EQ(value_of(writer->read(1, {})), contents_[1]);
  value_of(writer->finish());
  EXPECT_EQ(value_of(writer->read(1, {})), contents_[1]);
  EXPECT_TRUE(reads(writer->id(), contents_));
  EXPECT_TRUE(std::filesystem::is_empty(path() + "/tmp"));
}

TEST_F(Pack, ShowsNoLengthNoCountAndNoPlainByte) {
  const Bytes content = test::prose(40'000, 1);
  const PackId id = write_pack({content});
  const Bytes bytes = test::read_whole(file(id));
  EXPECT_EQ(bytes.size(), padded_size(bytes.size()));
  const std::string_view text = as_text(bytes);
  EXPECT_EQ(text.find("snapshot"), std::string_view::npos);
  EXPECT_EQ(text.find(as_text(content).substr(0, 16)), std::string_view::npos);
  const ChunkId chunk = keys().chunk_id(ChunkKind::data, content);
  EXPECT_EQ(text.find(as_text(chunk.view()).substr(0, 8)), std::string_view::npos);
}

TEST_F(Pack, RejectsFooterCutAnywhere) {
  const PackId id = write_pack(contents_);
  const Bytes whole = test::read_whole(file(id));
  for (std::size_t size = 0; size < whole.size(); size += size < 300 ? 1 : 13) {
    test::write_whole(file(id), ByteView(whole).first(size));
    EXPECT_CODE(Code::corrupt, open(id)) << size;
  }
  Bytes longer = whole;
  longer.insert(longer.end(), 16, 0);
  test::write_whole(file(id), longer);
  EXPECT_CODE(Code::corrupt, open(id));
  test::write_whole(file(id), whole);
  EXPECT_TRUE(reads(id, contents_));
}

// Never wrong bytes: a flip is an error of the pack or of one record, or it hit the padding.
TEST_F(Pack, NoticesAFlippedBitInEveryByteThatMatters) {
  const PackId id = write_pack(contents_);
  const Bytes whole = test::read_whole(file(id));
  const auto healthy = value_of(open(id));
  const Record last = healthy->records().back();
  const std::uint64_t records_end = last.offset + last.pack_bytes();
  std::size_t harmless = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    Bytes damaged = whole;
    damaged[at] ^= 0x04;
    test::write_whole(file(id), damaged);
    const auto reader = open(id);
    if (!reader) continue;
    for (std::uint32_t slot = 0; slot < contents_.size(); ++slot) {
      const auto bytes = (*reader)->read(slot, {});
      EXPECT_TRUE(!bytes || *bytes == contents_[slot]);
      const Record& record = healthy->records()[slot];
      const bool hit = at >= record.offset && at < record.offset + record.pack_bytes();
      EXPECT_EQ(bytes.ok(), !hit) << at << " in slot " << slot;
    }
    const bool in_record = at < records_end && at >= kPackHeaderBytes;
    if (!in_record) ++harmless;
  }
  // What is left: the 80 bytes in the header kept for a wrapped key, and the random padding.
  EXPECT_LT(harmless, whole.size() / 8 + 80);
}

TEST_F(Pack, IsNotTakenForAnother) {
  const PackId one = write_pack({contents_[0]});
  const PackId two = write_pack({contents_[1]});
  std::filesystem::rename(file(one), folder_ / "swap");
  std::filesystem::rename(file(two), file(one));
  std::filesystem::rename(folder_ / "swap", file(two));
  EXPECT_CODE(Code::corrupt, open(one));
  EXPECT_CODE(Code::corrupt, open(two));
  const PackId renamed = random_id<PackId>();
  std::filesystem::rename(file(one), file(renamed));
  EXPECT_CODE(Code::corrupt, open(renamed));
  EXPECT_CODE(Code::not_found, open(one));
}

// The id inside and the name agree, and still the seal knows better.
TEST_F(Pack, IsRejectedUnderAForgedHeader) {
  const PackId id = write_pack(contents_);
  const PackId forged = random_id<PackId>();
  Bytes bytes = test::read_whole(file(id));
  std::copy(forged.bytes.begin(), forged.bytes.end(), bytes.begin() + 32);
  test::write_whole(file(forged), bytes);
  EXPECT_CODE(Code::corrupt, open(forged));
  Bytes other_kind = test::read_whole(file(id));
  other_kind[10] = static_cast<std::uint8_t>(ChunkKind::page);
  test::write_whole(file(id), other_kind);
  EXPECT_CODE(Code::corrupt, open(id));
}

TEST_F(Pack, OfAnotherRepositoryIsRejected) {
  const auto other = test::new_repository(folder_ / "other");
  const PackId id = write_pack(contents_);
  std::filesystem::copy(file(id), pack_path(other->path(), id));
  EXPECT_CODE(Code::corrupt, PackReader::open(system_files(), other->keys(), other->path(), id));
}

TEST_F(Pack, RecordsSwappedWithinThePackDoNotProveThemselves) {
  const Bytes a = test::noise(500, 1);
  const Bytes b = test::noise(500, 2);
  const PackId id = write_pack({a, b});
  const auto records = value_of(open(id))->records();
  Bytes bytes = test::read_whole(file(id));
  const auto begin = bytes.begin();
  std::swap_ranges(begin + static_cast<std::ptrdiff_t>(records[0].offset),
                   begin + static_cast<std::ptrdiff_t>(records[0].offset + records[0].pack_bytes()),
                   begin + static_cast<std::ptrdiff_t>(records[1].offset));
  test::write_whole(file(id), bytes);
  const auto reader = value_of(open(id));
  EXPECT_CODE(Code::corrupt, reader->read(0, {}));
  EXPECT_CODE(Code::corrupt, reader->read(1, {}));
}

TEST_F(Pack, TakesRecordsFromManyThreads) {
  auto writer = value_of(PackWriter::create(system_files(), keys(), path(), ChunkKind::data));
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 50; ++i) {
        const Bytes content = test::noise(100 + 10 * i, t * 1000 + i);
        EXPECT_OK(writer->write(reserve(*writer, content), content));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  value_of(writer->finish());
  const auto reader = value_of(open(writer->id()));
  ASSERT_EQ(reader->records().size(), 200u);
  for (std::uint32_t slot = 0; slot < 200; ++slot) {
    const Bytes bytes = value_of(reader->read(slot, {}));
    EXPECT_EQ(keys().chunk_id(ChunkKind::data, bytes), reader->records()[slot].id);
  }
}

TEST_F(Pack, ThatIsDroppedLeavesNothingBehind) {
  {
    auto writer = value_of(PackWriter::create(system_files(), keys(), path(), ChunkKind::data));
    value_of(writer->write(reserve(*writer, contents_[0]), contents_[0]));
    EXPECT_FALSE(std::filesystem::is_empty(path() + "/tmp"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(path() + "/tmp"));
}

// Its table would name a record that is not there.
TEST_F(Pack, IsLostWithTheFirstRecordThatCannotBeWritten) {
  test::FaultyFiles files(system_files());
  auto writer = value_of(PackWriter::create(files, keys(), path(), ChunkKind::data));
  value_of(writer->write(reserve(*writer, contents_[0]), contents_[0]));
  files.fail_at(1, ENOSPC, test::FaultyFiles::Then::recover);
  EXPECT_CODE(Code::no_space, writer->write(reserve(*writer, contents_[1]), contents_[1]));
  EXPECT_CODE(Code::no_space, writer->write(reserve(*writer, contents_[2]), contents_[2]));
  EXPECT_CODE(Code::no_space, writer->finish());
  EXPECT_CODE(Code::not_found, open(writer->id()));
}

TEST_F(Pack, ReadsNoSlotThatIsNotThere) {
  const auto reader = value_of(open(write_pack(contents_)));
  EXPECT_CODE(Code::corrupt, reader->read(3, {}));
}

TEST_F(Pack, WithoutRecordsIsAPackToo) { EXPECT_TRUE(reads(write_pack({}), {})); }

}  // namespace
}  // namespace bygone::store
