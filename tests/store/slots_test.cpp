// SPDX-License-Identifier: Apache-2.0
#include "store/slots.h"

#include <cerrno>
#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/locks.h"
#include "store/session.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::value_of;

class Slots : public testing::Test {
 protected:
  void SetUp() override { value_of(Repository::create(path_, test::key_file())); }

  std::unique_ptr<Repository> open(const Secret& secret, Files* files = nullptr) {
    return value_of(Repository::open(path_, secret, {.index_dir = "", .files = files}));
  }
  bool opens(const Secret& secret) { return Repository::open(path_, secret).ok(); }

  test::TempFolder folder_;
  std::string path_ = folder_.path() + "/repository";
};

TEST_F(Slots, AreAddedListedAndRemoved) {
  const auto repository = open(test::key_file());
  const std::string added = value_of(add_slot(*repository, test::key_file("second"), "laptop"));
  const auto slots = value_of(list_slots(*repository));
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].label->text, "made by init");
  EXPECT_TRUE(slots[0].opened_with);
  EXPECT_EQ(slots[1].name, added);
  EXPECT_EQ(slots[1].label->text, "laptop");
  EXPECT_FALSE(slots[1].opened_with);
  EXPECT_TRUE(opens(test::key_file("second")));
  value_of(remove_slot(*repository, added));
  EXPECT_FALSE(opens(test::key_file("second")));
  EXPECT_TRUE(opens(test::key_file()));
  EXPECT_CODE(Code::not_found, remove_slot(*repository, added));
}

TEST_F(Slots, KeepTheOneThatIsKnownToOpen) {
  const auto repository = open(test::key_file());
  EXPECT_CODE(Code::invalid, remove_slot(*repository, repository->slot()));
  EXPECT_TRUE(opens(test::key_file()));
}

TEST_F(Slots, ThatAreDamagedAreListedWithTheReasonAndKeepNoOtherFromOpening) {
  test::write_whole(path_ + "/keys/00112233445566778899aabbccddeeff", as_bytes("rubbish"));
  const auto repository = open(test::key_file());
  const auto slots = value_of(list_slots(*repository));
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_TRUE(slots[0].problem.has_value());
  EXPECT_FALSE(slots[1].problem.has_value());
  value_of(remove_slot(*repository, slots[0].name));
}

TEST_F(Slots, ChangeOnlyUnderThePruneLock) {
  const auto repository = open(test::key_file());
  const Fd lock = value_of(lock_prune(repository->files(), path_));
  EXPECT_CODE(Code::busy, add_slot(*repository, test::key_file("second"), ""));
  EXPECT_CODE(Code::busy, remove_slot(*repository, "x"));
  std::vector<Secret> secrets;
  secrets.push_back(test::key_file());
  EXPECT_CODE(Code::busy, rotate_keys(*repository, secrets));
}

TEST_F(Slots, ARotationKeepsNamedSecretsDropsTheOthersAndReadsWhatWasThere) {
  auto repository = open(test::key_file());
  value_of(add_slot(*repository, test::key_file("kept"), "kept"));
  value_of(add_slot(*repository, test::key_file("lost laptop"), "laptop"));
  const Bytes data = test::prose(5000, 1);
  const auto store = [&](ByteView bytes) {
    auto session = value_of(Session::begin(*repository, Compression::standard));
    auto source = value_of(session->claim(SourceKind::folder, "host", "host", "data"));
    Compressor compressor(Compression::standard);
    const ChunkId id = value_of(session->put_data(bytes, 1, compressor));
    Snapshot snapshot;
    snapshot.name = "data";
    snapshot.host_id = "host";
    snapshot.zone = "UTC";
    value_of(session->commit(source, snapshot));
    return id;
  };
  const ChunkId before = store(data);
  std::vector<Secret> secrets;
  secrets.push_back(test::key_file());
  secrets.push_back(test::key_file("kept"));
  EXPECT_EQ(value_of(rotate_keys(*repository, secrets)), 1u);
  EXPECT_FALSE(opens(test::key_file("lost laptop")));
  for (const char* contents : {"the key file of the tests", "kept"}) {
    repository = open(test::key_file(contents));
    EXPECT_EQ(repository->keys().newest_epoch(), 2u);
    EXPECT_EQ(*value_of(repository->chunks().get(ChunkKind::data, before)), data);
  }
  const Bytes more = test::prose(5000, 2);
  const ChunkId after = store(more);
  repository = open(test::key_file());
  EXPECT_EQ(*value_of(repository->chunks().get(ChunkKind::data, after)), more);
  EXPECT_EQ(store(data), before);
  std::multiset<std::string> labels;
  for (const Slot& slot : value_of(list_slots(*repository))) labels.insert(slot.label->text);
  EXPECT_EQ(labels, (std::multiset<std::string>{"made by init", "kept"}));
}

TEST_F(Slots, ARotationWithASecretThatOpensNothingChangesNothing) {
  const auto repository = open(test::key_file());
  std::vector<Secret> secrets;
  secrets.push_back(test::key_file());
  secrets.push_back(test::key_file("mistyped"));
  EXPECT_CODE(Code::denied, rotate_keys(*repository, secrets));
  const auto again = open(test::key_file());
  EXPECT_EQ(again->keys().newest_epoch(), 1u);
  EXPECT_EQ(value_of(list_slots(*again)).size(), 1u);
}

// Whatever call fails, and with the power gone at that moment, the kept secrets open it.
TEST_F(Slots, ARotationThatIsInterruptedAnywhereLeavesARepositoryThatOpens) {
  value_of(add_slot(*open(test::key_file()), test::key_file("kept"), "kept"));
  // Nothing here looks at them, and they are many or large.
  filesystem::remove_all(path_ + "/packs");
  filesystem::remove(path_ + "/reserve");
  std::set<std::uint32_t> epochs;
  for (std::size_t n = 1;; ++n) {
    test::TempFolder disk_folder;
    const std::string root = disk_folder / "disk";
    filesystem::create_directory(root);
    filesystem::copy(path_, root + "/repo", filesystem::copy_options::recursive);
    test::PowerCutFiles disk(system_files(), root);
    test::FaultyFiles files(disk);
    {
      const auto repository = value_of(Repository::open(
          root + "/repo", test::key_file(), {.index_dir = disk_folder / "index", .files = &files}));
      files.fail_at(n, EIO, test::FaultyFiles::Then::stay_dead);
      std::vector<Secret> secrets;
      secrets.push_back(test::key_file());
      secrets.push_back(test::key_file("kept"));
      const bool done = rotate_keys(*repository, secrets).ok();
      EXPECT_EQ(done, !files.fired());
    }
    for (const auto names :
         {test::PowerCutFiles::Names::synced_only, test::PowerCutFiles::Names::all}) {
      const std::string after = disk_folder / "after";
      disk.cut(after, names);
      for (const char* contents : {"the key file of the tests", "kept"}) {
        auto again = Repository::open(after + "/repo", test::key_file(contents),
                                      {.index_dir = disk_folder / "fresh"});
        ASSERT_OK(again) << n;
        epochs.insert((*again)->keys().newest_epoch());
      }
      filesystem::remove_all(after);
    }
    if (!files.fired()) break;
    ASSERT_LT(n, 100u);
  }
  EXPECT_EQ(epochs, (std::set<std::uint32_t>{1, 2}));
}

TEST_F(Slots, ComeBackFromPaper) {
  std::string text;
  {
    const auto repository = open(test::key_file());
    text = value_of(export_slot(*repository, repository->slot()));
  }
  filesystem::remove_all(path_ + "/keys");
  filesystem::create_directory(path_ + "/keys");
  EXPECT_CODE(Code::corrupt, Repository::open(path_, test::key_file()));
  // As a person types it: capitals, no groups, other line ends, remarks.
  std::string typed = "# from the safe\r\n";
  for (const char c : text) {
    if (c == '\n') {
      typed += "\r\n";
    } else {
      typed += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
  }
  EXPECT_CODE(Code::denied, import_slot(path_, test::key_file("wrong"), typed));
  value_of(import_slot(path_, test::key_file(), typed));
  EXPECT_TRUE(opens(test::key_file()));
}

TEST_F(Slots, FromPaperNameTheLineThatIsMistyped) {
  const auto repository = open(test::key_file());
  const std::string text = value_of(export_slot(*repository, repository->slot()));
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end + 1 - at));
    at = end + 1;
  }
  const auto import = [&](const std::vector<std::string>& edited) {
    std::string all;
    for (const std::string& line : edited) all += line;
    return import_slot(path_, test::key_file(), all);
  };
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto edited = lines;
    char& digit = edited[i][edited[i].find(':') + 3];
    digit = digit == '0' ? '1' : '0';
    auto result = import(edited);
    EXPECT_CODE(Code::invalid, result);
    EXPECT_NE(result.error().message.find("line " + std::to_string(i) + " "), std::string::npos);
    edited = lines;
    edited.erase(edited.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_CODE(Code::invalid, import(edited)) << i;
  }
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    auto edited = lines;
    std::swap(edited[i], edited[i + 1]);
    EXPECT_CODE(Code::invalid, import(edited)) << i;
  }
}

TEST_F(Slots, FromPaperOfAnotherRepositoryAreRefused) {
  const auto repository = open(test::key_file());
  const std::string text = value_of(export_slot(*repository, repository->slot()));
  const std::string other = folder_.path() + "/other";
  value_of(Repository::create(other, test::key_file()));
  EXPECT_CODE(Code::invalid, import_slot(other, test::key_file(), text));
}

}  // namespace
}  // namespace bygone::store
