// SPDX-License-Identifier: Apache-2.0
//
// Claims of the threat model (FORMAT.md section 14) that are about a repository as a whole; those
// about one kind of file are tested with it.
#include <filesystem>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/notes.h"
#include "store/slots.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::MemoryTree;
using test::value_of;

class Threat : public testing::Test {
 protected:
  std::string path() const { return folder_ / "repo"; }
  std::vector<std::string> files_in(const std::string& below) const {
    std::vector<std::string> files;
    for (const auto& each : filesystem::recursive_directory_iterator(path() + below)) {
      if (each.is_regular_file()) files.push_back(each.path());
    }
    return files;
  }

  test::TempFolder folder_;
};

TEST_F(Threat, NoFileOfARepositoryShowsANameOrAByteOfContent) {
  const Bytes noise = test::noise(300'000, 1);
  const Bytes prose = test::prose(90'000, 2);
  std::vector<std::string> secrets = {"name-of-a-folder", "name-of-a-file", "name-of-a-source",
                                      "tag-in-a-note", "a few inline bytes"};
  for (const Bytes* content : {&noise, &prose}) {
    for (std::size_t at = 0; at + 24 < content->size(); at += 5000) {
      secrets.emplace_back(as_text(ByteView(*content).subspan(at, 24)));
    }
  }
  {
    const auto repository = test::new_repository(path());
    const auto snapshot =
        value_of(test::back_up(*repository,
                               {{"name-of-a-folder/name-of-a-file", noise},
                                {"text", prose},
                                {"inline", Bytes(secrets[4].begin(), secrets[4].end())}},
                               {.source = "name-of-a-source"}));
    Notes notes = value_of(read_notes(*repository));
    value_of(write_notes(
        *repository, notes,
        {{.subject = Subject::of(snapshot.id), .key = "tag:tag-in-a-note", .value = {1}}}, 1));
    // The index shows the first half of ids, which are keyed.
    for (const PackId& pack : value_of(repository->chunks().list_packs())) {
      for (const Record& record : value_of(repository->chunks().pack(pack))->records()) {
        secrets.emplace_back(as_text(record.id.view().subspan(16)));
      }
    }
  }
  const auto files = files_in("");
  ASSERT_GT(files.size(), 8u);
  for (const std::string& file : files) {
    const Bytes raw = test::read_whole(file);
    for (const std::string& secret : secrets) {
      ASSERT_EQ(as_text(raw).find(secret), std::string_view::npos) << file;
      ASSERT_EQ(file.find(secret), std::string::npos) << file;
    }
  }
}

TEST_F(Threat, AGuessAtAPassphraseCosts64MiBAndTwoPasses) {
  value_of(Repository::create(path(), test::passphrase("correct horse")));
  const auto slots = files_in("/keys");
  ASSERT_EQ(slots.size(), 1u);
  const SlotHead head = value_of(KeyRing::read_head(filesystem::path(slots[0]).filename().string(),
                                                    test::read_whole(slots[0])));
  EXPECT_EQ(head.kind, Secret::Kind::passphrase);
  EXPECT_GE(head.limits.memory_bytes, 64u << 20);
  EXPECT_GE(head.limits.operations, 2u);
}

// A thief keeps a copy of a slot, and brings it back after the rotation that was to shut him out.
TEST_F(Threat, ASlotOfBeforeARotationOpensNothingOfAfterwards) {
  auto repository = test::new_repository(path());
  const MemoryTree before = {{"a", test::noise(5000, 1)}};
  const MemoryTree after = {{"a", test::noise(5000, 2)}};
  const Snapshot one = value_of(test::back_up(*repository, before));
  const std::string slot = value_of(add_slot(*repository, test::key_file("thief"), "laptop"));
  const Bytes kept = test::read_whole(path() + "/keys/" + slot);
  std::vector<Secret> secrets;
  secrets.push_back(test::key_file());
  value_of(rotate_keys(*repository, secrets, Others::drop));
  repository.reset();
  repository = test::reopen(path());
  const Snapshot two = value_of(test::back_up(*repository, after));
  EXPECT_EQ(value_of(test::read_back(*repository, one)), before);
  repository.reset();

  EXPECT_CODE(Code::denied, Repository::open(path(), test::key_file("thief")));
  test::write_whole(path() + "/keys/" + slot, kept);
  repository = value_of(Repository::open(path(), test::key_file("thief")));
  EXPECT_EQ(value_of(test::read_back(*repository, one)), before);
  EXPECT_FALSE(repository->snapshot(two.id).ok());
  EXPECT_FALSE(test::read_back(*repository, two).ok());
  for (const PackId& pack : value_of(repository->chunks().list_packs())) {
    const auto opened = repository->chunks().pack(pack);
    EXPECT_TRUE(opened.ok() || opened.error().code == Code::denied);
  }
}

}  // namespace
}  // namespace bygone::store
