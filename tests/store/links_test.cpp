// SPDX-License-Identifier: Apache-2.0
//
// Who has the storage puts links into the repository: nothing of the host behind them is written
// to, made or removed.
#include <filesystem>
#include <functional>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/forget.h"
#include "store/locks.h"
#include "store/prune.h"
#include "store/session.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::value_of;

class Links : public testing::Test {
 protected:
  Links() {
    repository_ = test::new_repository(repo());
    filesystem::create_directory(host());
    test::write_whole(host() + "/thesis", as_bytes("years of work"));
  }

  std::string repo() { return folder_ / "repo"; }
  std::string host() { return folder_ / "host"; }
  bool host_is_untouched() {
    return std::distance(filesystem::directory_iterator(host()), {}) == 1 &&
           as_text(test::read_whole(host() + "/thesis")) == "years of work";
  }
  void replace_by_link(const std::string& name, const std::string& target) {
    filesystem::remove_all(repo() + "/" + name);
    filesystem::create_symlink(target, repo() + "/" + name);
  }
  Result<ClaimedSource> claim() {
    const auto session = TRY(Session::begin(*repository_, Compression::fastest));
    return session->claim(SourceKind::container, "engine", "host", "db");
  }

  const std::atomic<bool> go_on_{false};
  test::TempFolder folder_;
  std::unique_ptr<Repository> repository_;
};

TEST_F(Links, InPlaceOfTmpEmptyNoOtherFolder) {
  replace_by_link("tmp", host());
  EXPECT_CODE(Code::invalid, claim());
  EXPECT_CODE(Code::invalid, prune(*repository_, {}, {}, go_on_));
  EXPECT_TRUE(host_is_untouched());
}

TEST_F(Links, InPlaceOfLocksAreNeitherWrittenThroughNorMadeReal) {
  value_of(claim());
  const std::string tag = value_of(system_files().list(repo() + "/locks/source")).at(0);
  Files& files = system_files();
  struct Case {
    std::string name;
    std::function<bool()> works;
  };
  const Case cases[] = {
      {"locks/prune", [&] { return lock_prune(files, repo()).ok(); }},
      {"locks/forget", [&] { return lock_forget(files, repo()).ok(); }},
      {"locks/names", [&] { return lock_names(files, repo(), Lock::shared).ok(); }},
      {"locks/gen/0", [&] { return lock_generation(files, repo()).ok(); }},
      {"locks/gen/0", [&] { return lock_older_generations(files, repo(), 1).ok(); }},
      {"locks/source/" + tag, [&] { return claim().ok(); }},
  };
  for (const Case& c : cases) {
    for (const char* target : {"/thesis", "/nothing"}) {
      SCOPED_TRACE(c.name + target);
      replace_by_link(c.name, host() + target);
      EXPECT_FALSE(c.works());
      EXPECT_TRUE(host_is_untouched());
    }
    filesystem::remove(repo() + "/" + c.name);
    EXPECT_TRUE(c.works()) << c.name;
  }
}

TEST_F(Links, InPlaceOfTheFoldersOfLocksLeadNowhere) {
  Files& files = system_files();
  for (const char* name : {"locks", "locks/gen", "locks/source"}) {
    SCOPED_TRACE(name);
    replace_by_link(name, host());
    EXPECT_FALSE(lock_prune(files, repo()).ok());
    EXPECT_FALSE(lock_forget(files, repo()).ok());
    EXPECT_FALSE(lock_names(files, repo(), Lock::exclusive).ok());
    EXPECT_FALSE(lock_older_generations(files, repo(), 1).ok());
    EXPECT_FALSE(claim().ok());
    EXPECT_TRUE(host_is_untouched());
    filesystem::remove_all(repo() + "/locks");
    for (const char* folder : {"/locks", "/locks/gen", "/locks/source"}) {
      filesystem::create_directory(repo() + folder);
    }
  }
}

// Files behind some of them would be taken for ours by their names.
TEST_F(Links, InPlaceOfAnyFolderKeepARepositoryFromOpening) {
  repository_.reset();
  for (const char* name : {"keys", "packs", "snapshots", "notes", "trash", "damaged", "condemned",
                           "locks", "locks/gen", "locks/source", "tmp"}) {
    SCOPED_TRACE(name);
    const std::string path = repo() + "/" + name;
    filesystem::rename(path, folder_ / "moved");
    filesystem::create_directory_symlink(folder_ / "moved", path);
    EXPECT_CODE(Code::invalid, Repository::open(repo(), test::key_file()));
    filesystem::remove(path);
    filesystem::rename(folder_ / "moved", path);
  }
  EXPECT_OK(Repository::open(repo(), test::key_file()));
}

// A folder that looks like an init that was interrupted is taken over, and keys in it removed.
TEST_F(Links, InAFolderWithoutConfigAreNotTakenOver) {
  repository_.reset();
  filesystem::remove(repo() + "/config");
  for (const char* name : {"keys", "tmp", "reserve", "locks"}) {
    SCOPED_TRACE(name);
    replace_by_link(name, std::string_view(name) == "reserve" ? host() + "/thesis" : host());
    EXPECT_FALSE(Repository::create(repo(), test::key_file()).ok());
    EXPECT_TRUE(host_is_untouched());
    filesystem::remove(repo() + "/" + name);
  }
  EXPECT_OK(Repository::create(repo(), test::key_file()));
}

}  // namespace
}  // namespace bygone::store
