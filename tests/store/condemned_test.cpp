// SPDX-License-Identifier: Apache-2.0
#include "store/condemned.h"

#include <cerrno>
#include <filesystem>
#include <functional>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "store/chunk_store.h"
#include "store/locks.h"
#include "store/prune.h"
#include "store/repair.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

class CondemnedTest : public testing::Test {
 protected:
  CondemnedTest() : repository_(test::new_repository(path_)) {}

  Result<void> write(std::uint64_t generation, std::vector<PackId> packs) {
    return write_condemned(system_files(), repository_->keys(), path_,
                           {generation, std::move(packs)});
  }
  Result<CondemnedList> read(std::uint64_t generation) {
    return read_condemned(system_files(), repository_->keys(), path_, generation);
  }
  std::vector<PackId> packs() { return value_of(repository_->chunks().list_packs()); }
  Result<PackSet> all() { return condemned_packs(system_files(), repository_->keys(), path_); }

  test::TempFolder folder_;
  const std::string path_ = folder_ / "repo";
  std::unique_ptr<Repository> repository_;
  const MemoryTree tree_ = {{"a", test::noise(70'000, 1)}, {"b/text", test::prose(90'000, 3)}};
};

TEST_F(CondemnedTest, ListsReadBackAsTheyWereWritten) {
  const std::vector<PackId> some = {random_id<PackId>(), random_id<PackId>()};
  const PackId other = random_id<PackId>();
  value_of(write(9, some));
  value_of(write(10, {other}));
  EXPECT_EQ(value_of(read(9)), (CondemnedList{9, some}));
  EXPECT_EQ(value_of(condemned_generations(system_files(), path_)),
            (std::vector<std::uint64_t>{9, 10}));
  EXPECT_EQ(value_of(all()), (PackSet{some[0], some[1], other}));
  value_of(write(10, {}));
  EXPECT_EQ(value_of(all()), (PackSet{some[0], some[1]}));
}

TEST_F(CondemnedTest, NamesThatAreNoGenerationAreNotOurs) {
  for (const char* name : {"07", "0", "1a", "-3", "+4", " 5", "9223372036854775808", "list"}) {
    test::write_whole(path_ + "/condemned/" + name, {});
  }
  EXPECT_TRUE(value_of(condemned_generations(system_files(), path_)).empty());
  EXPECT_TRUE(value_of(all()).empty());
}

TEST_F(CondemnedTest, AListThatDoesNotProveItselfIsDamage) {
  value_of(write(3, {random_id<PackId>()}));
  const std::string file = path_ + "/condemned/3";
  const Bytes whole = test::read_whole(file);
  for (std::size_t at = 0; at < whole.size(); at += 7) {
    test::flip_bit(file, static_cast<std::int64_t>(at));
    EXPECT_FALSE(read(3).ok()) << at;
    test::write_whole(file, whole);
  }
  filesystem::rename(file, path_ + "/condemned/4");
  EXPECT_CODE(Code::corrupt, read(4));
  EXPECT_CODE(Code::not_found, read(3));
  for (std::size_t size = 0; size < 16; ++size) {
    EXPECT_FALSE(decode_condemned(Bytes(size, 1)).ok()) << size;
  }
  EXPECT_CODE(Code::unsupported, decode_condemned(Bytes{2, 1, 0}));
}

TEST_F(CondemnedTest, ASessionDeduplicatesAgainstNoPackOfAList) {
  value_of(test::back_up(*repository_, tree_));
  const std::vector<PackId> before = packs();
  value_of(write(1, before));
  const Snapshot again = value_of(test::back_up(*repository_, tree_, {.source = "app"}));
  EXPECT_GT(again.added_bytes, 70'000u);
  // Reading from them goes on until they are gone; then the new packs answer.
  for (const PackId& pack : before) filesystem::remove(pack_path(path_, pack));
  EXPECT_EQ(value_of(test::read_back(*test::reopen(path_), again)), tree_);
  value_of(write(1, {}));
  EXPECT_EQ(value_of(test::back_up(*repository_, tree_, {.source = "third"})).added_bytes, 0u);
}

TEST_F(CondemnedTest, ASessionThatCannotReadAListTrustsNoPackToStay) {
  value_of(test::back_up(*repository_, tree_));
  value_of(write(1, {random_id<PackId>()}));
  test::flip_bit(path_ + "/condemned/1", 40);
  const Snapshot again = value_of(test::back_up(*repository_, tree_, {.source = "app"}));
  EXPECT_GT(again.added_bytes, 70'000u);
  EXPECT_EQ(value_of(test::read_back(*repository_, again)), tree_);
}

// A disk that cannot read what one file has: another under the same name stands elsewhere.
class BadSector final : public test::WatchedFiles {
 public:
  explicit BadSector(const std::string& path)
      : WatchedFiles(system_files()), held_(value_of(system_files().open(path, O_RDONLY, 0))) {
    struct stat file {};
    EXPECT_EQ(::fstat(held_.get(), &file), 0);
    inode_ = file.st_ino;
  }

  Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset) override {
    struct stat file {};
    if (::fstat(fd.get(), &file) == 0 && file.st_ino == inode_) return os_error(EIO, "reading");
    return inner_.read_at(fd, out, offset);
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }

 private:
  Fd held_;  // so that no other file gets the number
  ino_t inode_ = 0;
};

TEST_F(CondemnedTest, AListThatTheDiskCannotReadStopsNothingAndLetsNothingGo) {
  static const std::atomic<bool> kGoingOn{false};
  const Snapshot first = value_of(test::back_up(*repository_, tree_));
  struct Mend {
    const char* name;
    std::function<bool()> run;
  };
  const Mend mends[] = {
      {"prune", [&] { return prune(*repository_, {}, {}, kGoingOn).ok(); }},
      {"repair", [&] { return repair_record(*repository_, RecordKind::list, "1").ok(); }},
      {"repair of packs, then of lists", [&] {
         const auto report = repair_packs(*repository_, {}, {}, kGoingOn);
         return report.ok() && report->damaged.empty() &&
                repair_record(*repository_, RecordKind::list, "1").ok();
       }}};
  for (const Mend& mend : mends) {
    SCOPED_TRACE(mend.name);
    for (const std::uint64_t list : value_of(condemned_generations(system_files(), path_))) {
      filesystem::remove(path_ + "/condemned/" + std::to_string(list));
    }
    value_of(write(1, packs()));
    BadSector disk(path_ + "/condemned/1");
    repository_.reset();
    repository_ = value_of(Repository::open(path_, test::key_file(), {.files = &disk}));
    // Neither as good as empty, nor a reason to make no backup.
    const Snapshot again =
        value_of(test::back_up(*repository_, tree_, {.source = std::string("of ") + mend.name}));
    EXPECT_GT(again.added_bytes, 70'000u);
    const auto lines = value_of(verify(*repository_, {}, {}, kGoingOn)).damage;
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("bygone repair lists 1"), std::string::npos) << lines[0];
    EXPECT_TRUE(mend.run());
    EXPECT_TRUE(
        value_of(verify(*repository_, {.read_data_percent = 100}, {}, kGoingOn)).damage.empty());
    repository_.reset();
    repository_ = test::reopen(path_);
    EXPECT_TRUE(value_of(all()).empty());
    for (const Snapshot& snapshot : {first, again}) {
      EXPECT_EQ(value_of(test::read_back(*repository_, snapshot)), tree_);
    }
    EXPECT_EQ(value_of(test::back_up(*repository_, tree_, {.source = mend.name})).added_bytes, 0u);
  }
}

TEST_F(CondemnedTest, OlderGenerationsAreLockedOnlyWhenNoSessionHoldsThem) {
  {
    const Fd session = value_of(lock_generation(system_files(), path_));
    value_of(write(1, {}));
    EXPECT_FALSE(value_of(lock_older_generations(system_files(), path_, 1)).has_value());
    EXPECT_EQ(lock_holders(generation_lock_path(path_, 0)), std::vector<int>{::getpid()});
  }
  const Fd younger = value_of(lock_generation(system_files(), path_));
  const auto locks = value_of(lock_older_generations(system_files(), path_, 1));
  ASSERT_TRUE(locks.has_value());
  EXPECT_EQ(locks->size(), 1u);
  EXPECT_FALSE(value_of(lock_older_generations(system_files(), path_, 2)).has_value());
  EXPECT_TRUE(lock_holders(path_ + "/locks/gen/none").empty());
}

}  // namespace
}  // namespace bygone::store
