// SPDX-License-Identifier: Apache-2.0
//
// Any bit, anywhere: right bytes or an error, never wrong bytes, never a crash. One bit of one file
// flips, all is read, and the bit flips back. BYGONE_FLIPS says how many, BYGONE_SEED repeats a
// run. And bytes of one kind where another kind belongs: never taken for it.
#include <csignal>
#include <filesystem>
#include <random>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/chunk_store.h"
#include "store/notes.h"
#include "store/page.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

test::Tally bits_flipped("bits flipped");

constexpr int kLied = 77;  // exit code of a child; LMDB's own death may come as 1 by a sanitizer

class BitFlip : public testing::Test {
 protected:
  BitFlip() {
    MemoryTree tree = {{"a", test::noise(120'000, 1)},
                       {"b/c", test::prose(80'000, 2)},
                       {"b/tiny", test::noise(20, 3)},
                       {"b/small", test::noise(900, 4)}};
    auto repository = test::new_repository(path());
    filesystem::remove(path() + "/reserve");
    for (int i = 0; i < 3; ++i) {
      tree["a"][1000] ^= 1;  // a delta from the second on
      const auto snapshot =
          value_of(test::back_up(*repository, tree, {.instant = (1'710'000'000 + i) * kSecond}));
      snapshots_.emplace(snapshot.id, std::pair(snapshot, tree));
    }
    Notes notes;
    value_of(write_notes(*repository, notes,
                         {{.subject = Subject::of(snapshots_.begin()->first),
                           .key = "tag:kept",
                           .value = {1, 2, 3}}},
                         1));
    note_ = *notes.find(Subject::of(snapshots_.begin()->first), "tag:kept");
    repository.reset();
    for (const auto& each : filesystem::recursive_directory_iterator(path())) {
      if (!each.is_regular_file() || each.file_size() == 0) continue;
      const std::string name = filesystem::relative(each.path(), path());
      if (name.starts_with("locks/") || name.ends_with("lock.mdb")) continue;
      files_[name.substr(0, name.find('/'))].push_back(name);
      bytes_[name] = test::read_whole(each.path());
    }
  }

  std::string path() const { return folder_.path() + "/repo"; }

  // What is wrong with the repository; empty when all that it gives is right.
  std::string lie() {
    auto repository = Repository::open(path(), test::key_file());
    if (!repository) return "";
    const auto ids = (*repository)->snapshot_ids();
    if (!ids) return "";
    for (const SnapshotId& id : *ids) {
      const auto snapshot = (*repository)->snapshot(id);
      if (!snapshot) continue;
      const auto known = snapshots_.find(id);
      if (known == snapshots_.end()) return "a snapshot that was never made";
      if (*snapshot != known->second.first) return "a snapshot that says something else";
      const auto tree = test::read_back(**repository, *snapshot);
      if (tree && *tree != known->second.second) return "wrong bytes";
    }
    const auto notes = read_notes(**repository);
    if (!notes) return "";
    for (const Note* note : notes->about(note_.subject)) {
      if (*note != note_) return "a note that says something else";
    }
    return "";
  }

  // Everything as it was, the index too: reading may have mended it.
  void put_back(const std::string& name) {
    test::write_whole(path() + "/" + name, bytes_.at(name));
    for (const std::string& index : files_["index"]) {
      test::write_whole(path() + "/" + index, bytes_.at(index));
    }
    filesystem::remove(path() + "/index/suspect");
  }

  test::TempFolder folder_;
  std::map<SnapshotId, std::pair<Snapshot, MemoryTree>> snapshots_;
  Note note_;
  std::map<std::string, std::vector<std::string>> files_;  // by the folder at the top
  std::map<std::string, Bytes> bytes_;
};

TEST_F(BitFlip, AnywhereInTheTruthGivesRightBytesOrAnError) {
  const std::uint64_t seed = test::seed_of_run();
  const std::uint64_t flips = test::number_from("BYGONE_FLIPS").value_or(1000);
  std::mt19937_64 random(seed);
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  testing::internal::CaptureStderr();  // every flip is worth a warning
  std::size_t tried = 0;
  for (std::uint64_t i = 0; i < flips; ++i) {
    // Regions in turn, so that the small ones get their share.
    auto region = files_.begin();
    std::advance(region, static_cast<std::ptrdiff_t>(i % files_.size()));
    if (region->first == "index") continue;
    const std::string name = region->second[random() % region->second.size()];
    const std::uint64_t at = random() % bytes_.at(name).size();
    const unsigned bit = static_cast<unsigned>(random() % 8);
    test::flip_bit(path() + "/" + name, static_cast<std::int64_t>(at), bit);
    const std::string fault = lie();
    put_back(name);
    ++tried;
    bits_flipped.add();
    if (!fault.empty()) {
      static_cast<void>(testing::internal::GetCapturedStderr());
      FAIL() << name << " byte " << at << " bit " << bit << ": " << fault;
    }
  }
  static_cast<void>(testing::internal::GetCapturedStderr());
  EXPECT_GT(tried, flips / 2);
  EXPECT_EQ(lie(), "");
  RecordProperty("flips", static_cast<int>(tried));
}

// LMDB may die of a damaged page of its own, by a signal: then the next start begins a new index.
TEST_F(BitFlip, AnywhereInTheIndexGivesRightBytesOrAnErrorAndTheNextStartWorks) {
  const std::uint64_t seed = test::seed_of_run();
  const std::uint64_t flips = test::number_from("BYGONE_FLIPS").value_or(1000) / 5;
  std::mt19937_64 random(seed);
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  for (std::uint64_t i = 0; i < flips; ++i) {
    const std::string name = files_["index"][random() % files_["index"].size()];
    const std::uint64_t at = random() % bytes_.at(name).size();
    test::flip_bit(path() + "/" + name, static_cast<std::int64_t>(at),
                   static_cast<unsigned>(random() % 8));
    bits_flipped.add();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // A sanitizer would make an exit code of the signal.
      for (const int fatal : {SIGSEGV, SIGBUS, SIGABRT}) std::signal(fatal, SIG_DFL);
      if (std::freopen("/dev/null", "w", stderr) == nullptr) ::_exit(kLied);
      ::_exit(lie().empty() ? 0 : kLied);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == kLied)
        << name << " byte " << at << ": wrong bytes";
    put_back(name);
  }
  EXPECT_EQ(lie(), "");
}

class TypeConfusion : public BitFlip {
 protected:
  std::string first_in(const std::string& region) {
    return path() + "/" + files_.at(region).front();
  }
};

TEST_F(TypeConfusion, ContentThatLooksLikeOursIsStoredAndReadAsContent) {
  auto repository = test::reopen(path());
  const Snapshot& snapshot = snapshots_.begin()->second.first;
  const ChunkId page_id = snapshot.volumes[0].root.node.page;
  const Bytes page = *value_of(repository->chunks().get(ChunkKind::page, page_id));
  MemoryTree crafted = {{"page", page},
                        {"config", test::read_whole(path() + "/config")},
                        {"snapshot", test::read_whole(first_in("snapshots"))},
                        {"record", encode_snapshot(snapshot)},
                        {"note", test::read_whole(first_in("notes"))},
                        {"plain-note", encode_note(note_)},
                        {"slot", test::read_whole(first_in("keys"))},
                        {"pack", test::read_whole(first_in("packs"))}};
  const Snapshot made = value_of(test::back_up(*repository, crafted, {.source = "attacker"}));
  EXPECT_EQ(value_of(test::read_back(*repository, made)), crafted);
  EXPECT_EQ(value_of(repository->snapshot_ids()).size(), snapshots_.size() + 1);
  // The same bytes have another id as content, and neither id gives the other kind.
  const ChunkId as_data = repository->keys().chunk_id(ChunkKind::data, page);
  EXPECT_NE(as_data, page_id);
  EXPECT_OK(repository->chunks().get(ChunkKind::data, as_data));
  EXPECT_FALSE(repository->chunks().get(ChunkKind::page, as_data).ok());
  EXPECT_FALSE(repository->chunks().get(ChunkKind::data, page_id).ok());
  EXPECT_FALSE(repository->trees().page(as_data).ok());
  const std::atomic<bool> cancel{false};
  EXPECT_TRUE(value_of(verify(*repository, {.read_data_percent = 100}, {}, cancel)).damage.empty());
}

TEST_F(TypeConfusion, AFileInThePlaceOfAnotherIsNeverTakenForIt) {
  struct Case {
    const char* what;
    std::string from, to;
  };
  const std::string id = random_id<SnapshotId>().hex();
  const Case cases[] = {
      {"a snapshot as a note", first_in("snapshots"), path() + "/notes/" + id},
      {"a note as a snapshot", first_in("notes"), path() + "/snapshots/" + id},
      {"a snapshot under another name", first_in("snapshots"), path() + "/snapshots/" + id},
      {"a note under another name", first_in("notes"), path() + "/notes/" + id},
      {"a pack as a snapshot", first_in("packs"), path() + "/snapshots/" + id},
      {"a pack under another name", first_in("packs"),
       path() + "/packs/" + id.substr(0, 2) + "/" + id},
      {"a snapshot as a pack", first_in("snapshots"),
       path() + "/packs/" + id.substr(0, 2) + "/" + id},
      {"a snapshot as a key slot", first_in("snapshots"), path() + "/keys/" + id},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    filesystem::copy_file(each.from, each.to);
    EXPECT_EQ(lie(), "");
    const auto repository = test::reopen(path());
    EXPECT_EQ(value_of(read_notes(*repository)).size(), 1u);
    std::vector<std::string> damaged;
    EXPECT_EQ(value_of(repository->snapshots(&damaged)).size(), snapshots_.size());
    filesystem::remove(each.to);
  }
}

}  // namespace
}  // namespace bygone::store
