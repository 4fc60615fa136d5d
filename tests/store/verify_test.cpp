// SPDX-License-Identifier: Apache-2.0
#include "store/verify.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::MemoryTree;
using test::value_of;

VerifyReport run_verify(Repository& repository, double percent = 0) {
  const std::atomic<bool> cancel{false};
  return value_of(verify(repository, {.read_data_percent = percent}, {}, cancel));
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

class Verify : public testing::Test {
 protected:
  Verify() {
    first_ = {{"small", test::prose(50, 1)},
              {"a/medium", test::prose(3000, 2)},
              {"a/b/large", test::noise(700'000, 3)},
              {"c/empty/", {}},
              {"c/sub/file", test::noise(100'000, 4)}};
    second_ = first_;
    second_["c/sub/file"] = test::noise(100'000, 5);
    repository_ = test::new_repository(folder_ / "repo");
    one_ = value_of(test::back_up(*repository_, first_));
    two_ =
        value_of(test::back_up(*repository_, second_, {.instant = one_.instant + 3600 * kSecond}));
  }

  std::vector<std::filesystem::path> packs(ChunkKind kind) {
    std::vector<std::filesystem::path> found;
    for (const PackId& id : value_of(repository_->chunks().list_packs())) {
      const auto reader = value_of(repository_->chunks().pack(id));
      if (reader->kind() == kind) found.emplace_back(pack_path(repository_->path(), id));
    }
    return found;
  }
  void flip(const std::filesystem::path& path, std::streamoff offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const int byte = file.get();
    file.seekp(offset);
    file.put(static_cast<char>(byte ^ 1));
  }
  void reopen() {
    repository_.reset();
    repository_ = test::reopen(folder_ / "repo");
  }

  test::TempFolder folder_;
  MemoryTree first_, second_;
  std::unique_ptr<Repository> repository_;
  Snapshot one_, two_;
};

TEST_F(Verify, ReportsNothingOnAHealthyRepository) {
  const VerifyReport structure = run_verify(*repository_);
  EXPECT_EQ(joined(structure.damage), "");
  EXPECT_EQ(structure.snapshots, 2u);
  EXPECT_GE(structure.packs, 4u);
  EXPECT_EQ(structure.records_read, 0u);
  const VerifyReport data = run_verify(*repository_, 100);
  EXPECT_EQ(joined(data.damage), "");
  EXPECT_EQ(data.records_read, data.records);
  EXPECT_GT(data.bytes_read, 800'000u);
}

}  // namespace
}  // namespace bygone::store
