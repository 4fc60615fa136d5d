// SPDX-License-Identifier: Apache-2.0
#include "store/slots.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
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

constexpr const char* kOwn = "the key file of the tests";  // of test::key_file()

// Something else happens right after the first listing of the slots.
class InterruptedListing final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;
  std::function<void()> meanwhile;

  Result<std::vector<std::string>> list(const std::string& path) override {
    auto names = inner_.list(path);
    if (path.ends_with("/keys") && meanwhile) std::exchange(meanwhile, nullptr)();
    return names;
  }

 protected:
  Result<void> before(test::Call /*call*/, const std::string& /*path*/) override { return {}; }
};

class Slots : public testing::Test {
 protected:
  void SetUp() override { value_of(Repository::create(path_, test::key_file())); }

  // A process opens an index once: another program has another one here.
  std::unique_ptr<Repository> open(const Secret& secret, Files* files = nullptr,
                                   const std::string& index = "") {
    return value_of(
        Repository::open(path_, secret, {.index_dir = index_dir(index), .files = files}));
  }
  bool opens(const Secret& secret, const std::string& index = "") {
    return Repository::open(path_, secret, {.index_dir = index_dir(index)}).ok();
  }
  std::string index_dir(const std::string& name) { return name.empty() ? "" : folder_ / name; }
  static ChunkId store(Repository& repository, ByteView bytes) {
    auto session = value_of(Session::begin(repository, Compression::standard));
    auto source = value_of(session->claim(SourceKind::folder, "host", "host", "data"));
    Compressor compressor(Compression::standard);
    const ChunkId id = value_of(session->put_data(bytes, 1, compressor));
    Snapshot snapshot;
    snapshot.name = "data";
    snapshot.host_id = "host";
    snapshot.zone = "UTC";
    value_of(session->commit(source, snapshot));
    return id;
  }
  static std::vector<Secret> secrets_of(std::initializer_list<const char*> contents) {
    std::vector<Secret> secrets;
    for (const char* each : contents) secrets.push_back(test::key_file(each));
    return secrets;
  }
  // One's own and another one, of which a rotation has written a new slot when it was killed.
  // Returns the name of that slot.
  std::string interrupt_a_rotation() {
    value_of(add_slot(*open(test::key_file()), test::key_file("kept"), "kept"));
    filesystem::copy(path_ + "/keys", folder_ / "before");
    value_of(rotate_keys(*open(test::key_file()), secrets_of({"kept", kOwn}), Others::keep));
    const RepositoryId id = open(test::key_file())->id();
    for (const auto& each : filesystem::directory_iterator(path_ + "/keys")) {
      const std::string name = each.path().filename().string();
      const Bytes raw = test::read_whole(each.path());
      if (KeyRing::unwrap(id, test::key_file(), name, raw)) filesystem::remove(each.path());
    }
    filesystem::copy(folder_ / "before", path_ + "/keys");
    return open(test::key_file("kept"))->slot();
  }

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
  EXPECT_CODE(Code::busy, rotate_keys(*repository, secrets, Others::drop));
}

TEST_F(Slots, ARotationKeepsNamedSecretsDropsTheOthersAndReadsWhatWasThere) {
  auto repository = open(test::key_file());
  value_of(add_slot(*repository, test::key_file("kept"), "kept"));
  value_of(add_slot(*repository, test::key_file("lost laptop"), "laptop"));
  const Bytes data = test::prose(5000, 1);
  const ChunkId before = store(*repository, data);
  std::vector<Secret> secrets;
  secrets.push_back(test::key_file());
  secrets.push_back(test::key_file("kept"));
  EXPECT_CODE(Code::invalid, rotate_keys(*repository, secrets, Others::keep));
  EXPECT_EQ(value_of(rotate_keys(*repository, secrets, Others::drop)), 1u);
  EXPECT_FALSE(opens(test::key_file("lost laptop")));
  for (const char* contents : {kOwn, "kept"}) {
    repository = open(test::key_file(contents));
    EXPECT_EQ(repository->keys().newest_epoch(), 2u);
    EXPECT_EQ(*value_of(repository->chunks().get(ChunkKind::data, before)), data);
  }
  const Bytes more = test::prose(5000, 2);
  const ChunkId after = store(*repository, more);
  repository = open(test::key_file());
  EXPECT_EQ(*value_of(repository->chunks().get(ChunkKind::data, after)), more);
  EXPECT_EQ(store(*repository, data), before);
  std::multiset<std::string> labels;
  for (const Slot& slot : value_of(list_slots(*repository))) labels.insert(slot.label->text);
  EXPECT_EQ(labels, (std::multiset<std::string>{"made by init", "kept"}));
}

TEST_F(Slots, OpenARepositoryWhileARotationPutsOthersInTheirPlace) {
  const auto repository = open(test::key_file());
  InterruptedListing files(system_files());
  files.meanwhile = [&] { value_of(rotate_keys(*repository, secrets_of({kOwn}), Others::drop)); };
  const auto opened =
      Repository::open(path_, test::key_file(), {.index_dir = index_dir("other"), .files = &files});
  ASSERT_OK(opened);
  EXPECT_EQ((*opened)->keys().newest_epoch(), 2u);
}

TEST_F(Slots, ARotationWithASecretThatOpensNothingChangesNothing) {
  const auto repository = open(test::key_file());
  std::vector<Secret> secrets;
  secrets.push_back(test::key_file());
  secrets.push_back(test::key_file("mistyped"));
  EXPECT_CODE(Code::denied, rotate_keys(*repository, secrets, Others::drop));
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
      const bool done = rotate_keys(*repository, secrets, Others::keep).ok();
      EXPECT_EQ(done, !files.fired());
    }
    for (const auto unsynced : test::PowerCutFiles::kCuts) {
      const std::string after = disk_folder / "after";
      disk.cut(after, unsynced);
      std::uint32_t newest = 0;
      for (const char* contents : {kOwn, "kept"}) {
        auto again = Repository::open(after + "/repo", test::key_file(contents),
                                      {.index_dir = disk_folder / "fresh"});
        ASSERT_OK(again) << n;
        epochs.insert((*again)->keys().newest_epoch());
        newest = std::max(newest, (*again)->keys().newest_epoch());
      }
      // Again, by each in turn: who has the older keys is refused, and one of them has the newest.
      std::size_t rotated = 0;
      for (const char* contents : {kOwn, "kept"}) {
        const auto again = value_of(Repository::open(after + "/repo", test::key_file(contents),
                                                     {.index_dir = disk_folder / "fresh"}));
        const bool has_newest = again->keys().newest_epoch() == newest + rotated;
        const auto done = rotate_keys(*again, secrets_of({kOwn, "kept"}), Others::keep);
        EXPECT_EQ(done.ok(), has_newest) << n;
        if (done.ok()) ++rotated;
      }
      EXPECT_GE(rotated, 1u);
      filesystem::remove_all(after);
    }
    if (!files.fired()) break;
    ASSERT_LT(n, 100u);
  }
  EXPECT_EQ(epochs, (std::set<std::uint32_t>{1, 2}));
}

// What was sealed under the epoch that it had begun would be unreadable for ever.
TEST_F(Slots, AnEpochThatAnInterruptedRotationBeganIsNeverBegunAgain) {
  const std::string newer = interrupt_a_rotation();
  const Bytes data = test::prose(5000, 1);
  ChunkId id;
  {
    const auto other = open(test::key_file("kept"));
    ASSERT_EQ(other->keys().newest_epoch(), 2u);
    id = store(*other, data);
  }
  {
    const auto repository = open(test::key_file());
    ASSERT_EQ(repository->keys().newest_epoch(), 1u);
    for (const Others others : {Others::keep, Others::drop}) {
      const auto rotated = rotate_keys(*repository, secrets_of({kOwn, "kept"}), others);
      EXPECT_CODE(Code::denied, rotated);
      EXPECT_NE(rotated.error().message.find(newer), std::string::npos);
      EXPECT_NE(rotated.error().message.find("hint: try again with the secret"), std::string::npos);
    }
    EXPECT_CODE(Code::denied, remove_slot(*repository, newer));
    EXPECT_CODE(Code::denied, add_slot(*repository, test::key_file("third"), ""));
    EXPECT_EQ(value_of(list_slots(*repository)).size(), 3u);
  }
  // As the hint says: the secret of the newest epoch, and the other one kept. Both had a slot of
  // before too, so none is of somebody else.
  EXPECT_EQ(value_of(rotate_keys(*open(test::key_file("kept")), secrets_of({"kept", kOwn}),
                                 Others::keep)),
            0u);
  for (const char* contents : {kOwn, "kept"}) {
    const auto repository = open(test::key_file(contents));
    EXPECT_EQ(repository->keys().newest_epoch(), 3u);
    EXPECT_EQ(*value_of(repository->chunks().get(ChunkKind::data, id)), data);
    EXPECT_EQ(value_of(list_slots(*repository)).size(), 2u);
  }
}

// Two programs: the second has opened the repository before the first one rotated.
TEST_F(Slots, ARotationAfterOneThatItHasNotSeenIsRefused) {
  const Bytes data = test::prose(5000, 1);
  const auto second = open(test::key_file(), nullptr, "other-index");
  value_of(rotate_keys(*open(test::key_file()), secrets_of({kOwn}), Others::keep));
  const ChunkId id = store(*open(test::key_file()), data);
  EXPECT_CODE(Code::denied, rotate_keys(*second, secrets_of({kOwn}), Others::drop));
  EXPECT_CODE(Code::denied, add_slot(*second, test::key_file("third"), ""));
  const auto again = open(test::key_file());
  EXPECT_CODE(Code::denied, remove_slot(*second, again->slot()));
  EXPECT_EQ(*value_of(again->chunks().get(ChunkKind::data, id)), data);
}

TEST_F(Slots, TwoProgramsThatRemoveEachOthersSlotLeaveOne) {
  value_of(add_slot(*open(test::key_file()), test::key_file("second"), ""));
  const auto one = open(test::key_file());
  const auto other = open(test::key_file("second"), nullptr, "other-index");
  value_of(remove_slot(*one, other->slot()));
  EXPECT_CODE(Code::not_found, remove_slot(*other, one->slot()));
  EXPECT_TRUE(opens(test::key_file(), "third-index"));
}

TEST_F(Slots, OfAnEpochThatADamagedHeadNamesStandInNobodysWay) {
  const std::string added =
      value_of(add_slot(*open(test::key_file()), test::key_file("second"), "laptop"));
  for (unsigned bit = 0; bit < 32; ++bit) {
    const std::string file = path_ + "/keys/" + added;
    const auto at = static_cast<std::int64_t>(37 + bit / 8);
    test::flip_bit(file, at, bit % 8);
    EXPECT_EQ(value_of(newest_slot(system_files(), path_)).epoch, 1u) << bit;
    test::flip_bit(file, at, bit % 8);
  }
  test::flip_bit(path_ + "/keys/" + added, 37, 1);
  value_of(remove_slot(*open(test::key_file()), added));
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

TEST_F(Slots, FromPaperComeBackWhereOnlyTheCopyOfTheConfigIsWhole) {
  const std::string text = [&] {
    const auto repository = open(test::key_file());
    return value_of(export_slot(*repository, repository->slot()));
  }();
  const Bytes whole = test::read_whole(path_ + "/config");
  const auto import = [&](std::string_view secret) {
    std::filesystem::remove_all(path_ + "/keys");
    std::filesystem::create_directory(path_ + "/keys");
    return import_slot(path_, test::key_file(secret), text);
  };
  // The magic, the version, the id, the end.
  for (const std::size_t at : {0u, 8u, 30u, 90u}) {
    SCOPED_TRACE(at);
    Bytes damaged = whole;
    damaged[at] ^= 1;
    test::write_whole(path_ + "/config", damaged);
    EXPECT_CODE(Code::denied, import("wrong"));
    EXPECT_OK(import(kOwn));
    EXPECT_TRUE(opens(test::key_file(kOwn)));
  }
  std::filesystem::remove(path_ + "/config");
  EXPECT_CODE(Code::denied, import("wrong"));
  EXPECT_OK(import(kOwn));
  std::filesystem::remove(path_ + "/config-copy");
  EXPECT_CODE(Code::not_found, import(kOwn));
  // Without a whole one nothing says that the key is of this repository.
  Bytes damaged = whole;
  damaged[90] ^= 1;
  test::write_whole(path_ + "/config", damaged);
  EXPECT_CODE(Code::corrupt, import(kOwn));
}

TEST_F(Slots, FromPaperAreNotWrittenThroughALink) {
  const std::string text = [&] {
    const auto repository = open(test::key_file());
    return value_of(export_slot(*repository, repository->slot()));
  }();
  std::filesystem::rename(path_ + "/keys", folder_ / "elsewhere");
  std::filesystem::create_symlink(folder_ / "elsewhere", path_ + "/keys");
  EXPECT_CODE(Code::invalid, import_slot(path_, test::key_file(), text));
}

TEST_F(Slots, AreAddedBesideWhatIsNotOurs) {
  std::filesystem::create_directory(path_ + "/keys/@eaDir");
  value_of(add_slot(*open(test::key_file()), test::key_file("second"), "laptop"));
  EXPECT_TRUE(opens(test::key_file("second")));
}

// `@eaDir` sorts between the digits: what came behind it stayed.
TEST_F(Slots, AreRotatedBesideWhatIsNotOurs) {
  std::filesystem::create_directory(path_ + "/keys/@eaDir");
  test::write_whole(path_ + "/keys/README", as_bytes("of somebody else"));
  for (int i = 0; i < 16; ++i) {
    value_of(add_slot(*open(test::key_file()), test::key_file("second"), "laptop"));
  }
  EXPECT_EQ(value_of(list_slots(*open(test::key_file()))).size(), 17u);
  EXPECT_EQ(value_of(rotate_keys(*open(test::key_file()), secrets_of({kOwn}), Others::drop)), 16u);
  EXPECT_FALSE(opens(test::key_file("second")));
  EXPECT_EQ(value_of(list_slots(*open(test::key_file()))).size(), 1u);
  EXPECT_TRUE(std::filesystem::exists(path_ + "/keys/README"));
  EXPECT_EQ(value_of(rotate_keys(*open(test::key_file()), secrets_of({kOwn}), Others::keep)), 0u);
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
