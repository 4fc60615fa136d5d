// SPDX-License-Identifier: Apache-2.0
//
// An index that is lost, suspect or rubbish is made anew: a fault and a death at every call of
// that. Afterwards, with no hand laid on, all snapshots read back, the index knows every record
// again, nothing is called lost that is there, and what is lost is not passed by.
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/damage_marks.h"
#include "store/index.h"
#include "store/notes.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::FaultyFiles;
using test::MemoryTree;
using test::value_of;

const std::atomic<bool> kGoesOn{false};

class IndexCrash : public testing::Test {
 protected:
  // Two snapshots, of which the second one needs a delta on what the first one stored.
  IndexCrash() {
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);  // where a private index would be
    value_of(Repository::create(origin_, test::key_file()));
    const auto repository = test::reopen(origin_);
    keep(*repository, {{"a", test::noise(3000, 1)}, {"b/c", test::noise(40'000, 2)}});
    Bytes changed = test::noise(40'000, 2);
    std::fill(changed.begin() + 1000, changed.begin() + 1100, std::uint8_t{7});
    keep(*repository, {{"a", test::noise(3000, 3)}, {"b/c", changed}});
    filesystem::remove(origin_ + "/reserve");  // 8 MiB to copy each time
  }
  ~IndexCrash() override { ::unsetenv("XDG_CACHE_HOME"); }

  void keep(Repository& repository, const MemoryTree& tree) {
    now_ += kSecond;
    trees_[value_of(test::back_up(repository, tree, {.instant = now_})).id] = tree;
  }

  std::string fault_of_snapshots(Repository& repository) {
    return test::fault_of_trees(repository, trees_);
  }

  // All that makes an index anew or asks one.
  Result<void> work(Files& files, bool rebuild) {
    const auto repository = TRY(Repository::open(path_, test::key_file(), {.files = &files}));
    if (rebuild) TRY(repository->chunks().rebuild_index());
    for (const Snapshot& snapshot : TRY(repository->snapshots())) {
      if (TRY(test::read_back(*repository, snapshot)) != trees_.at(snapshot.id)) {
        return Error{Code::corrupt, 0, "another tree than backed up"};
      }
    }
    TRY(Session::begin(*repository, Compression::fastest));
    return {};
  }

  // What is wrong with what the work left; empty when nothing is.
  std::string fault() {
    const auto opened = Repository::open(path_, test::key_file());
    if (!opened) return opened.error().message;
    Repository& repository = **opened;
    if (const auto found = fault_of_snapshots(repository); !found.empty()) return found;
    if (const auto session = Session::begin(repository, Compression::fastest); !session) {
      return session.error().message;
    }
    const DamageMarks marks(value_of(read_notes(repository)));
    if (!marks.packs().empty()) return "packs are called missing that are there";
    std::set<ChunkId> all;
    for (const PackId& pack : value_of(repository.chunks().list_packs())) {
      for (const Record& record : value_of(repository.chunks().pack(pack))->records()) {
        all.insert(record.id);
        const auto at = repository.index().find(record.id);
        if (!at) return at.error().message;
        if (!*at || (*at)->pack != pack) return "a record that the index does not know";
      }
    }
    if (value_of(repository.index().chunk_count()) != all.size())
      return "rows of what is not there";
    const auto report = verify(repository, {.read_data_percent = 100}, {}, kGoesOn);
    if (!report) return report.error().message;
    return report->damage.empty() ? "" : report->damage.front();
  }

  // With an index of which `prepare` took something.
  void attack(const std::function<void(const std::string& index)>& prepare, bool rebuild) {
    for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
      for (std::size_t n = 1;; n += test::kCallStride) {
        SCOPED_TRACE(n);
        filesystem::remove_all(path_);
        filesystem::copy(origin_, path_, filesystem::copy_options::recursive);
        prepare(path_ + "/index");
        FaultyFiles files(system_files());
        files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
        const auto done = work(files, rebuild);
        ASSERT_EQ(fault(), "") << files.failed_call().second;
        if (!files.fired()) {
          EXPECT_OK(done);
          EXPECT_GT(n, 100u);
          break;
        }
        n += files.calls_alike();
      }
    }
  }

  test::TempFolder folder_;
  const std::string origin_ = folder_ / "origin";
  const std::string path_ = folder_ / "repo";
  std::map<SnapshotId, MemoryTree> trees_;
  Nanoseconds now_ = 1'710'000'000 * kSecond;
};

TEST_F(IndexCrash, OneThatIsLostComesBackWhateverCallFails) {
  attack([](const std::string& index) { filesystem::remove_all(index); }, false);
}

TEST_F(IndexCrash, OneThatIsSuspectComesBackWhateverCallFails) {
  attack([](const std::string& index) { test::write_whole(index + "/suspect", {}); }, false);
}

TEST_F(IndexCrash, OneThatIsRubbishComesBackWhateverCallFails) {
  attack(
      [](const std::string& index) {
        test::write_whole(index + "/data.mdb", test::noise(40'000, 1));
      },
      false);
}

TEST_F(IndexCrash, OneThatIsRebuiltIsWholeWhateverCallFails) {
  attack([](const std::string&) {}, true);
}

// The rebuilding forgets the names of packs that are gone for a while. Whoever backs up next looks
// up what unchanged files would keep, although no session has missed the pack yet.
TEST_F(IndexCrash, APackThatIsGoneIsNotPassedByAfterARebuildThatFailed) {
  for (std::size_t n = 1;; n += test::kCallStride) {
    SCOPED_TRACE(n);
    filesystem::remove_all(path_);
    filesystem::copy(origin_, path_, filesystem::copy_options::recursive);
    FaultyFiles files(system_files());
    {
      const auto repository =
          value_of(Repository::open(path_, test::key_file(), {.files = &files}));
      const auto packs = value_of(repository->chunks().list_packs());
      filesystem::remove(pack_path(path_, packs.front()));
      files.fail_at(n, EIO, FaultyFiles::Then::recover);
      const auto rebuilt = repository->chunks().rebuild_index();
      // A pack that cannot be opened is passed by with a warning.
      if (!files.fired()) {
        EXPECT_OK(rebuilt);
      }
    }
    const auto repository = value_of(Repository::open(path_, test::key_file()));
    const auto session = value_of(Session::begin(*repository, Compression::fastest));
    const auto source = value_of(session->claim(SourceKind::container, "engine", "host", "db"));
    ASSERT_TRUE(source.may_lack_chunks) << files.failed_call().second;
    if (!files.fired()) break;
    n += files.calls_alike();
  }
}

}  // namespace
}  // namespace bygone::store
