// SPDX-License-Identifier: Apache-2.0
#include "tests/support/flips.h"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "store/chunk_store.h"
#include "store/locks.h"
#include "store/prune.h"
#include "store/repair.h"
#include "store/slots.h"
#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"

namespace bygone::test {

using namespace store;
namespace filesystem = std::filesystem;

namespace {

constexpr Nanoseconds kInstant = 1'710'000'000 * kSecond;
const std::atomic<bool> kNoCancel{false};

const std::pair<Subject::Kind, const char*> kSaid[] = {
    {Subject::Kind::snapshot, "pin"},     {Subject::Kind::snapshot, "tag:kept"},
    {Subject::Kind::snapshot, "trashed"}, {Subject::Kind::snapshot, "verified"},
    {Subject::Kind::snapshot, "gone"},    {Subject::Kind::source, "gone"}};

// Who looks may add to these, or mend them.
bool may_change(const std::string& file) { return !file.starts_with("packs/"); }

std::string top_of(const std::string& file) { return file.substr(0, file.find('/')); }

MemoryTree tree_number(int i) {
  MemoryTree tree = {{"a", noise(120'000, 1)},
                     {"b/c", prose(80'000, 2)},
                     {"b/tiny", noise(20, 3)},
                     {"b/small", noise(900, 4)},
                     {"wide", noise(700'000, 5)},  // several chunks
                     {"only", noise(9000, 100 + static_cast<std::uint64_t>(i))}};
  tree["a"][1000] = static_cast<std::uint8_t>(i);  // a delta from the second on
  tree["wide"][650'000] = static_cast<std::uint8_t>(i / 2);
  return tree;
}

void say(Repository& repository, const std::vector<NewNote>& list) {
  Notes notes = value_of(read_notes(repository));
  value_of(write_notes(repository, notes, list, kInstant));
}

}  // namespace

Flips::Flips() {
  make();
  collect();
}

void Flips::remember(const Snapshot& snapshot, const MemoryTree& tree) {
  known_[snapshot.id] = {.snapshot = snapshot, .tree = tree};
}

void Flips::make() {
  const auto repository = new_repository(path());
  filesystem::remove(path() + "/reserve");
  std::vector<Snapshot> made;
  for (int i = 0; i < 6; ++i) {
    const MemoryTree tree = tree_number(i);
    made.push_back(
        value_of(back_up(*repository, tree, {.instant = kInstant + i * 3600 * kSecond})));
    remember(made.back(), tree);
  }
  const MemoryTree other = {{"b/c", prose(80'000, 2)}, {"d", noise(2000, 9)}};
  remember(value_of(back_up(*repository, other, {.source = "app", .instant = kInstant})), other);
  value_of(add_slot(*repository, other_secret(), "in the safe"));
  // Of four that are gone the first one's note is folded into a list; lists of prune are done with,
  // and wait for a session.
  const PruneOptions all{.max_dead_percent = 0, .spare_orphans = std::chrono::seconds(0)};
  value_of(remove_for_good(*repository, {made[0], made[1]}, kInstant));
  value_of(prune(*repository, all, {}, kNoCancel));
  say(*repository, {{.subject = Subject::of(made[2].id), .key = "tag:kept", .value = {'+'}}});
  say(*repository, {{.subject = Subject::of(made[5].id), .key = "pin", .value = {'+'}}});
  value_of(move_to_trash(*repository, {made[4].id}, kInstant));
  value_of(verify(*repository, {.read_data_percent = 100}, {}, kNoCancel));
  value_of(remove_for_good(*repository, {made[3]}, kInstant));
  {
    const Fd session = value_of(lock_generation(system_files(), path()));
    value_of(prune(*repository, all, {}, kNoCancel));
  }
  // What prune copied stands there twice; what comes now once.
  const MemoryTree last = tree_number(6);
  remember(value_of(back_up(*repository, last, {.instant = kInstant + 6 * 3600 * kSecond})), last);
  for (const int gone : {0, 1, 3}) known_.erase(made[static_cast<std::size_t>(gone)].id);
  known_.at(made[4].id).forgotten = true;
  const std::string rubbish = random_id<NoteId>().hex();
  write_whole(path() + "/notes/" + rubbish, noise(284, 7));
  value_of(repair_record(*repository, RecordKind::note, rubbish));
  write_whole(path() + "/tmp/left-by-a-dead-writer", noise(1000, 8));
  write_whole(path() + "/reserve", Bytes(4096));
  const Notes notes = value_of(read_notes(*repository));
  for (const auto& [kind, key] : kSaid) {
    for (const Note* note : notes.with_key(kind, key)) notes_.push_back(*note);
  }
  for (const std::uint64_t generation : value_of(condemned_generations(system_files(), path()))) {
    lists_.push_back(
        value_of(read_condemned(system_files(), repository->keys(), path(), generation)));
  }
}

void Flips::collect() {
  const auto repository = reopen(path(), folder_ / "index-to-look");
  for (const auto& each : filesystem::recursive_directory_iterator(path())) {
    if (!each.is_regular_file() || each.file_size() == 0) continue;
    const std::string name = filesystem::relative(each.path(), path());
    if (name.ends_with("lock.mdb")) continue;
    std::string region = top_of(name);
    if (region == "packs") {
      const auto id = PackId::from_hex_text(each.path().filename().string());
      const auto pack = value_of(repository->chunks().pack(*id));
      region += pack->kind() == ChunkKind::data ? "/data" : "/page";
    }
    regions_[region].push_back(name);
    bytes_[name] = read_whole(each.path());
  }
}

Flip Flips::choose(const std::string& region, std::mt19937_64& random) const {
  const auto& files = regions_.at(region);
  Flip flip{.region = region, .file = files[random() % files.size()]};
  flip.at = random() % bytes_.at(flip.file).size();
  flip.bit = static_cast<unsigned>(random() % 8);
  return flip;
}

Flip Flips::choose(std::uint64_t i, std::mt19937_64& random) const {
  auto region = regions_.begin();
  std::advance(region, static_cast<std::ptrdiff_t>(i % regions_.size()));
  return choose(region->first, random);
}

void Flips::flip(const Flip& flip) const {
  flip_bit(path() + "/" + flip.file, static_cast<std::int64_t>(flip.at), flip.bit);
}

void Flips::put_back(const Flip& flip) const {
  for (const auto& [name, bytes] : bytes_) {
    if (name == flip.file || may_change(name)) write_whole(path() + "/" + name, bytes);
  }
  for (const char* folder : {"keys", "snapshots", "trash", "notes", "condemned", "damaged"}) {
    for (const auto& each : filesystem::directory_iterator(path() + "/" + folder)) {
      const std::string name = std::string(folder) + "/" + each.path().filename().string();
      if (!bytes_.contains(name)) filesystem::remove(each.path());
    }
  }
  filesystem::remove(path() + "/index/suspect");
}

std::string Flips::lie(bool& whole) const {
  whole = false;
  const auto repository = Repository::open(path(), key_file());
  if (!repository) return "";
  whole = true;
  for (const auto look : {&Flips::lie_of_trees, &Flips::lie_of_notes, &Flips::lie_of_lists}) {
    std::string fault = (this->*look)(**repository, whole);
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string Flips::lie_of_trees(Repository& repository, bool& whole) const {
  std::size_t seen = 0;
  const auto look = [&](const SnapshotId& id, const Result<Snapshot>& snapshot,
                        bool forgotten) -> std::string {
    if (!snapshot) return "";
    const auto known = known_.find(id);
    if (known == known_.end()) return "a snapshot that was never made";
    if (*snapshot != known->second.snapshot) return "a snapshot that says something else";
    if (forgotten != known->second.forgotten) return "a snapshot in the wrong place";
    const auto tree = read_back(repository, *snapshot);
    if (tree && *tree != known->second.tree) return "wrong bytes";
    if (tree) ++seen;
    return "";
  };
  const auto live = repository.snapshot_ids();
  const auto trashed = repository.trashed_ids();
  for (const SnapshotId& id : live ? *live : std::vector<SnapshotId>()) {
    if (std::string fault = look(id, repository.snapshot(id), false); !fault.empty()) return fault;
  }
  for (const SnapshotId& id : trashed ? *trashed : std::vector<SnapshotId>()) {
    std::string fault = look(id, repository.trashed_snapshot(id), true);
    if (!fault.empty()) return fault;
  }
  whole = whole && seen == known_.size();
  return "";
}

std::string Flips::lie_of_notes(Repository& repository, bool& whole) const {
  const auto notes = read_notes(repository);
  whole = whole && notes.ok() && notes->unreadable().empty();
  if (!notes) return "";
  for (const auto& [kind, key] : kSaid) {
    for (const Note* note : notes->with_key(kind, key)) {
      const bool is_known = std::find(notes_.begin(), notes_.end(), *note) != notes_.end();
      if (!is_known) return "a note that says something else";
    }
  }
  return "";
}

std::string Flips::lie_of_lists(Repository& repository, bool& whole) const {
  for (const CondemnedList& known : lists_) {
    const auto list = read_condemned(system_files(), repository.keys(), path(), known.generation);
    whole = whole && list.ok();
    if (list && *list != known) return "a list that names other packs";
  }
  return "";
}

}  // namespace bygone::test
