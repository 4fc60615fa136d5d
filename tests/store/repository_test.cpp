// SPDX-License-Identifier: Apache-2.0
#include "store/repository.h"

#include <filesystem>
#include <functional>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/config.h"
#include "store/format.h"
#include "store/index.h"
#include "store/prune.h"
#include "store/repair.h"
#include "store/session.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::key_file;
using test::MemoryTree;
using test::value_of;

class RepositoryTest : public testing::Test {
 protected:
  std::string path() { return folder_ / "repo"; }
  Result<std::unique_ptr<Repository>> open() { return Repository::open(path(), key_file()); }
  std::string only_key() {
    return filesystem::directory_iterator(path() + "/keys")->path().string();
  }

  test::TempFolder folder_;
  const MemoryTree tree_ = {{"a", test::noise(2000, 1)}, {"b/c", test::prose(100'000, 2)}};
};

TEST_F(RepositoryTest, IsMadeInANewOrAnEmptyFolderOnly) {
  value_of(Repository::create(path(), key_file()));
  EXPECT_OK(open());
  EXPECT_CODE(Code::exists, Repository::create(path(), key_file()));
  filesystem::create_directory(folder_ / "empty");
  EXPECT_OK(Repository::create(folder_ / "empty", key_file()));
  filesystem::create_directory(folder_ / "full");
  test::write_whole(folder_ / "full/thesis.tex", as_bytes("years of work"));
  EXPECT_CODE(Code::exists, Repository::create(folder_ / "full", key_file()));
  EXPECT_EQ(std::distance(filesystem::directory_iterator(folder_ / "full"), {}), 1);
  EXPECT_FALSE(Repository::create(folder_ / "full/thesis.tex", key_file()).ok());
  EXPECT_CODE(Code::not_found, Repository::create(folder_ / "no/such/parent", key_file()));
}

TEST_F(RepositoryTest, GoesOnWhereAnInterruptedInitStopped) {
  value_of(Repository::create(path(), key_file("first")));
  filesystem::remove(path() + "/config");
  value_of(Repository::create(path(), key_file("second")));
  EXPECT_OK(Repository::open(path(), key_file("second")));
  EXPECT_CODE(Code::denied, Repository::open(path(), key_file("first")));
}

// Something else happens right before the n-th file is renamed, or folder listed.
class Meanwhile final : public test::WatchedFiles {
 public:
  Meanwhile(test::Call call, int n, std::function<void()> what)
      : WatchedFiles(system_files()), call_(call), left_(n), what_(std::move(what)) {}

 protected:
  Result<void> before(test::Call call, const std::string& /*path*/) override {
    if (call == call_ && --left_ == 0) what_();
    return {};
  }

 private:
  test::Call call_;
  int left_;
  std::function<void()> what_;
};

TEST_F(RepositoryTest, IsMadeByOneOfTwoInitsAtOnce) {
  const auto other = [&] { return Repository::create(path(), key_file("other")).ok(); };
  // The other one comes when this one has made its folder, writes its key, the copy of its config,
  // or that.
  for (const auto& [call, n] :
       {std::pair(test::Call::make_directory, 3), std::pair(test::Call::rename, 1),
        std::pair(test::Call::rename, 2), std::pair(test::Call::rename, 3)}) {
    SCOPED_TRACE(n);
    filesystem::remove_all(path());
    bool others = false;
    Meanwhile files(call, n, [&] { others = other(); });
    const bool ours = Repository::create(path(), key_file("ours"), files).ok();
    EXPECT_NE(ours, others);
    const char* const winner = ours ? "ours" : "other";
    EXPECT_OK(Repository::open(path(), key_file(winner)));
    EXPECT_FALSE(Repository::open(path(), key_file(ours ? "other" : "ours")).ok());
  }
}

// A lost config must not make init throw the keys of real data away.
TEST_F(RepositoryTest, IsNotMadeOverPacksThatLostTheirConfig) {
  auto repository = test::new_repository(path());
  value_of(test::back_up(*repository, tree_));
  repository.reset();
  const Bytes config = test::read_whole(path() + "/config");
  filesystem::remove(path() + "/config");
  EXPECT_CODE(Code::exists, Repository::create(path(), key_file()));
  filesystem::remove(path() + "/config-copy");
  EXPECT_CODE(Code::exists, Repository::create(path(), key_file()));
  filesystem::remove_all(path() + "/snapshots");
  EXPECT_CODE(Code::exists, Repository::create(path(), key_file()));
  filesystem::create_directory(path() + "/snapshots");
  test::write_whole(path() + "/config", config);
  EXPECT_OK(open());
}

TEST_F(RepositoryTest, IsNotFoundWhereThereIsNone) {
  EXPECT_CODE(Code::not_found, open());
  filesystem::create_directory(path());
  EXPECT_CODE(Code::not_found, open());
  test::write_whole(folder_ / "file", as_bytes("x"));
  EXPECT_CODE(Code::not_found, Repository::open(folder_ / "file", key_file()));
}

TEST_F(RepositoryTest, OpensWithItsSecretAndNoOther) {
  value_of(Repository::create(path(), test::passphrase("correct horse")));
  EXPECT_OK(Repository::open(path(), test::passphrase("correct horse")));
  EXPECT_CODE(Code::denied, Repository::open(path(), test::passphrase("battery staple")));
  EXPECT_CODE(Code::denied, Repository::open(path(), key_file("correct horse")));
}

// As one that was made before there was a copy.
TEST_F(RepositoryTest, NeverOpensWithAConfigThatIsNotItsOwn) {
  value_of(Repository::create(path(), key_file()));
  filesystem::remove(path() + "/config-copy");
  const Bytes whole = test::read_whole(path() + "/config");
  ASSERT_EQ(whole.size(), kConfigBytes);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    Bytes damaged = whole;
    damaged[i] ^= 0x20;
    test::write_whole(path() + "/config", damaged);
    EXPECT_FALSE(open().ok()) << i;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, whole.size() - 1}) {
    test::write_whole(path() + "/config", ByteView(whole).first(size));
    EXPECT_CODE(Code::corrupt, open()) << size;
  }
  value_of(Repository::create(folder_ / "other", key_file()));
  test::write_whole(path() + "/config", test::read_whole(folder_ / "other/config"));
  EXPECT_FALSE(open().ok());
  test::write_whole(path() + "/config", whole);
  EXPECT_OK(open());
}

TEST_F(RepositoryTest, OpensByTheCopyOfAConfigThatIsDamagedOrGone) {
  auto repository = test::new_repository(path());
  const Snapshot made = value_of(test::back_up(*repository, tree_));
  repository.reset();
  const Bytes whole = test::read_whole(path() + "/config");
  EXPECT_EQ(test::read_whole(path() + "/config-copy"), whole);
  const std::atomic<bool> cancel{false};
  // Opens it, has verify name what is broken, and repair writes it again.
  const auto expect_mended = [&](const std::string& name) {
    testing::internal::CaptureStderr();
    auto opened = open();
    const std::string log = testing::internal::GetCapturedStderr();
    ASSERT_TRUE(test::is_ok(opened));
    EXPECT_EQ(log.find("repair config") != std::string::npos, name == "config") << log;
    EXPECT_EQ(value_of(test::read_back(**opened, made)), tree_);
    const auto lines = value_of(verify(**opened, {}, {}, cancel)).damage;
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0].starts_with(name + " is damaged")) << lines[0];
    // Nobody with a wrong secret is told that the repository is damaged, and gives up.
    EXPECT_CODE(Code::denied, Repository::open(path(), key_file("wrong")));
    EXPECT_TRUE(value_of(repair_record(**opened, RecordKind::config, name)).restored);
    EXPECT_EQ(test::read_whole(path() + "/" + name), whole);
    EXPECT_TRUE(value_of(verify(**opened, {}, {}, cancel)).damage.empty());
  };
  for (const std::string name : {"config", "config-copy"}) {
    for (std::size_t i = 0; i < whole.size(); ++i) {
      SCOPED_TRACE(name + " byte " + std::to_string(i));
      test::flip_bit(path() + "/" + name, static_cast<std::int64_t>(i),
                     static_cast<unsigned>(i % 8));
      expect_mended(name);
      if (HasFailure()) return;
    }
    test::cut_to(path() + "/" + name, 40);
    expect_mended(name);
  }
  filesystem::remove(path() + "/config");
  expect_mended("config");
  // A repository of before: whole without a copy, and it may have one.
  filesystem::remove(path() + "/config-copy");
  const auto opened = value_of(open());
  EXPECT_TRUE(value_of(verify(*opened, {}, {}, cancel)).damage.empty());
  EXPECT_TRUE(value_of(repair_record(*opened, RecordKind::config, "config-copy")).restored);
  EXPECT_EQ(test::read_whole(path() + "/config-copy"), whole);
  filesystem::remove(path() + "/config-copy");
  value_of(prune(*opened, {.dry_run = true}, {}, cancel));
  EXPECT_FALSE(filesystem::exists(path() + "/config-copy"));
  value_of(prune(*opened, {}, {}, cancel));
  EXPECT_EQ(test::read_whole(path() + "/config-copy"), whole);
  EXPECT_CODE(Code::invalid, repair_record(*opened, RecordKind::config, "config-copy"));
  // That of another repository stands for nothing.
  value_of(Repository::create(folder_ / "other", key_file()));
  for (const char* name : {"config", "config-copy"}) {
    filesystem::copy_file(folder_ / ("other/" + std::string(name)), path() + "/" + name,
                          filesystem::copy_options::overwrite_existing);
  }
  EXPECT_FALSE(open().ok());
}

TEST_F(RepositoryTest, RefusesVersionsAndFeaturesThatItDoesNotKnow) {
  value_of(Repository::create(path(), key_file()));
  const Bytes whole = test::read_whole(path() + "/config");
  const auto keys = value_of(open());
  struct Case {
    const char* name;
    std::size_t at;
  };
  for (const Case& c : {Case{"version", 8}, Case{"ro-compat", 14}, Case{"incompat", 18},
                        Case{"chunker", 46}, Case{"smallest chunk", 47}, Case{"pack size", 50}}) {
    Bytes changed = whole;
    changed[c.at] ^= 0x40;
    // Damaged: the copy opens it.
    test::write_whole(path() + "/config", changed);
    EXPECT_OK(Repository::open(path(), key_file(), {.index_dir = folder_ / "index"})) << c.name;
    // Meant, and so the copy does not count.
    const auto mac = keys->keys().config_mac(ByteView(changed).first(64));
    std::copy(mac.begin(), mac.end(), changed.begin() + 64);
    test::write_whole(path() + "/config", changed);
    EXPECT_CODE(Code::unsupported,
                Repository::open(path(), key_file(), {.index_dir = folder_ / "index"}))
        << c.name;
  }
}

TEST_F(RepositoryTest, OpensBesideDamagedAndForeignKeySlots) {
  value_of(Repository::create(path(), key_file()));
  test::write_whole(path() + "/keys/00garbage", test::noise(500, 1));
  test::write_whole(path() + "/keys/00huge", test::noise(50'000, 1));
  test::write_whole(path() + "/keys/00empty", {});
  EXPECT_OK(open());
  EXPECT_CODE(Code::denied, Repository::open(path(), key_file("wrong")));
}

TEST_F(RepositoryTest, SaysThatItsOnlySlotIsDamaged) {
  value_of(Repository::create(path(), key_file()));
  test::cut_to(only_key(), 20);
  EXPECT_CODE(Code::corrupt, open());
  filesystem::rename(only_key(), path() + "/keys/renamed");
  EXPECT_FALSE(open().ok());
}

TEST_F(RepositoryTest, GivesSnapshotsBackAndForgetsThemWithTheirFile) {
  auto repository = test::new_repository(path());
  const Snapshot one = value_of(test::back_up(*repository, tree_));
  EXPECT_EQ(value_of(repository->snapshot(one.id)), one);
  EXPECT_EQ(value_of(repository->snapshots()), std::vector<Snapshot>{one});
  EXPECT_EQ(value_of(test::read_back(*repository, one)), tree_);
  EXPECT_CODE(Code::not_found, repository->snapshot(random_id<SnapshotId>()));
  // The index still has its record; the folder decides.
  filesystem::remove(path() + "/snapshots/" + one.id.hex());
  EXPECT_CODE(Code::not_found, repository->snapshot(one.id));
  EXPECT_TRUE(value_of(repository->snapshots()).empty());
}

TEST_F(RepositoryTest, ReadsSnapshotsFromTheirFilesWhenTheIndexLies) {
  auto repository = test::new_repository(path());
  const Snapshot one = value_of(test::back_up(*repository, tree_));
  const Snapshot two = value_of(test::back_up(*repository, tree_, {.source = "app"}));
  value_of(repository->index().keep_snapshot(one.id, test::noise(300, 1)));
  EXPECT_EQ(value_of(repository->snapshot(one.id)), one);
  const auto sealed_two = test::read_whole(path() + "/snapshots/" + two.id.hex());
  value_of(repository->index().keep_snapshot(one.id, sealed_two));
  EXPECT_EQ(value_of(repository->snapshot(one.id)), one);
}

TEST_F(RepositoryTest, NamesDamagedSnapshotsAndListsTheOthers) {
  auto repository = test::new_repository(path());
  const Snapshot one = value_of(test::back_up(*repository, tree_));
  const Snapshot two = value_of(test::back_up(*repository, tree_, {.source = "app"}));
  repository.reset();
  const std::string file = path() + "/snapshots/" + one.id.hex();
  const Bytes whole = test::read_whole(file);
  for (std::size_t at = 0; at < whole.size(); at += 7) {
    Bytes damaged = whole;
    damaged[at] ^= 1;
    test::write_whole(file, damaged);
    repository = test::reopen(path(), folder_ / ("index" + std::to_string(at)));
    EXPECT_CODE(Code::corrupt, repository->snapshot(one.id)) << at;
    EXPECT_CODE(Code::corrupt, repository->snapshots());
    std::vector<std::string> lines;
    EXPECT_EQ(value_of(repository->snapshots(&lines)), std::vector<Snapshot>{two});
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find(one.id.hex()), std::string::npos);
  }
}

TEST_F(RepositoryTest, TakesNoSnapshotUnderAnothersNameAndNoOtherObjectAsOne) {
  auto repository = test::new_repository(path());
  const Snapshot one = value_of(test::back_up(*repository, tree_));
  const std::string folder = path() + "/snapshots/";
  const SnapshotId other = random_id<SnapshotId>();
  filesystem::copy(folder + one.id.hex(), folder + other.hex());
  EXPECT_CODE(Code::corrupt, repository->snapshot(other));
  // A note with the bytes of a record, and file content with the bytes of a sealed record.
  const Bytes encoded = encode_snapshot(one);
  const Bytes note = repository->keys().seal_object(ObjectKind::note, other.hex(), encoded);
  test::write_whole(folder + other.hex(), note);
  EXPECT_CODE(Code::corrupt, repository->snapshot(other));
  // Sealed by its writer, but its content is not what its name says.
  const Bytes sealed = repository->keys().seal_object(ObjectKind::snapshot, other.hex(), encoded);
  test::write_whole(folder + other.hex(), sealed);
  EXPECT_CODE(Code::corrupt, repository->snapshot(other));
}

// CVE-2016-10099 and CVE-2023-36811 of another program: content that was taken for metadata.
TEST_F(RepositoryTest, NeverTakesFileContentForAPage) {
  auto repository = test::new_repository(path());
  const Snapshot one = value_of(test::back_up(*repository, tree_));
  const auto page =
      value_of(repository->chunks().get(ChunkKind::page, one.volumes[0].root.node.page));
  // The victim backs up a file with exactly the bytes of a page, and of an encoded record.
  const Snapshot two = value_of(test::back_up(
      *repository, {{"page", *page}, {"record", encode_snapshot(one)}}, {.source = "evil"}));
  const MemoryTree back = value_of(test::read_back(*repository, two));
  EXPECT_EQ(back.at("page"), *page);
  const ChunkId as_data = repository->keys().chunk_id(ChunkKind::data, *page);
  EXPECT_NE(as_data, one.volumes[0].root.node.page);
  EXPECT_CODE(Code::not_found, repository->chunks().get(ChunkKind::page, as_data));
  EXPECT_CODE(Code::not_found, repository->trees().page(as_data));
}

TEST_F(RepositoryTest, AnswersTheSameWithoutItsIndexAndWithAGarbageOne) {
  auto repository = test::new_repository(path());
  const Snapshot one = value_of(test::back_up(*repository, tree_));
  struct Case {
    const char* name;
    std::function<void(const std::string&)> damage;
  };
  const Case cases[] = {
      {"folder gone", [](const std::string& p) { filesystem::remove_all(p); }},
      {"data gone", [](const std::string& p) { filesystem::remove(p + "/data.mdb"); }},
      {"garbage",
       [](const std::string& p) { test::write_whole(p + "/data.mdb", test::noise(70'000, 1)); }},
      {"garbage lock file",
       [](const std::string& p) { test::write_whole(p + "/lock.mdb", test::noise(8192, 1)); }},
  };
  for (const Case& c : cases) {
    repository.reset();
    c.damage(path() + "/index");
    repository = test::reopen(path());
    EXPECT_EQ(value_of(repository->snapshots()), std::vector<Snapshot>{one}) << c.name;
    EXPECT_EQ(value_of(test::read_back(*repository, one)), tree_) << c.name;
  }
}

}  // namespace
}  // namespace bygone::store
