// SPDX-License-Identifier: Apache-2.0
#include "store/index.h"

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <optional>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/crypto.h"
#include "store/index_filter.h"
#include "store/index_runs.h"
#include "store/lmdb.h"
#include "tests/support/btrfs_mount.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

using test::value_of;

ChunkId chunk(std::uint64_t n) {
  const Bytes bytes = test::noise(32, n + 1);
  return ChunkId::from(bytes);
}

PackContents pack(std::uint64_t first, std::size_t count) {
  PackContents contents{.pack = random_id<PackId>(), .chunks = {}};
  for (std::uint64_t i = 0; i < count; ++i) contents.chunks.push_back(chunk(first + i));
  return contents;
}

class IndexTest : public testing::Test {
 protected:
  IndexTest() { open(); }
  void open() {
    index_.reset();
    index_ = value_of(Index::open(system_files(), folder_ / "index", folder_ / "home/cache/index"));
  }
  std::optional<Location> find(std::uint64_t n) { return value_of(index_->find(chunk(n))); }
  std::string data() { return folder_ / "index/data.mdb"; }

  test::TempFolder folder_;
  std::unique_ptr<Index> index_;
};

TEST_F(IndexTest, KeepsEveryRowAcrossOpens) {
  const PackContents one = pack(0, 1000);
  const PackContents two = pack(1000, 10);
  EXPECT_TRUE(index_->is_fresh());
  value_of(index_->insert({one, two}));
  open();
  EXPECT_FALSE(index_->is_fresh());
  for (std::uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(find(i), (Location{one.pack, i}));
  EXPECT_EQ(find(1003), (Location{two.pack, 3}));
  EXPECT_EQ(find(2000), std::nullopt);
  EXPECT_EQ(value_of(index_->chunk_count()), 1010u);
  EXPECT_EQ(value_of(index_->packs()).size(), 2u);
}

TEST_F(IndexTest, PrefersTheRowThatCameLast) {
  const PackContents one = pack(0, 3);
  const PackContents two = pack(1, 1);
  value_of(index_->insert({one}));
  value_of(index_->insert({two}));
  EXPECT_EQ(find(0), (Location{one.pack, 0}));
  EXPECT_EQ(find(1), (Location{two.pack, 0}));
}

TEST_F(IndexTest, ForgetsPacksAndNeverGivesTheirNumbersAgain) {
  const PackContents one = pack(0, 5);
  value_of(index_->insert({one}));
  EXPECT_NE(find(0), std::nullopt);
  value_of(index_->remove_packs({one.pack, random_id<PackId>()}));
  EXPECT_EQ(find(0), std::nullopt);
  EXPECT_TRUE(value_of(index_->packs()).empty());
  value_of(index_->insert({pack(100, 5)}));
  EXPECT_EQ(find(0), std::nullopt);
  open();
  EXPECT_EQ(find(0), std::nullopt);
  value_of(index_->clear());
  value_of(index_->insert({pack(200, 1)}));
  EXPECT_EQ(find(100), std::nullopt);
  EXPECT_NE(find(200), std::nullopt);
}

TEST_F(IndexTest, KeepsSnapshotRecordsAsTheyAre) {
  const SnapshotId id = random_id<SnapshotId>();
  EXPECT_EQ(value_of(index_->snapshot(id)), std::nullopt);
  const Bytes sealed = test::noise(20'000, 1);
  value_of(index_->keep_snapshot(id, sealed));
  open();
  EXPECT_EQ(value_of(index_->snapshot(id)), sealed);
}

TEST_F(IndexTest, KeepsASnapshotAsWholeUntilItCountsALoss) {
  const auto source = random_id<SourceId>();
  const auto other = random_id<SourceId>();
  const auto snapshot = random_id<SnapshotId>();
  const PackContents kept = pack(0, 5);
  value_of(index_->insert({kept, pack(5, 5)}));
  EXPECT_FALSE(value_of(index_->is_whole(source, snapshot)));
  const std::uint64_t losses = value_of(index_->losses());
  value_of(index_->keep_whole(source, snapshot, losses));
  open();
  EXPECT_TRUE(value_of(index_->is_whole(source, snapshot)));
  EXPECT_FALSE(value_of(index_->is_whole(source, random_id<SnapshotId>())));
  EXPECT_FALSE(value_of(index_->is_whole(other, snapshot)));
  value_of(index_->remove_packs({kept.pack}));
  EXPECT_TRUE(value_of(index_->is_whole(source, snapshot))) << "a prune loses nothing";
  const auto packs = value_of(index_->packs());
  EXPECT_EQ(value_of(index_->lose_packs(packs)), losses + 1);
  EXPECT_TRUE(value_of(index_->packs()).empty());
  EXPECT_FALSE(value_of(index_->is_whole(source, snapshot)));
  value_of(index_->keep_whole(source, snapshot, losses));
  EXPECT_FALSE(value_of(index_->is_whole(source, snapshot))) << "by a session of before the loss";
  value_of(index_->keep_whole(source, snapshot, losses + 1));
  EXPECT_TRUE(value_of(index_->is_whole(source, snapshot)));
  value_of(index_->clear());
  EXPECT_FALSE(value_of(index_->is_whole(source, snapshot)));
}

TEST_F(IndexTest, IsMadeAnewWhenItsFileIsDamaged) {
  struct Case {
    const char* name;
    std::function<void(const std::string&)> damage;
  };
  const Case cases[] = {
      {"garbage", [](const std::string& p) { test::write_whole(p, test::noise(100'000, 1)); }},
      {"zeros", [](const std::string& p) { test::write_whole(p, Bytes(100'000)); }},
      {"a short text", [](const std::string& p) { test::write_whole(p, as_bytes("hello")); }},
      {"empty", [](const std::string& p) { test::cut_to(p, 0); }},
      {"one page", [](const std::string& p) { test::cut_to(p, 4096); }},
      {"cut in the middle", [](const std::string& p) { test::cut_to(p, 40'960); }},
      {"gone", [](const std::string& p) { std::filesystem::remove(p); }},
  };
  for (const Case& c : cases) {
    value_of(index_->insert({pack(0, 5000)}));
    EXPECT_NE(find(1), std::nullopt) << c.name;
    index_.reset();
    c.damage(data());
    open();
    EXPECT_TRUE(index_->is_fresh()) << c.name;
    EXPECT_EQ(find(1), std::nullopt) << c.name;
    value_of(index_->clear());
  }
}

TEST_F(IndexTest, OfAnotherSchemaIsMadeAnew) {
  value_of(index_->insert({pack(0, 5)}));
  index_.reset();
  {
    const auto env = value_of(lmdb::Env::open(folder_ / "index", lmdb::Access::read_write));
    auto txn = value_of(env->write());
    value_of(txn.put(lmdb::Table::meta, as_bytes("schema"), Bytes{9, 0, 0, 0}));
    value_of(txn.commit());
  }
  open();
  EXPECT_TRUE(index_->is_fresh());
}

TEST_F(IndexTest, ThatIsSuspectIsMadeAnewOnce) {
  value_of(index_->insert({pack(0, 5)}));
  index_->mark_suspect();
  open();
  EXPECT_TRUE(index_->is_fresh());
  EXPECT_EQ(find(0), std::nullopt);
  open();
  EXPECT_FALSE(index_->is_fresh());
}

// Something else happens right before somebody locks the index for himself.
class OvertakenFiles final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::function<void()> before_exclusive;

  Result<bool> try_lock(const Fd& fd, Lock lock) override {
    if (lock == Lock::exclusive && before_exclusive) std::exchange(before_exclusive, nullptr)();
    return inner_.try_lock(fd, lock);
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }
};

TEST_F(IndexTest, ThatAnotherOneHasJustReplacedIsNotReplacedAgain) {
  index_->mark_suspect();
  index_.reset();
  OvertakenFiles files(system_files());
  const PackContents theirs = pack(0, 5);
  bool overtaken = false;
  files.before_exclusive = [&] {
    overtaken = true;
    open();
    value_of(index_->insert({theirs}));
    index_.reset();  // a process must not have it open twice
  };
  index_ = value_of(Index::open(files, folder_ / "index", folder_ / "elsewhere"));
  EXPECT_TRUE(overtaken);
  EXPECT_TRUE(index_->is_fresh());
  EXPECT_EQ(value_of(index_->packs()), std::vector{theirs.pack});
}

// Whoever opened it in between could get the old file of locks and the new one of rows.
TEST_F(IndexTest, IsNotOpenedWhileItsFilesAreReplaced) {
  index_.reset();
  std::optional<Fd> replacing =
      value_of(system_files().open(folder_ / "index", O_RDONLY | O_DIRECTORY, 0));
  ASSERT_TRUE(value_of(system_files().try_lock(*replacing, Lock::exclusive)));
  std::atomic<bool> is_open{false};
  std::thread other([&] {
    open();
    is_open = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(is_open);
  replacing.reset();
  other.join();
  EXPECT_EQ(index_->folder(), folder_ / "index");
}

TEST_F(IndexTest, WritesThroughNoLink) {
  index_.reset();
  const std::string victim = folder_ / "thesis";
  test::write_whole(victim, as_bytes("years of work"));
  for (const char* name : {"data.mdb", "lock.mdb", "suspect"}) {
    for (const std::string& target : {victim, std::string(folder_ / "nothing")}) {
      SCOPED_TRACE(name + target);
      std::filesystem::remove(folder_ / "index/" + name);
      std::filesystem::create_symlink(target, folder_ / "index/" + name);
      open();
      value_of(index_->insert({pack(0, 5)}));
      index_.reset();
      EXPECT_EQ(as_text(test::read_whole(victim)), "years of work");
      EXPECT_FALSE(std::filesystem::exists(folder_ / "nothing"));
    }
  }
}

TEST_F(IndexTest, IsSuspectAfterACrashOfTheProcess) {
  value_of(index_->insert({pack(0, 5)}));
  index_.reset();
  std::fflush(nullptr);  // or the child prints it once more
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    forbid_core_dumps();
    const int quiet = ::open("/dev/null", O_WRONLY);
    ::dup2(quiet, STDERR_FILENO);
    watch_for_index_crashes();
    const auto index = Index::open(system_files(), folder_ / "index", folder_ / "elsewhere");
    ::raise(SIGSEGV);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  // By the signal, or by the exit of a sanitizer that had its word after ours.
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "index/suspect"));
  open();
  EXPECT_TRUE(index_->is_fresh());
}

// LMDB gives up what it has open then: for a daemon that would be until somebody starts it again.
TEST_F(IndexTest, GoesOnAfterACommitWhoseRootCouldNotBeWritten) {
  value_of(index_->insert({pack(0, 5)}));
  int broken = 0;
  for (int fd = 3; fd < 1024; ++fd) {  // the root has a descriptor of its own, which syncs
    std::error_code none;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none);
    if (path != data() || (::fcntl(fd, F_GETFL) & O_DSYNC) == 0) continue;
    const int read_only = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup3(read_only, fd, O_CLOEXEC);
    ::close(read_only);
    ++broken;
  }
  ASSERT_EQ(broken, 1);
  EXPECT_FALSE(index_->insert({pack(10, 5)}).ok());
  EXPECT_TRUE(find(0));
  EXPECT_FALSE(find(10));
  value_of(index_->insert({pack(20, 5)}));
  EXPECT_TRUE(find(0));
  EXPECT_TRUE(find(20));
}

// 0: a full btrfs had room for whoever reads, once the reserve was gone. 77: no btrfs here.
int open_on_full_btrfs() {
  const test::BtrfsMount disk;
  if (!disk.why_not().empty()) return 77;
  const std::string path = disk / "repo";
  auto repository = test::new_repository(path);
  value_of(test::back_up(*repository, {{"a", test::noise(3000, 1)}}));
  repository.reset();
  for (const char* block : {"1M", "4k", "4k"}) {
    test::BtrfsMount::run("dd if=/dev/urandom bs=" + std::string(block) + " >>" + disk / "fill");
    ::sync();
  }
  watch_for_index_crashes();
  repository = test::reopen(path);
  if (value_of(repository->snapshots()).size() != 1) return 1;
  return std::filesystem::exists(path + "/reserve") ? 2 : 0;
}

// There LMDB's own lock file may be written to no more, not even to read.
TEST_F(IndexTest, OnAFullDiskThatCopiesOnWriteIsReadAllTheSame) {
  index_.reset();
  std::fflush(nullptr);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    forbid_core_dumps();
    int code = 3;
    try {
      code = open_on_full_btrfs();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    ::_exit(code);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no btrfs can be mounted";
  EXPECT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(IndexTest, IsNotSuspectWhenAWatchdogEndsTheProcess) {
  value_of(index_->insert({pack(0, 5)}));
  index_.reset();
  std::fflush(nullptr);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    forbid_core_dumps();
    watch_for_index_crashes();
    const auto index = Index::open(system_files(), folder_ / "index", folder_ / "elsewhere");
    if (::write(pipe[1], "", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(pipe[1]);
  char opened = 0;
  ASSERT_EQ(::read(pipe[0], &opened, 1), 1);
  ::close(pipe[0]);
  ASSERT_EQ(::kill(child, SIGABRT), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "index/suspect"));
}

// Root passes every permission check, so the folder is one that nobody can write: a file's.
TEST_F(IndexTest, FallsBackToAPrivateFolderWhereItCannotWrite) {
  test::write_whole(folder_ / "file", as_bytes("no folder"));
  const auto index =
      value_of(Index::open(system_files(), folder_ / "file/index", folder_ / "home/cache/x/index"));
  EXPECT_EQ(index->folder(), folder_ / "home/cache/x/index");
  value_of(index->insert({pack(0, 5)}));
  EXPECT_NE(value_of(index->find(chunk(0))), std::nullopt);
  EXPECT_CODE(Code::invalid,
              Index::open(system_files(), folder_ / "file/index", folder_ / "file/home/index"));
}

TEST_F(IndexTest, NeverCrashesNorInventsRowsOfOddSize) {
  index_.reset();
  {
    const auto env = value_of(lmdb::Env::open(folder_ / "index", lmdb::Access::read_write));
    auto txn = value_of(env->write());
    const ChunkId id = chunk(0);
    value_of(txn.put(lmdb::run_table(7), id.view().first(16), Bytes{1, 2, 3}));
    value_of(txn.put(lmdb::run_table(7), Bytes{1, 2}, Bytes(8)));
    value_of(txn.put(lmdb::Table::meta, as_bytes("runs"),
                     encode_runs({{.table = 7, .rows = 9, .written = 1}})));
    value_of(txn.put(lmdb::Table::packs, Bytes{0, 0, 0, 9}, Bytes{1, 2, 3}));
    value_of(txn.put(lmdb::Table::packs, Bytes{1}, Bytes(20)));
    value_of(txn.commit());
  }
  open();
  EXPECT_EQ(find(0), std::nullopt);
  EXPECT_OK(index_->packs());
  EXPECT_OK(index_->remove_packs({PackId{}}));
  EXPECT_EQ(value_of(index_->chunk_count()), 0u);
  value_of(index_->insert({pack(0, 1)}));
  EXPECT_NE(find(0), std::nullopt);
}

TEST_F(IndexTest, WithADamagedListOfRunsSaysSoUntilItIsCleared) {
  value_of(index_->insert({pack(0, 10)}));
  index_.reset();
  const Bytes lists[] = {{1, 2, 3},
                         encode_runs({{.table = lmdb::kRuns, .rows = 1, .written = 1}}),
                         encode_runs({{.table = 1, .rows = 1}, {.table = 1, .rows = 1}}),
                         Bytes(std::size_t{13} * 255)};
  for (const Bytes& list : lists) {
    {
      const auto env = value_of(lmdb::Env::open(folder_ / "index", lmdb::Access::read_write));
      auto txn = value_of(env->write());
      value_of(txn.put(lmdb::Table::meta, as_bytes("runs"), list));
      value_of(txn.commit());
    }
    open();
    EXPECT_CODE(Code::corrupt, index_->find(chunk(0)));
    EXPECT_CODE(Code::corrupt, index_->insert({pack(0, 10)}));
    value_of(index_->clear());
    value_of(index_->insert({pack(0, 10)}));
    EXPECT_NE(find(9), std::nullopt);
    index_.reset();
  }
}

// A flipped bit in a key, and the rows of a run are out of order: no merge may hide that.
TEST_F(IndexTest, WithARunOutOfOrderSaysSoWhenItIsMerged) {
  for (std::uint64_t i = 0; i < 3; ++i) value_of(index_->insert({pack(i * 1000, 1000)}));
  index_.reset();
  Bytes file = test::read_whole(data());
  const ChunkId id = chunk(500);
  const auto at = std::search(file.begin(), file.end(), id.bytes.begin(), id.bytes.begin() + 16);
  ASSERT_NE(at, file.end());
  *at = static_cast<std::uint8_t>(*at ^ 0x80);
  test::write_whole(data(), file);
  open();
  EXPECT_CODE(Code::corrupt, index_->insert({pack(3000, 1000)}));
}

// Sixteen inserts, so that runs of several sizes stand and were merged.
TEST_F(IndexTest, FindsTheSameWhateverWasMerged) {
  std::vector<PackContents> packs;
  for (std::uint64_t i = 0; i < 16; ++i) {
    packs.push_back(pack(i * 1500, 2000));  // a quarter of each stands in the next one, too
    value_of(index_->insert({packs.back()}));
    for (std::uint64_t n = 0; n < (i + 1) * 1500; n += 7) {
      const std::uint64_t newest = n / 1500;
      EXPECT_EQ(find(n), (Location{packs[newest].pack, static_cast<std::uint32_t>(n % 1500)}));
    }
    EXPECT_EQ(find((i + 1) * 1500 + 500), std::nullopt);
    EXPECT_EQ(value_of(index_->chunk_count()), i * 1500 + 2000);
  }
  // Newer copies that go leave the older ones.
  std::vector<PackId> odd;
  for (std::size_t i = 1; i < packs.size(); i += 2) odd.push_back(packs[i].pack);
  value_of(index_->remove_packs(odd));
  EXPECT_EQ(find(1400), (Location{packs[0].pack, 1400}));
  EXPECT_EQ(find(2100), std::nullopt);
  EXPECT_EQ(value_of(index_->packs()).size(), 8u);
}

TEST_F(IndexTest, LetsNoRowsOfRemovedPacksPileUp) {
  std::vector<ChunkId> chunks;
  for (std::uint64_t i = 0; i < kLargeRun; ++i) {
    ChunkId id;  // as a keyed hash would be spread; noise would take longer than the test
    const std::uint64_t spread = (i + 1) * 0x9e3779b97f4a7c15;
    std::memcpy(id.bytes.data(), &spread, sizeof spread);
    chunks.push_back(id);
  }
  const auto copy = [&] { return PackContents{.pack = random_id<PackId>(), .chunks = chunks}; };
  const PackContents kept = pack(0, 100);
  value_of(index_->insert({kept}));
  std::uint64_t most = 0;
  const int rounds = test::kThreadSanitized ? 1 : test::kSanitized ? 2 : 4;  // a million rows each
  for (int i = 0; i < rounds; ++i) {
    const PackContents passing = copy();
    value_of(index_->insert({passing}));
    value_of(index_->remove_packs({passing.pack}));
    const auto size = std::filesystem::file_size(data());
    if (i == 1) most = size;
    if (i > 1) {
      EXPECT_LT(size, most * 3 / 2);
    }
  }
  EXPECT_EQ(value_of(index_->chunk_count()), 100u);
  EXPECT_EQ(find(99), (Location{kept.pack, 99}));
}

TEST_F(IndexTest, WritesLittleForARow) {
  const auto written = [] {
    std::ifstream io("/proc/self/io");
    std::string name;
    std::uint64_t value = 0;
    while (io >> name >> value && name != "wchar:") {
    }
    return value;
  };
  // 300 sessions of 400 chunks, as hourly backups are.
  const std::uint64_t before = written();
  for (std::uint64_t i = 0; i < 300; ++i) value_of(index_->insert({pack(i * 400, 400)}));
  EXPECT_LT(written() - before, 300u * 400 * 300);
}

// Asked so often that filters come up, beside a writer whose merges make them out of date.
TEST_F(IndexTest, AnswersTheSameWithFiltersOfItsRuns) {
  std::atomic<bool> done{false};
  value_of(index_->insert({pack(0, 20'000)}));
  std::vector<std::thread> readers;
  for (std::uint64_t t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      for (std::uint64_t n = t; !done.load(); n += 3) {
        EXPECT_NE(find(n % 20'000), std::nullopt);
        EXPECT_EQ(find(1'000'000 + n), std::nullopt);
      }
    });
  }
  std::vector<PackContents> packs;
  for (std::uint64_t i = 1; i <= 12; ++i) {
    packs.push_back(pack(i * 20'000, 5000));
    value_of(index_->insert({packs.back()}));
    for (std::uint64_t n = 0; n < 5000; ++n) {
      EXPECT_EQ(find(i * 20'000 + n), (Location{packs.back().pack, static_cast<std::uint32_t>(n)}));
      EXPECT_EQ(find(2'000'000'000 + n), std::nullopt);
    }
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
  value_of(index_->remove_packs({packs[3].pack}));
  EXPECT_EQ(find(4 * 20'000 + 7), std::nullopt);
  value_of(index_->clear());
  EXPECT_EQ(find(7), std::nullopt);
  value_of(index_->insert({pack(0, 20'000)}));
  for (std::uint64_t n = 0; n < 20'000; ++n) EXPECT_NE(find(n), std::nullopt);
}

TEST(RunFilter, HoldsAllThatWasAddedAndLittleElse) {
  constexpr std::uint64_t kRows = 50'000;
  const auto key = [](std::uint64_t n) {
    IndexRow::Key bytes{};
    std::copy_n(chunk(n).bytes.begin(), bytes.size(), bytes.begin());
    return bytes;
  };
  RunFilter filter(kRows);
  for (std::uint64_t n = 0; n < kRows; ++n) filter.add(key(n));
  std::uint64_t others = 0;
  for (std::uint64_t n = 0; n < kRows; ++n) {
    ASSERT_TRUE(filter.may_hold(key(n)));
    if (filter.may_hold(key(kRows + n))) ++others;
  }
  EXPECT_LT(others, kRows / 40);
}

TEST(RunFilters, ComeOnceTheyAreWorthItAndGoWithTheirRuns) {
  RunFilters filters;
  const IndexRun small{.table = 1, .rows = 100, .written = 5};
  const IndexRun large{.table = 2, .rows = 64'000, .written = 6};
  int worth = 0;
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_FALSE(filters.missed(small));
    if (!filters.missed(large)) continue;
    ++worth;
    EXPECT_EQ(i, 1000);
  }
  EXPECT_EQ(worth, 1);  // who was told so has not kept one yet
  const IndexRow::Key key{};
  EXPECT_EQ(may_hold(*filters.set(), large, key), std::nullopt);
  filters.keep(large, std::make_shared<RunFilter>(large.rows), {small, large});
  EXPECT_EQ(may_hold(*filters.set(), large, key), std::optional(false));
  const IndexRun next{.table = 2, .rows = 64'000, .written = 7};
  EXPECT_EQ(may_hold(*filters.set(), next, key), std::nullopt);
  const IndexRun other{.table = 3, .rows = 64'000, .written = 8};
  filters.keep(other, nullptr, {next, other});
  EXPECT_EQ(may_hold(*filters.set(), large, key), std::nullopt);
  EXPECT_EQ(may_hold(*filters.set(), other, key), std::nullopt);
  const IndexRun huge{.table = 4, .rows = 40'000'000, .written = 9};
  for (int i = 0; i < 1'000'000; ++i) ASSERT_FALSE(filters.missed(huge));
}

TEST(IndexRuns, StayFewAndAreSeldomWrittenAgain) {
  struct Case {
    const char* name;
    std::vector<std::uint64_t> inserts;  // over and over
    std::uint64_t rows;                  // in all
    std::size_t most_runs;
    double most_written;  // rows for a row
  };
  const Case cases[] = {
      {"hourly backups", {300}, 3'000'000, 20, 7},
      {"a bulk", {262'400}, 10'000'000, 16, 2.1},
      {"increments and bulks in turn", {1000, 300'000}, 10'000'000, 24, 3},
      {"of every size", {10, 70'000, 300, 9000, 100, 262'144, 4}, 10'000'000, 30, 4},
      {"ever larger than before", {1'100'000, 1'200'000}, 60'000'000, lmdb::kRuns, 1.01},
      {"more than tables can hold", {1'100'000}, 150'000'000, lmdb::kRuns, 3},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::uint64_t> runs;
    std::uint64_t total = 0, written = 0;
    std::size_t most_runs = 0;
    for (std::size_t i = 0; total < c.rows; ++i) {
      const std::uint64_t rows = c.inserts[i % c.inserts.size()];
      runs.insert(runs.begin(), rows);
      total += rows;
      std::vector<std::uint64_t> after;
      std::size_t at = 0;
      for (const std::size_t members : plan_merges(runs)) {
        std::uint64_t sum = 0;
        for (std::size_t m = 0; m < members; ++m) sum += runs[at + m];
        if (at == 0 || members > 1) written += sum;
        after.push_back(sum);
        at += members;
      }
      ASSERT_EQ(at, runs.size());
      runs = after;
      most_runs = std::max(most_runs, runs.size());
    }
    EXPECT_LE(most_runs, c.most_runs);
    EXPECT_LE(static_cast<double>(written) / static_cast<double>(total), c.most_written);
    EXPECT_EQ(std::accumulate(runs.begin(), runs.end(), std::uint64_t{0}), total);
  }
}

TEST_F(IndexTest, ServesReadersBesideAWriter) {
  value_of(index_->insert({pack(0, 1000)}));
  std::vector<std::thread> readers;
  for (unsigned t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      for (std::uint64_t i = 0; i < 1000; ++i) EXPECT_NE(find(i), std::nullopt);
    });
  }
  for (std::uint64_t i = 1; i <= 10; ++i) value_of(index_->insert({pack(i * 1000, 500)}));
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(value_of(index_->chunk_count()), 6000u);
}

// One flipped bit: an error, a miss or another row, but the process that asks must be able to
// throw it away. Deaths by signal are what `suspect` is for: they are counted, not forbidden.
TEST_F(IndexTest, SurvivesFlippedBitsOrIsMadeAnewAfterThem) {
  value_of(index_->insert({pack(0, 3000)}));
  index_.reset();
  const Bytes whole = test::read_whole(data());
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const Bytes random = test::noise(8, seed);
    std::uint32_t at = 0;
    std::memcpy(&at, random.data(), sizeof at);
    test::write_whole(data(), whole);
    test::flip_bit(data(), static_cast<std::int64_t>(at % whole.size()), random[7] % 8);
    std::fflush(nullptr);  // or the child prints it once more
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      forbid_core_dumps();
      const int quiet = ::open("/dev/null", O_WRONLY);
      ::dup2(quiet, STDERR_FILENO);
      watch_for_index_crashes();
      auto index = Index::open(system_files(), folder_ / "index", folder_ / "elsewhere");
      if (!index) ::_exit(2);
      for (std::uint64_t i = 0; i < 3000; ++i) ignore((*index)->find(chunk(i)), "any answer");
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    const bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (died) {
      EXPECT_TRUE(std::filesystem::exists(folder_ / "index/suspect"));
      open();
      EXPECT_TRUE(index_->is_fresh());
      index_.reset();
    }
  }
}

}  // namespace
}  // namespace bygone::store
