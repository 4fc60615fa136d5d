// SPDX-License-Identifier: Apache-2.0
//
// A repository whose snapshots are forgotten and removed, for tests of fold_notes.h. One thread.
#pragma once

#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "store/fold_notes.h"
#include "store/gone_records.h"
#include "store/prune.h"
#include "store/snapshot_notes.h"
#include "store/trash.h"
#include "store/verify.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {

namespace filesystem = std::filesystem;
using test::value_of;

class FoldTest : public testing::Test {
 protected:
  Snapshot back_up(const std::string& source = "db") {
    now_ += 60 * kSecond;
    return value_of(test::back_up(*repository_, {{"a", test::noise(100, 7)}},
                                  {.source = source, .instant = now_}));
  }
  std::vector<Snapshot> back_up_many(int count) {
    std::vector<Snapshot> list;
    for (int i = 0; i < count; ++i) list.push_back(back_up());
    return list;
  }
  void say(const NewNote& note) {
    Notes notes = value_of(read_notes(*repository_));
    value_of(write_notes(*repository_, notes, {note}, now_));
  }
  void trash(const std::vector<Snapshot>& list) {
    std::vector<SnapshotId> ids;
    for (const Snapshot& each : list) ids.push_back(each.id);
    EXPECT_EQ(value_of(move_to_trash(*repository_, ids, now_)).done.size(), list.size());
  }
  void remove(const std::vector<Snapshot>& list) {
    EXPECT_EQ(value_of(remove_for_good(*repository_, list, now_)).done.size(), list.size());
  }
  std::size_t fold(std::size_t listed = kGoneListed) {
    return value_of(fold_notes(*repository_, now_, listed));
  }
  PruneReport prune(const PruneOptions& options = {}) {
    PruneOptions with_clock = options;
    with_clock.clock = [this] { return now_; };
    return value_of(store::prune(*repository_, with_clock, {}, go_on_));
  }
  [[nodiscard]] Notes notes() const { return value_of(read_notes(*repository_)); }
  [[nodiscard]] std::set<std::string> note_files() const {
    std::set<std::string> list;
    for (const auto& each : filesystem::directory_iterator(path_ + "/notes")) {
      list.insert(each.path());
    }
    return list;
  }
  [[nodiscard]] std::vector<std::string> damage() const {
    return value_of(verify(*repository_, {}, {}, go_on_)).damage;
  }
  [[nodiscard]] bool accounts_for(const Snapshot& snapshot) const {
    return GoneRecords(notes()).account_for(snapshot.source, {snapshot.sequence, snapshot.id});
  }
  GoneList list_of(const SourceId& source) {
    const Notes all = notes();
    const Note* note = all.find(Subject::of(source), kGoneKey);
    return note == nullptr ? GoneList() : value_of(decode_gone_list(note->value));
  }

  const std::atomic<bool> go_on_{false};  // as a cancellation
  test::TempFolder folder_;
  const std::string path_ = folder_ / "repo";
  std::unique_ptr<Repository> repository_ = test::new_repository(path_);
  Nanoseconds now_ = 1'710'000'000 * kSecond;
};

}  // namespace bygone::store
