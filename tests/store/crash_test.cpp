// SPDX-License-Identifier: Apache-2.0
//
// The crash argument of FORMAT.md section 10, attacked: a fault or a death at every call, a power
// cut after every call, and the order of writes with each sync left out.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/prune.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/delta_pack.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::Call;
using test::FaultyFiles;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

const std::atomic<bool> kNoCancel{false};

class Crash : public testing::Test {
 protected:
  const MemoryTree one_ = {{"a", test::noise(3000, 1)}, {"b/c", test::noise(40'000, 2)}};
  // Stored whole, and as a delta on what the first backup stored.
  const MemoryTree two_ = {{"a", test::noise(3000, 3)}, {"b/c", reversed(test::noise(40'000, 2))}};
  const MemoryTree three_ = {{"z", test::noise(4000, 4)}};
  static constexpr Nanoseconds kFirst = 1'710'000'000 * kSecond;

  static Bytes reversed(Bytes text) {
    std::reverse(text.begin() + 1000, text.begin() + 1100);
    return text;
  }

  static Result<Snapshot> back_up(const std::string& path, const std::string& index,
                                  const MemoryTree& tree, Nanoseconds instant,
                                  Files& files = system_files()) {
    const auto repository =
        TRY(Repository::open(path, test::key_file(), {.index_dir = index, .files = &files}));
    return test::back_up(*repository, tree, {.instant = instant});
  }

  // What is wrong with the repository, empty when nothing is: every snapshot that is listed reads
  // as what was backed up at its instant, `committed` are listed, nothing is damaged, and a next
  // backup works.
  std::string fault_of(const std::string& path, const std::string& index,
                       const std::map<Nanoseconds, MemoryTree>& known,
                       const std::set<Nanoseconds>& committed) {
    auto repository = Repository::open(path, test::key_file(), {.index_dir = index});
    if (!repository) return repository.error().message;
    auto snapshots = (*repository)->snapshots();
    if (!snapshots) return snapshots.error().message;
    std::set<Nanoseconds> listed;
    for (const Snapshot& snapshot : *snapshots) {
      listed.insert(snapshot.instant);
      const auto tree = test::read_back(**repository, snapshot);
      if (!tree) return tree.error().message;
      const auto wanted = known.find(snapshot.instant);
      if (wanted == known.end() || *tree != wanted->second) return "another tree than backed up";
    }
    for (const Nanoseconds instant : committed) {
      if (!listed.contains(instant)) return "a committed snapshot is gone";
    }
    const std::atomic<bool> cancel{false};
    const auto report = verify(**repository, {.read_data_percent = 100}, {}, cancel);
    if (!report) return report.error().message;
    if (!report->damage.empty()) return report->damage.front();
    const auto next = test::back_up(**repository, three_, {.instant = kFirst + 1000});
    if (!next) return next.error().message;
    const auto tree = test::read_back(**repository, *next);
    if (!tree) return tree.error().message;
    return *tree == three_ ? "" : "the next backup reads wrong";
  }

  test::TempFolder folder_;
};

TEST_F(Crash, InitSurvivesAFaultAndADeathAtEveryCall) {
  for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
    for (std::size_t n = 1;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      const std::string path = folder_ / "repo";
      filesystem::remove_all(path);
      FaultyFiles files(system_files());
      files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
      const auto created = Repository::create(path, test::key_file(), files);
      if (!files.fired()) {
        EXPECT_OK(created);
        EXPECT_GT(n, 40u);
        break;
      }
      const std::string where = files.failed_call().second;
      if (!Repository::open(path, test::key_file()).ok()) {
        ASSERT_FALSE(created.ok()) << where;
        ASSERT_OK(Repository::create(path, test::key_file())) << where;
      }
      ASSERT_EQ(fault_of(path, folder_ / "index", {}, {}), "") << where;
      filesystem::remove_all(folder_ / "index");
      n += files.calls_alike();
    }
  }
}

TEST_F(Crash, ScenarioWritesADelta) {
  const std::string path = folder_ / "repo";
  value_of(Repository::create(path, test::key_file()));
  value_of(back_up(path, folder_ / "index", one_, kFirst));
  value_of(back_up(path, folder_ / "index", two_, kFirst + 1));
  const auto repository =
      value_of(Repository::open(path, test::key_file(), {.index_dir = folder_ / "index"}));
  std::size_t deltas = 0;
  for (const PackId& pack : value_of(repository->chunks().list_packs())) {
    for (const Record& record : value_of(repository->chunks().pack(pack))->records()) {
      if (record.base) ++deltas;
    }
  }
  EXPECT_EQ(deltas, 1u);
}

TEST_F(Crash, BackupSurvivesAFaultAndADeathAtEveryCall) {
  const std::string origin = folder_ / "origin";
  const std::string path = folder_ / "repo";
  value_of(Repository::create(origin, test::key_file()));
  value_of(back_up(origin, folder_ / "index0", one_, kFirst));
  filesystem::remove(origin + "/reserve");  // 8 MiB to copy each time
  for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
    for (std::size_t n = 1;; n += test::kCallStride) {
      SCOPED_TRACE(n);
      filesystem::remove_all(path);
      filesystem::copy(origin, path, filesystem::copy_options::recursive);
      filesystem::copy(folder_ / "index0", folder_ / "index", filesystem::copy_options::recursive);
      FaultyFiles files(system_files());
      files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
      const auto done = back_up(path, folder_ / "index", two_, kFirst + 1, files);
      std::set<Nanoseconds> committed = {kFirst};
      if (done) committed.insert(kFirst + 1);
      const std::string where = files.failed_call().second;
      ASSERT_EQ(fault_of(path, folder_ / "index", {{kFirst, one_}, {kFirst + 1, two_}}, committed),
                "")
          << where;
      filesystem::remove_all(folder_ / "index");
      if (!files.fired()) {
        EXPECT_OK(done);
        EXPECT_GT(n, 40u);
        break;
      }
      n += files.calls_alike();
    }
  }
}

TEST_F(Crash, APowerCutAfterAnyCallLosesNothingThatWasCommitted) {
  const std::string root = folder_ / "disk";
  filesystem::create_directory(root);
  value_of(Repository::create(root + "/repo", test::key_file()));
  value_of(back_up(root + "/repo", folder_ / "index0", one_, kFirst));
  filesystem::remove(root + "/repo/reserve");
  filesystem::copy(root, folder_ / "origin", filesystem::copy_options::recursive);
  for (std::size_t n = 1;; n += test::kCallStride) {
    SCOPED_TRACE(n);
    filesystem::remove_all(root);
    filesystem::remove_all(folder_ / "index");
    filesystem::copy(folder_ / "origin", root, filesystem::copy_options::recursive);
    filesystem::copy(folder_ / "index0", folder_ / "index", filesystem::copy_options::recursive);
    PowerCutFiles disk(system_files(), root);
    FaultyFiles files(disk);
    files.fail_at(n, EIO, FaultyFiles::Then::stay_dead);
    const auto done = back_up(root + "/repo", folder_ / "index", two_, kFirst + 1, files);
    std::set<Nanoseconds> committed = {kFirst};
    if (done) committed.insert(kFirst + 1);
    for (const auto unsynced : PowerCutFiles::kCuts) {
      const std::string after = folder_ / "after";
      disk.cut(after, unsynced);
      // LMDB does its own writes: its rows may all have reached the disk.
      const bool keep_index = unsynced != PowerCutFiles::Unsynced::names;
      ASSERT_EQ(fault_of(after + "/repo", folder_ / (keep_index ? "index" : "fresh"),
                         {{kFirst, one_}, {kFirst + 1, two_}}, committed),
                "")
          << files.failed_call().second;
      filesystem::remove_all(after);
      filesystem::remove_all(folder_ / "fresh");
    }
    if (!files.fired()) {
      EXPECT_GT(n, 40u);
      break;
    }
    n += files.calls_alike();
  }
}

// What is left after the power goes the moment a run has ended; empty when nothing is wrong.
class SyncOrder : public Crash {
 protected:
  std::string fault_after_init(const PowerCutFiles::Lies& lies) {
    const std::string root = folder_ / "disk";
    filesystem::create_directory(root);
    PowerCutFiles disk(system_files(), root);
    disk.lie_about(lies);
    value_of(Repository::create(root + "/repo", test::key_file(), disk));
    return cut(disk, {}, {});
  }

  std::string fault_after_backup(const PowerCutFiles::Lies& lies) {
    const std::string root = folder_ / "disk";
    filesystem::create_directory(root);
    value_of(Repository::create(root + "/repo", test::key_file()));
    PowerCutFiles disk(system_files(), root);
    disk.lie_about(lies);
    value_of(back_up(root + "/repo", folder_ / "index", one_, kFirst, disk));
    return cut(disk, {{kFirst, one_}}, {kFirst});
  }

  // A session that died left a pack whose folder nobody synced; the next one builds on it.
  std::string fault_after_adoption(bool sync_bucket) {
    const std::string root = folder_ / "disk";
    filesystem::create_directory(root);
    value_of(Repository::create(root + "/repo", test::key_file()));
    PowerCutFiles disk(system_files(), root);
    {
      const auto repository = value_of(Repository::open(
          root + "/repo", test::key_file(), {.index_dir = folder_ / "index", .files = &disk}));
      const PackId pack = test::write_pack(*repository, {{.raw = one_.at("a")}});
      const std::string bucket = parent_folder(pack_path(root + "/repo", pack));
      if (!sync_bucket) disk.lie_about(about_end(Call::sync_directory, bucket));
    }
    value_of(back_up(root + "/repo", folder_ / "index", {{"a", one_.at("a")}}, kFirst, disk));
    return cut(disk, {{kFirst, {{"a", one_.at("a")}}}}, {kFirst});
  }

  // A session that died left a copy of a chunk in a pack whose folder nobody synced. Prune keeps
  // that one, for it is newer, and deletes the other.
  std::string fault_after_prune() {
    const std::string root = folder_ / "disk";
    const MemoryTree tree{{"a", one_.at("a")}};
    filesystem::create_directory(root);
    value_of(Repository::create(root + "/repo", test::key_file()));
    value_of(back_up(root + "/repo", folder_ / "index", tree, kFirst));
    for (const auto& each : filesystem::recursive_directory_iterator(root + "/repo/packs")) {
      filesystem::last_write_time(each.path(), each.last_write_time() - std::chrono::hours(1));
    }
    PowerCutFiles disk(system_files(), root);
    {
      const auto repository = value_of(Repository::open(
          root + "/repo", test::key_file(), {.index_dir = folder_ / "index", .files = &disk}));
      const PackId left = test::write_pack(*repository, {{.raw = tree.at("a")}});
      value_of(prune(*repository, {.spare_orphans = std::chrono::seconds(0)}, {}, kNoCancel));
      const auto packs = value_of(repository->chunks().list_packs());
      EXPECT_NE(std::find(packs.begin(), packs.end(), left), packs.end()) << "the other was kept";
      EXPECT_EQ(packs.size(), 2u);
    }
    return cut(disk, {{kFirst, tree}}, {kFirst});
  }

  std::string cut(const PowerCutFiles& disk, const std::map<Nanoseconds, MemoryTree>& known,
                  const std::set<Nanoseconds>& committed) {
    disk.cut(folder_ / "after", PowerCutFiles::Unsynced::nothing);
    const std::string fault = fault_of(folder_ / "after/repo", folder_ / "fresh", known, committed);
    for (const char* name : {"disk", "after", "fresh", "index"}) {
      filesystem::remove_all(folder_ / name);
    }
    return fault;
  }

  static PowerCutFiles::Lies about(Call call, const std::string& part) {
    return [=](Call c, const std::string& path) {
      return c == call && path.find(part) != std::string::npos;
    };
  }
  static PowerCutFiles::Lies about_end(Call call, const std::string& end) {
    return [=](Call c, const std::string& path) { return c == call && path.ends_with(end); };
  }
};

TEST_F(SyncOrder, IsSufficient) {
  EXPECT_EQ(fault_after_init({}), "");
  EXPECT_EQ(fault_after_backup({}), "");
  EXPECT_EQ(fault_after_adoption(true), "");
  EXPECT_EQ(fault_after_prune(), "");
}

// Mutations of the code: with any one sync left out a power cut does harm, and these tests see it.
TEST_F(SyncOrder, OfInitHasNoSyncTooMany) {
  const std::pair<const char*, PowerCutFiles::Lies> lies[] = {
      {"data of config", about_end(Call::sync_data, "/tmp/config")},
      {"data of its copy", about_end(Call::sync_data, "/tmp/config-copy")},
      {"data of the key slot",
       [](Call call, const std::string& path) {
         return call == Call::sync_data && path.find("/tmp/") != std::string::npos &&
                path.find("/config") == std::string::npos;
       }},
      {"folder of the key slot", about_end(Call::sync_directory, "/keys")},
      {"folder of packs", about_end(Call::sync_directory, "/packs")},
      {"folder of locks", about_end(Call::sync_directory, "/locks")},
      {"folder of config", about_end(Call::sync_directory, "/repo")},
      {"parent folder", about_end(Call::sync_directory, "/disk")},
  };
  for (const auto& [name, lie] : lies) EXPECT_NE(fault_after_init(lie), "") << name;
}

TEST_F(SyncOrder, OfBackupHasNoSyncTooMany) {
  const std::pair<const char*, PowerCutFiles::Lies> lies[] = {
      {"data of packs", about(Call::sync_data, "/tmp/pack-")},
      {"folders of packs", about(Call::sync_directory, "/packs/")},
      {"data of the record",
       [](Call call, const std::string& path) {
         return call == Call::sync_data && path.find("/pack-") == std::string::npos;
       }},
      {"folder of records", about_end(Call::sync_directory, "/snapshots")},
  };
  for (const auto& [name, lie] : lies) EXPECT_NE(fault_after_backup(lie), "") << name;
}

TEST_F(SyncOrder, OfAdoptionHasNoSyncTooMany) { EXPECT_NE(fault_after_adoption(false), ""); }

}  // namespace
}  // namespace bygone::store
