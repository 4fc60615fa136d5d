// SPDX-License-Identifier: Apache-2.0
//
// Prune beside everything else, as a model: at random calls to the file system, whoever makes
// them, something else happens in between: a backup begins, commits or ends, a snapshot is
// forgotten, restored or removed for good, a reader looks, a verify begins, another prune runs. One
// thread and a seed, so that what fails can be run again. BYGONE_SEEDS: how many seeds instead of
// the default; BYGONE_FIRST_SEED: the first of them; BYGONE_SEED: this one alone.
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/prune.h"
#include "store/session.h"
#include "store/trash.h"
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

test::Tally seeds_run("seeds run");

namespace filesystem = std::filesystem;
using test::Call;
using test::MemoryTree;
using test::value_of;

const std::atomic<bool> kNeverCancelled{false};
constexpr int kMaxNesting = 2;
constexpr int kSteps = 25;
constexpr std::size_t kMaxSessions = 4;

// Lets something else happen before some calls of the thread that made it; a session's own
// threads are left alone.
class StretchedFiles final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::function<void()> meanwhile;

 protected:
  Result<void> before(Call /*call*/, const std::string& /*path*/) override {
    if (std::this_thread::get_id() == owner_ && meanwhile) meanwhile();
    return {};
  }

 private:
  const std::thread::id owner_ = std::this_thread::get_id();
};

class World {
 public:
  enum class Disk { whole, damaged };

  explicit World(std::uint64_t seed, Disk disk = Disk::whole) : random_(seed) {
    value_of(Repository::create(path_, test::key_file()));
    filesystem::remove(path_ + "/reserve");
    reader_ = test::reopen(path_, folder_ / "reader-index");
    if (disk == Disk::damaged) make_damage();
    files_.meanwhile = [this] { interrupt(); };
  }

  void run() {
    for (int i = 0; i < kSteps; ++i) act();
    while (!sessions_.empty()) end_session();
    prune();  // finishes what had to wait
    check();
  }

 private:
  struct Open {
    std::unique_ptr<Repository> repository;  // an index of its own: another process
    std::unique_ptr<Session> session;
    std::optional<ClaimedSource> source;
  };

  std::uint64_t roll(std::uint64_t n) { return random_() % n; }

  std::unique_ptr<Repository> open_other() {
    const std::string index = folder_ / ("index" + std::to_string(++indexes_));
    OpenOptions options{.index_dir = index, .files = &files_};
    return value_of(Repository::open(path_, test::key_file(), options));
  }

  // Somebody else's turn, now and then.
  void interrupt() {
    if (nesting_ >= kMaxNesting || roll(400) != 0 || names_are_locked()) return;
    act();
  }

  // The one lock for which others wait: they cannot, on this one thread.
  bool names_are_locked() {
    const auto fd = value_of(system_files().open(path_ + "/locks/names", O_RDWR | O_CREAT, 0600));
    return !value_of(system_files().try_lock(fd, Lock::exclusive));
  }

  void act() {
    ++nesting_;
    switch (roll(10)) {
      case 0:
      case 1:
        begin_session();
        break;
      case 2:
      case 3:
        commit();
        break;
      case 4:
        end_session();
        break;
      case 5:
        move(path_ + "/snapshots/", path_ + "/trash/");
        break;
      case 6:
        roll(3) == 0 ? remove() : move(path_ + "/trash/", path_ + "/snapshots/");
        break;
      case 7:
        prune();
        break;
      case 8:
        verify();
        break;
      default:
        roll(2) == 0 ? read() : add_delta();
    }
    --nesting_;
  }

  MemoryTree some_tree() {
    MemoryTree tree;
    for (int i = 0; i < 4; ++i) {
      const std::string name = std::string(roll(2) == 0 ? "" : "sub/") + static_cast<char>('a' + i);
      tree[name] = content(roll(6));
    }
    return tree;
  }
  static Bytes content(std::uint64_t which) { return test::noise(200 + which, which); }
  static Bytes changed(std::uint64_t which) {
    Bytes bytes = content(which);
    bytes[100] ^= 0xff;
    return bytes;
  }

  // A tree in words: what each file holds.
  static std::string named(const MemoryTree& tree) {
    std::string text;
    for (const auto& [name, bytes] : tree) {
      text += name + "=";
      for (std::uint64_t i = 0; i < 6; ++i) {
        if (bytes == content(i)) text += std::to_string(i);
        if (bytes == changed(i)) text += std::to_string(i) + "'";
      }
      text += " ";
    }
    return text;
  }

  void begin_session() {
    if (sessions_.size() >= kMaxSessions) return;
    auto open = std::make_shared<Open>();
    open->repository = open_other();
    auto session = Session::begin(*open->repository, Compression::fastest);
    ASSERT_TRUE(test::is_ok(session));
    open->session = std::move(session).value();
    if (roll(3) == 0) {
      auto claimed = open->session->claim(SourceKind::container, "engine", "host", source_name());
      if (claimed) open->source = std::move(claimed).value();
    }
    sessions_.push_back(std::move(open));
  }

  std::string source_name() { return std::string("s") + static_cast<char>('0' + roll(3)); }

  void commit() {
    if (sessions_.empty()) return;
    const std::shared_ptr<Open> open = sessions_[roll(sessions_.size())];
    if (busy_.contains(open.get())) return;
    busy_.insert(open.get());
    if (open->source) {
      commit_kept(*open);
    } else {
      const MemoryTree tree = roll(4) == 0 ? MemoryTree{{"a", changed(roll(6))}} : some_tree();
      committed(test::back_up(*open->session, tree, {.source = source_name(), .instant = ++now_}),
                tree);
    }
    busy_.erase(open.get());
  }

  // A backup of which every file is unchanged: it stores nothing and looks nothing up.
  void commit_kept(Open& open) {
    if (!open.source->parent) return;
    const MemoryTree tree = trees_.at(open.source->parent->id);
    Snapshot next = *open.source->parent;
    next.instant = ++now_;
    committed(open.session->commit(*open.source, next), tree);
  }

  void committed(const Result<Snapshot>& snapshot, const MemoryTree& tree) {
    if (!snapshot) {
      // Another session has the source, or its parent was taken away.
      EXPECT_EQ(snapshot.error().code, Code::busy) << snapshot.error().message;
      return;
    }
    trees_[snapshot->id] = tree;
  }

  void end_session() {
    for (auto open = sessions_.begin(); open != sessions_.end(); ++open) {
      if (busy_.contains(open->get())) continue;
      sessions_.erase(open);
      return;
    }
    // All are in the middle of something, further up.
  }

  std::optional<std::string> any_in(const std::string& folder) {
    auto names = value_of(system_files().list(folder));
    if (damaged_) std::erase(names, damaged_->hex());
    if (names.empty()) return std::nullopt;
    return names[roll(names.size())];
  }

  void move(const std::string& from, const std::string& to) {
    if (const auto name = any_in(from)) filesystem::rename(from + *name, to + *name);
  }

  // Forgotten for good at once, without the trash.
  void remove() {
    if (const auto name = any_in(path_ + "/snapshots/")) {
      filesystem::remove(path_ + "/snapshots/" + *name);
    }
  }

  void prune() {
    const auto repository = open_other();
    PruneOptions options{.max_dead_percent = static_cast<double>(roll(4)) * 30,
                         .empty_trash = roll(2) == 0,
                         .spare_orphans = std::chrono::seconds(roll(4) == 0 ? 1000 : 0)};
    const auto report = store::prune(*repository, options, {}, kNeverCancelled);
    if (report) {
      ++prunes_;
      deleted_ += report->packs_deleted;
      taken_back_ += report->taken_back;
      return;
    }
    EXPECT_EQ(report.error().code, Code::busy) << report.error().message;
  }

  // A snapshot that nobody touches, with a chunk that nobody else has; a bit of it flips. Its pack
  // is so large that prune copies nothing out of it, and works on the others.
  void make_damage() {
    const auto repository = test::reopen(path_, folder_ / "first-index");
    const Bytes bytes = test::noise(5000, 99);
    const MemoryTree tree = {{"broken", bytes}, {"large", test::noise(kPackTarget / 4, 98)}};
    damaged_ = value_of(test::back_up(*repository, tree, {.source = "old"})).id;
    damaged_chunk_ = repository->keys().chunk_id(ChunkKind::data, bytes);
    for (const PackId& id : value_of(repository->chunks().list_packs())) {
      for (const Record& record : value_of(repository->chunks().pack(id))->records()) {
        if (record.id != *damaged_chunk_) continue;
        test::flip_bit(pack_path(path_, id), static_cast<std::int64_t>(record.offset) + 300);
      }
    }
  }

  // Damage is what was made by hand, always, and never what somebody else takes away meanwhile.
  void expect_only_real_damage(const std::vector<std::string>& lines) {
    bool found = false;
    for (const std::string& line : lines) {
      // Records are removed here in silence.
      if (line.find("the snapshot before it") != std::string::npos) continue;
      const bool real = damaged_ && (line.find(damaged_->hex()) != std::string::npos ||
                                     line.find(damaged_chunk_->hex()) != std::string::npos);
      if (!real) ADD_FAILURE() << line;
      found = found || line.find("/data/broken: bytes 0 to 4999 are lost") != std::string::npos;
    }
    EXPECT_EQ(found, damaged_.has_value());
  }

  void verify() {
    const auto repository = open_other();
    const auto report = store::verify(*repository, {.read_data_percent = 100}, {}, kNeverCancelled);
    if (!report) {
      // A prune is finishing the newest generation, further up.
      EXPECT_EQ(report.error().code, Code::busy) << report.error().message;
      return;
    }
    ++verified_;
    expect_only_real_damage(report->damage);
  }

  // Reads with the caches and the index that this reader has had all along.
  void read() {
    const auto name = any_in(path_ + "/snapshots/");
    if (!name) return;
    const auto id = SnapshotId::from_hex_text(*name);
    const auto snapshot = reader_->snapshot(*id);
    const auto tree = snapshot ? test::read_back(*reader_, *snapshot) : snapshot.error();
    // Whoever is further up may have taken it away in the meantime, but not while this reads.
    ASSERT_TRUE(test::is_ok(tree));
    EXPECT_EQ(named(*tree), named(trees_.at(*id))) << id->hex();
  }

  // A session that stored a delta, on a base that counts as stored, and was interrupted.
  void add_delta() {
    const auto repository = open_other();
    const auto session = value_of(Session::begin(*repository, Compression::fastest));
    const auto condemned = value_of(condemned_packs(files_, repository->keys(), path_));
    const std::uint64_t which = roll(6);
    const ChunkId base = repository->keys().chunk_id(ChunkKind::data, content(which));
    PackSet listing;
    for (const PackId& pack : value_of(repository->chunks().list_packs())) {
      if (!condemned.contains(pack)) listing.insert(pack);
    }
    if (!value_of(repository->chunks().is_stored(ChunkKind::data, base, listing))) return;
    test::write_pack(*repository, {{.raw = changed(which), .base = content(which), .depth = 1}});
  }

  void check() {
    const auto fresh = test::reopen(path_, folder_ / "fresh-index");
    for (const Snapshot& snapshot : value_of(fresh->snapshots())) {
      if (snapshot.id == damaged_) continue;
      const auto tree = test::read_back(*fresh, snapshot);
      ASSERT_TRUE(test::is_ok(tree));
      EXPECT_EQ(named(*tree), named(trees_.at(snapshot.id))) << snapshot.id.hex();
    }
    expect_only_real_damage(
        value_of(store::verify(*fresh, {.read_data_percent = 100}, {}, kNeverCancelled)).damage);
  }

 public:
  std::uint64_t prunes_ = 0, deleted_ = 0, taken_back_ = 0, verified_ = 0;

 private:
  std::mt19937_64 random_;
  test::TempFolder folder_;
  const std::string path_ = folder_ / "repo";
  StretchedFiles files_{system_files()};
  std::unique_ptr<Repository> reader_;
  std::vector<std::shared_ptr<Open>> sessions_;
  std::set<const Open*> busy_;  // committing, further up
  std::map<SnapshotId, MemoryTree> trees_;
  std::optional<SnapshotId> damaged_;  // with Disk::damaged
  std::optional<ChunkId> damaged_chunk_;
  Nanoseconds now_ = 1'710'000'000 * kSecond;
  int nesting_ = 0;
  int indexes_ = 0;
};

// Runs the model for each seed; a model in which nothing is ever deleted proves nothing.
void run_seeds(World::Disk disk, std::uint64_t default_seeds) {
  const auto only = test::number_from("BYGONE_SEED");
  const std::uint64_t first = only ? *only : test::number_from("BYGONE_FIRST_SEED").value_or(1);
  const std::uint64_t seeds = only ? 1 : test::number_from("BYGONE_SEEDS").value_or(default_seeds);
  std::uint64_t prunes = 0;
  std::uint64_t deleted = 0;
  std::uint64_t taken_back = 0;
  std::uint64_t verified = 0;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed, disk);
    world.run();
    if (testing::Test::HasFailure()) return;
    seeds_run.add();
    prunes += world.prunes_;
    deleted += world.deleted_;
    taken_back += world.taken_back_;
    verified += world.verified_;
  }
  std::printf("%llu prunes deleted %llu packs and took back %llu, beside %llu verifications\n",
              static_cast<unsigned long long>(prunes), static_cast<unsigned long long>(deleted),
              static_cast<unsigned long long>(taken_back),
              static_cast<unsigned long long>(verified));
  EXPECT_TRUE(only || (deleted > seeds && verified > seeds));
}

TEST(PruneRaces, WhateverHappensInBetweenEveryCommittedSnapshotReadsBack) {
  run_seeds(World::Disk::whole, test::kSanitized ? 6 : 25);
}

TEST(PruneRaces, WhateverHappensInBetweenVerifyFindsWhatIsDamaged) {
  run_seeds(World::Disk::damaged, test::kSanitized ? 6 : 15);
}

// The same with real threads: neither the calls nor their order are chosen.
TEST(PruneRaces, VerifyBesideAPruneOnAnotherThreadFindsNoDamage) {
  const test::TempFolder folder;
  const std::string path = folder / "repo";
  const auto writer = test::new_repository(path);
  const auto looker = test::reopen(path, folder / "looker-index");
  value_of(test::back_up(*writer, {{"kept", test::noise(3000, 1)}}, {.source = "kept"}));
  std::atomic<bool> stop{false};
  std::uint64_t deleted = 0;
  std::thread pruning([&] {
    const PruneOptions options{.max_dead_percent = 0, .spare_orphans = std::chrono::seconds(0)};
    for (int i = 0; !stop.load(); ++i) {
      const auto seed = 100 + static_cast<std::uint64_t>(i);
      const MemoryTree tree = {{"same", test::noise(3000, 2)}, {"new", test::noise(3000, seed)}};
      const Snapshot made =
          value_of(test::back_up(*writer, tree, {.instant = (1'710'000'000 + i) * kSecond}));
      value_of(remove_for_good(*writer, {made}, made.instant));
      deleted += value_of(prune(*writer, options, {}, kNeverCancelled)).packs_deleted;
    }
  });
  const int runs = test::kSanitized ? 20 : 100;
  for (int i = 0; i < runs; ++i) {
    const auto report = verify(*looker, {.read_data_percent = 100}, {}, kNeverCancelled);
    if (!report) {
      EXPECT_EQ(report.error().code, Code::busy) << report.error().message;
      continue;
    }
    EXPECT_EQ(report->damage, std::vector<std::string>());
  }
  stop = true;
  pruning.join();
  EXPECT_GT(deleted, 0u);
}

}  // namespace
}  // namespace bygone::store
