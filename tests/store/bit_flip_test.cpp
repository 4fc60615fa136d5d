// SPDX-License-Identifier: Apache-2.0
//
// Any bit, anywhere: right bytes or an error, never wrong bytes, never a crash. One bit of one file
// flips, all is read, and the bit flips back. BYGONE_FLIPS says how many, BYGONE_SEED repeats a
// run. And bytes of one kind where another kind belongs: never taken for it.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/notes.h"
#include "store/page.h"
#include "store/repair.h"
#include "store/slots.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/flips.h"
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

// All that proves itself byte by byte: a bit that flipped there never goes unseen.
const std::set<std::string> kSealed = {"config", "config-copy", "keys",     "snapshots",
                                       "notes",  "trash",       "condemned"};
// What nothing depends on.
const std::set<std::string> kIdle = {"damaged", "locks", "tmp", "reserve"};

std::string text_of(const test::Flip& flip) {
  return flip.file + " byte " + std::to_string(flip.at) + " bit " + std::to_string(flip.bit);
}

class BitFlip : public testing::Test {
 protected:
  std::string path() const { return flips_.path(); }

  // What verify has no eye for; empty when it sees all that it should.
  std::string unseen(const test::Flip& flip, bool whole) {
    const auto repository = Repository::open(path(), test::key_file());
    if (!repository) {
      // Another secret opens another slot.
      return flip.region == "keys" ? "" : repository.error().message;
    }
    const auto report = verify(**repository, {.read_data_percent = 100}, {}, never_);
    if (!report) return report.error().message;
    const auto names_it = [&](const std::string& line) {
      return line.find(flip.file) != std::string::npos;
    };
    if (kSealed.contains(flip.region)) {
      const auto& lines = report->damage;
      return std::any_of(lines.begin(), lines.end(), names_it) ? "" : "verify does not name it";
    }
    if (kIdle.contains(flip.region)) return report->damage.empty() ? "" : report->damage.front();
    const bool clean = report->damage.empty() && report->spare_damage.empty();
    return clean && !whole ? "verify finds nothing, and not all can be read" : "";
  }

  const std::atomic<bool> never_{false};
  const test::TempFolder folder_;
  const test::Flips flips_;
};

TEST_F(BitFlip, HasFilesInEveryPlaceThatTheFormatNames) {
  for (const char* region :
       {"config", "config-copy", "keys", "packs/data", "packs/page", "snapshots", "notes", "trash",
        "condemned", "damaged", "locks", "tmp", "reserve", "index"}) {
    EXPECT_TRUE(flips_.regions().contains(region)) << region;
  }
  EXPECT_EQ(flips_.regions().size(), 14u);
  EXPECT_EQ(flips_.regions().at("keys").size(), 2u);
  const auto repository = test::reopen(path());
  const Notes notes = value_of(read_notes(*repository));
  // What is said, and what was folded.
  for (const char* key : {"pin", "tag:kept", "verified", "trashed", "gone"}) {
    EXPECT_FALSE(notes.with_key(Subject::Kind::snapshot, key).empty()) << key;
  }
  ASSERT_EQ(notes.with_key(Subject::Kind::source, "gone").size(), 1u);
  EXPECT_TRUE(notes.superseded().empty()) << "an older note would win over one that is damaged";
  EXPECT_FALSE(value_of(condemned_packs(system_files(), repository->keys(), path())).empty());
  bool whole = false;
  EXPECT_EQ(flips_.lie(whole), "");
  EXPECT_TRUE(whole);
}

TEST_F(BitFlip, AnywhereInTheTruthGivesRightBytesOrAnError) {
  const std::uint64_t seed = test::seed_of_run();
  const std::uint64_t flips = test::number_from("BYGONE_FLIPS").value_or(1120 / test::kFewer);
  std::mt19937_64 random(seed);
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  testing::internal::CaptureStderr();  // every flip is worth a warning
  std::map<std::string, std::size_t> tried;
  std::string failure;
  for (std::uint64_t i = 0; i < flips && failure.empty(); ++i) {
    const test::Flip flip = flips_.choose(i, random);
    if (flip.region == "index") continue;
    flips_.flip(flip);
    bool whole = false;
    std::string fault = flips_.lie(whole);
    if (fault.empty()) fault = unseen(flip, whole);
    flips_.put_back(flip);
    ++tried[flip.region];
    bits_flipped.add();
    if (!fault.empty()) failure = text_of(flip) + ": " + fault;
  }
  static_cast<void>(testing::internal::GetCapturedStderr());
  EXPECT_EQ(failure, "");
  EXPECT_EQ(flips_.lie(), "");
  EXPECT_EQ(tried.size(), flips_.regions().size() - 1) << "a region was not hit";
  for (const auto& [region, times] : tried) EXPECT_GE(times, flips / 14) << region;
}

// LMDB may die of a damaged page of its own, by a signal: then the next start begins a new index.
TEST_F(BitFlip, AnywhereInTheIndexGivesRightBytesOrAnErrorAndTheNextStartWorks) {
  const std::uint64_t seed = test::seed_of_run();
  const std::uint64_t flips = test::number_from("BYGONE_FLIPS").value_or(1000 / test::kFewer) / 5;
  std::mt19937_64 random(seed);
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  for (std::uint64_t i = 0; i < flips; ++i) {
    const test::Flip flip = flips_.choose("index", random);
    flips_.flip(flip);
    bits_flipped.add();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // A sanitizer would make an exit code of the signal.
      for (const int fatal : {SIGSEGV, SIGBUS, SIGABRT}) std::signal(fatal, SIG_DFL);
      if (std::freopen("/dev/null", "w", stderr) == nullptr) ::_exit(kLied);
      ::_exit(flips_.lie().empty() ? 0 : kLied);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == kLied)
        << text_of(flip) << ": wrong bytes";
    flips_.put_back(flip);
  }
  EXPECT_EQ(flips_.lie(), "");
}

// Does what verify says, as a person would: moves aside what is broken, makes a slot anew that
// cannot be trusted, backs up again.
class Mending : public BitFlip {
 protected:
  static constexpr RecordKind kKinds[] = {RecordKind::snapshot, RecordKind::trashed,
                                          RecordKind::note,     RecordKind::list,
                                          RecordKind::key,      RecordKind::config};

  std::unique_ptr<Repository> open_with_any_secret() {
    auto own = Repository::open(path(), test::key_file());
    if (own) return std::move(own).value();
    return value_of(Repository::open(path(), test::Flips::other_secret()));
  }

  void make_slot_anew(std::unique_ptr<Repository>& repository, const std::string& name) {
    value_of(add_slot(*repository, test::key_file("a new one"), "anew"));
    repository.reset();
    repository = value_of(Repository::open(path(), test::key_file("a new one")));
    value_of(remove_slot(*repository, name));
  }

  // The lines of verify in the end.
  std::vector<std::string> mend() {
    auto repository = open_with_any_secret();
    static_cast<void>(value_of(verify(*repository, {.read_data_percent = 100}, {}, never_)));
    for (const RecordKind kind : kKinds) {
      for (const DamagedRecord& record : value_of(find_damaged(*repository, kind))) {
        if (record.must_stay) {
          make_slot_anew(repository, record.name);
        } else {
          value_of(repair_record(*repository, kind, record.name));
        }
      }
    }
    value_of(repair_packs(*repository, {.now = 1}, {}, never_));
    Nanoseconds instant = 1'720'000'000 * kSecond;
    for (const auto& [id, known] : flips_.known()) {
      value_of(test::back_up(*repository, known.tree,
                             {.source = known.snapshot.name, .instant = instant += kSecond}));
    }
    return value_of(verify(*repository, {.read_data_percent = 100}, {}, never_)).damage;
  }

  // Snapshots that are there read back right, and none is missing but the one that was hit.
  std::string loss(const test::Flip& flip) {
    const auto repository = open_with_any_secret();
    for (const auto& [id, known] : flips_.known()) {
      const auto snapshot =
          known.forgotten ? repository->trashed_snapshot(id) : repository->snapshot(id);
      if (!snapshot && flip.file.find(id.hex()) != std::string::npos) continue;
      if (!snapshot) return snapshot.error().message;
      const auto tree = test::read_back(*repository, *snapshot);
      if (!tree) return tree.error().message;
      if (*tree != known.tree) return "wrong bytes";
    }
    return "";
  }
};

TEST_F(Mending, LeavesNoDamageWhateverBitFlipped) {
  const std::uint64_t seed = test::seed_of_run();
  const std::uint64_t flips = test::number_from("BYGONE_FLIPS").value_or(560 / test::kFewer) / 5;
  std::mt19937_64 random(seed);
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  filesystem::copy(path(), folder_ / "origin", filesystem::copy_options::recursive);
  for (std::uint64_t i = 0; i < flips; ++i) {
    const test::Flip flip = flips_.choose(i, random);
    if (flip.region == "index") continue;
    SCOPED_TRACE(text_of(flip));
    flips_.flip(flip);
    testing::internal::CaptureStderr();
    std::vector<std::string> lines = mend();
    // A note has no copy: what it explained is a gap again.
    if (flip.region == "notes") {
      std::erase_if(lines, [](const std::string& line) {
        return line.find("the snapshot before it") != std::string::npos;
      });
    }
    const std::string lost = loss(flip);
    static_cast<void>(testing::internal::GetCapturedStderr());
    ASSERT_EQ(lines, std::vector<std::string>());
    ASSERT_EQ(lost, "");
    bits_flipped.add();
    filesystem::remove_all(path());
    filesystem::copy(folder_ / "origin", path(), filesystem::copy_options::recursive);
  }
}

class TypeConfusion : public BitFlip {
 protected:
  std::string first_in(const std::string& region) {
    return path() + "/" + flips_.regions().at(region).front();
  }
};

TEST_F(TypeConfusion, ContentThatLooksLikeOursIsStoredAndReadAsContent) {
  auto repository = test::reopen(path());
  const Snapshot& snapshot = flips_.known().begin()->second.snapshot;
  const ChunkId page_id = snapshot.volumes[0].root.node.page;
  const Bytes page = *value_of(repository->chunks().get(ChunkKind::page, page_id));
  const std::size_t live = value_of(repository->snapshot_ids()).size();
  const Notes notes = value_of(read_notes(*repository));
  const Note& note = *notes.with_key(Subject::Kind::snapshot, "pin").at(0);
  MemoryTree crafted = {{"page", page},
                        {"config", test::read_whole(path() + "/config")},
                        {"snapshot", test::read_whole(first_in("snapshots"))},
                        {"record", encode_snapshot(snapshot)},
                        {"note", test::read_whole(first_in("notes"))},
                        {"plain-note", encode_note(note)},
                        {"slot", test::read_whole(first_in("keys"))},
                        {"pack", test::read_whole(first_in("packs/data"))}};
  const Snapshot made = value_of(test::back_up(*repository, crafted, {.source = "attacker"}));
  EXPECT_EQ(value_of(test::read_back(*repository, made)), crafted);
  EXPECT_EQ(value_of(repository->snapshot_ids()).size(), live + 1);
  // The same bytes have another id as content, and neither id gives the other kind.
  const ChunkId as_data = repository->keys().chunk_id(ChunkKind::data, page);
  EXPECT_NE(as_data, page_id);
  EXPECT_OK(repository->chunks().get(ChunkKind::data, as_data));
  EXPECT_FALSE(repository->chunks().get(ChunkKind::page, as_data).ok());
  EXPECT_FALSE(repository->chunks().get(ChunkKind::data, page_id).ok());
  EXPECT_FALSE(repository->trees().page(as_data).ok());
  EXPECT_TRUE(value_of(verify(*repository, {.read_data_percent = 100}, {}, never_)).damage.empty());
}

TEST_F(TypeConfusion, AFileInThePlaceOfAnotherIsNeverTakenForIt) {
  struct Case {
    const char* what;
    std::string from, to;
  };
  const std::string id = random_id<SnapshotId>().hex();
  const std::size_t notes = flips_.regions().at("notes").size();
  const std::size_t live = flips_.regions().at("snapshots").size();
  const Case cases[] = {
      {"a snapshot as a note", first_in("snapshots"), path() + "/notes/" + id},
      {"a note as a snapshot", first_in("notes"), path() + "/snapshots/" + id},
      {"a snapshot under another name", first_in("snapshots"), path() + "/snapshots/" + id},
      {"a note under another name", first_in("notes"), path() + "/notes/" + id},
      {"a pack as a snapshot", first_in("packs/data"), path() + "/snapshots/" + id},
      {"a pack under another name", first_in("packs/data"),
       path() + "/packs/" + id.substr(0, 2) + "/" + id},
      {"a snapshot as a pack", first_in("snapshots"),
       path() + "/packs/" + id.substr(0, 2) + "/" + id},
      {"a snapshot as a key slot", first_in("snapshots"), path() + "/keys/" + id},
      {"a note as a list", first_in("notes"), path() + "/condemned/9"},
      {"a list under another number", first_in("condemned"), path() + "/condemned/9"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    filesystem::copy_file(each.from, each.to);
    EXPECT_EQ(flips_.lie(), "");
    const auto repository = test::reopen(path());
    EXPECT_EQ(value_of(read_notes(*repository)).size(), notes);
    std::vector<std::string> damaged;
    EXPECT_EQ(value_of(repository->snapshots(&damaged)).size(), live);
    filesystem::remove(each.to);
  }
}

}  // namespace
}  // namespace bygone::store
