// SPDX-License-Identifier: Apache-2.0
#include "store/condemned.h"

#include <filesystem>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/locks.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
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
