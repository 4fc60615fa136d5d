// SPDX-License-Identifier: Apache-2.0
#include "store/salvage.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "store/pack_reader.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::value_of;

class SalvageTest : public testing::Test {
 protected:
  SalvageTest() {
    repository_ = test::new_repository(folder_ / "repo");
    std::vector<test::TestRecord> records;
    for (std::uint64_t i = 0; i < 12; ++i) raws_.push_back(test::noise(3000 + 517 * i, i));
    for (const Bytes& raw : raws_) records.push_back({.raw = raw, .base = std::nullopt});
    Bytes changed = raws_[0];
    changed[7] ^= 1;
    records.push_back({.raw = changed, .base = raws_[0], .depth = 1});
    raws_.push_back(changed);
    pack_ = test::write_pack(*repository_, records);
    path_ = pack_path(repository_->path(), pack_);
    whole_ = test::read_whole(path_);
    records_ = value_of(PackReader::open(repository_->files(), repository_->keys(),
                                         repository_->path(), pack_))
                   ->records();
  }

  std::unique_ptr<Salvage> open() {
    return value_of(
        Salvage::open(repository_->files(), repository_->keys(), repository_->path(), pack_));
  }

  // Which of raws_ come out of the pack again; anything else that comes out fails the test.
  std::vector<bool> salvaged(const Salvage& salvage) {
    std::vector<bool> found(raws_.size());
    for (const Record& record : salvage.records()) {
      const auto stored = salvage.read_stored(record);
      if (!stored) continue;
      const Bytes base = record.base ? raws_[0] : Bytes();
      const auto raw = salvage.decode(record, *stored, base);
      if (!raw) continue;
      const auto at = std::find(raws_.begin(), raws_.end(), *raw);
      EXPECT_NE(at, raws_.end());
      if (at != raws_.end()) found[static_cast<std::size_t>(at - raws_.begin())] = true;
    }
    return found;
  }

  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
  std::vector<Bytes> raws_;
  PackId pack_;
  std::string path_;
  Bytes whole_;
  std::vector<Record> records_;
};

const auto kAllThirteen = std::vector<bool>(13, true);

TEST_F(SalvageTest, FindsNothingWrongWithAWholePack) {
  const auto salvage = open();
  EXPECT_EQ(salvage->fault(), "");
  EXPECT_TRUE(salvage->is_complete());
  EXPECT_EQ(salvage->records(), records_);
  for (const Record& record : salvage->records()) EXPECT_TRUE(*salvage->head_is_sound(record));
  EXPECT_EQ(salvaged(*salvage), kAllThirteen);
}

TEST_F(SalvageTest, WalksTheHeadsWhenTheEndIsDamaged) {
  struct Case {
    const char* name;
    std::function<void()> damage;
    bool complete;
  };
  const std::uint64_t end = align_record(records_.back().offset + records_.back().pack_bytes());
  const Case cases[] = {
      {"trailer", [&] { test::flip_bit(path_, -5); }, true},
      {"trailer cut off", [&] { test::cut_to(path_, whole_.size() - 64); }, true},
      {"section head", [&] { test::flip_bit(path_, static_cast<std::int64_t>(end) + 3); }, false},
      {"record table", [&] { test::flip_bit(path_, static_cast<std::int64_t>(end) + 40); }, true},
      {"all behind the records", [&] { test::cut_to(path_, end); }, false},
      {"trailer and header",
       [&] {
         test::flip_bit(path_, -5);
         test::flip_bit(path_, 3);
       },
       true},
      {"trailer and the kind in the header",
       [&] {
         test::flip_bit(path_, -5);
         test::flip_bit(path_, 10, 1);
       },
       true},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.name);
    test::write_whole(path_, whole_);
    each.damage();
    const auto salvage = open();
    EXPECT_NE(salvage->fault(), "");
    EXPECT_EQ(salvage->is_complete(), each.complete);
    EXPECT_EQ(salvaged(*salvage), kAllThirteen);
    EXPECT_EQ(test::read_whole(path_).size() <= whole_.size(), true);
  }
}

TEST_F(SalvageTest, DerivesALostHeaderFromTheNameOfThePack) {
  for (const std::int64_t at : {0, 8, 10, 11, 12, 16, 32, 40}) {
    SCOPED_TRACE(at);
    test::write_whole(path_, whole_);
    test::flip_bit(path_, at, 1);
    const auto salvage = open();
    EXPECT_NE(salvage->fault(), "");
    EXPECT_TRUE(salvage->is_complete());
    EXPECT_EQ(salvaged(*salvage), kAllThirteen);
  }
}

TEST_F(SalvageTest, ReadsARecordWhoseHeadIsDamagedByTheFooter) {
  test::flip_bit(path_, static_cast<std::int64_t>(records_[4].offset) + 10);
  const auto salvage = open();
  EXPECT_FALSE(*salvage->head_is_sound(salvage->records()[4]));
  EXPECT_EQ(salvaged(*salvage), kAllThirteen);
}

TEST_F(SalvageTest, LosesOnlyWhatIsDamagedTwice) {
  test::flip_bit(path_, static_cast<std::int64_t>(records_[4].offset) + 10);   // head
  test::flip_bit(path_, static_cast<std::int64_t>(records_[6].offset) + 300);  // body
  test::flip_bit(path_, -5);
  const auto salvage = open();
  EXPECT_FALSE(salvage->is_complete());
  auto wanted = kAllThirteen;
  wanted[4] = wanted[6] = false;
  EXPECT_EQ(salvaged(*salvage), wanted);
}

// A disk that cannot read some places.
class BadSectors final : public test::WatchedFiles {
 public:
  BadSectors() : WatchedFiles(system_files()) {}
  std::vector<std::uint64_t> bad;  // offsets
  Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) override {
    for (const std::uint64_t at : bad) {
      if (offset <= at && at < offset + out.size()) return os_error(EIO, "reading");
    }
    return WatchedFiles::read_at(fd, out, offset);
  }

 protected:
  Result<void> before(test::Call, const std::string&) override { return {}; }
};

TEST_F(SalvageTest, LosesOnlyTheRecordsInSectorsThatTheDiskCannotRead) {
  BadSectors files;
  const auto open_there = [&] {
    return value_of(Salvage::open(files, repository_->keys(), repository_->path(), pack_));
  };
  const auto in_body = [&](std::size_t slot) { return records_[slot].offset + 300; };
  files.bad = {in_body(5)};
  auto wanted = kAllThirteen;
  wanted[5] = false;
  EXPECT_EQ(salvaged(*open_there()), wanted);
  files.bad = {20};
  EXPECT_EQ(salvaged(*open_there()), kAllThirteen) << "the header";
  files.bad = {whole_.size() - 10};
  // Whatever else begins in these sectors is lost with them, and nothing before.
  const auto trailer = salvaged(*open_there());
  EXPECT_TRUE(std::all_of(trailer.begin(), trailer.end() - 2, [](bool found) { return found; }));
  files.bad = {whole_.size() - 10, in_body(9)};
  const auto got = salvaged(*open_there());
  EXPECT_FALSE(got[9]);
  EXPECT_TRUE(std::all_of(got.begin(), got.begin() + 8, [](bool found) { return found; }));
}

TEST_F(SalvageTest, OpensAPackOfWhichNothingIsLeft) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, whole_.size()}) {
    test::write_whole(path_, test::noise(size, 99));
    const auto salvage = open();
    EXPECT_NE(salvage->fault(), "");
    EXPECT_FALSE(salvage->is_complete());
    EXPECT_TRUE(salvage->records().empty());
  }
}

TEST_F(SalvageTest, LeavesAPackOfALaterVersionAlone) {
  Bytes later = test::noise(whole_.size(), 5);
  std::copy_n(whole_.begin(), 128, later.begin());
  later[8] = 2;
  test::write_whole(path_, later);
  EXPECT_CODE(Code::unsupported,
              Salvage::open(repository_->files(), repository_->keys(), repository_->path(), pack_));
}

}  // namespace
}  // namespace bygone::store
