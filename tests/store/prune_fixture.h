// SPDX-License-Identifier: Apache-2.0
//
// A repository in RAM whose snapshots come and go by hand, for tests of prune.h. One thread.
#pragma once

#include <atomic>
#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/condemned.h"
#include "store/prune.h"
#include "store/verify.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

inline const std::atomic<bool> kGoOn{false};
inline const PruneOptions kAll{.spare_orphans = std::chrono::seconds(0)};

class PruneTest : public testing::Test {
 protected:
  PruneTest() : repository_(test::fixed_repository(path_)) {}

  Snapshot back_up(const MemoryTree& tree, const std::string& source = "db") {
    return value_of(
        test::back_up(*repository_, tree, {.source = source, .instant = ++instant_ * kSecond}));
  }
  void forget(const Snapshot& snapshot) {
    filesystem::remove(path_ + "/snapshots/" + snapshot.id.hex());
  }
  void trash(const Snapshot& snapshot) {
    filesystem::rename(path_ + "/snapshots/" + snapshot.id.hex(),
                       path_ + "/trash/" + snapshot.id.hex());
  }
  Result<PruneReport> prune(const PruneOptions& options = kAll) {
    return store::prune(*repository_, options, {}, kGoOn);
  }
  std::set<PackId> packs() {
    const auto list = value_of(repository_->chunks().list_packs());
    return {list.begin(), list.end()};
  }
  std::uint64_t disk_bytes() {
    std::uint64_t bytes = 0;
    for (const auto& each : filesystem::recursive_directory_iterator(path_ + "/packs")) {
      if (each.is_regular_file()) bytes += each.file_size();
    }
    return bytes;
  }
  // In a repository opened anew, so that no cache answers.
  void expect_whole(const std::vector<std::pair<Snapshot, MemoryTree>>& all) {
    const auto fresh = test::reopen(path_, folder_ / "fresh-index");
    for (const auto& [snapshot, tree] : all) {
      const auto read = test::read_back(*fresh, snapshot);
      ASSERT_OK(read);
      EXPECT_TRUE(*read == tree);
    }
    for (const std::string& line :
         value_of(verify(*fresh, {.read_data_percent = 100}, {}, kGoOn)).damage) {
      // forget() here takes records away without saying so.
      if (line.find("the snapshot before it") == std::string::npos) ADD_FAILURE() << line;
    }
    filesystem::remove_all(folder_ / "fresh-index");
  }
  std::vector<std::uint64_t> lists() {
    return value_of(condemned_generations(system_files(), path_));
  }

  test::TempFolder folder_;
  const std::string path_ = folder_ / "repo";
  std::unique_ptr<Repository> repository_;
  Nanoseconds instant_ = 1'710'000'000;
  const MemoryTree one_ = {{"a", test::noise(400'000, 1)}, {"b", test::noise(200'000, 2)}};
  const MemoryTree two_ = {{"a", test::noise(400'000, 3)}, {"b", test::noise(200'000, 2)}};
};

}  // namespace bygone::store
