// SPDX-License-Identifier: Apache-2.0
#include "store/temp_file.h"

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::store {
namespace {

using test::value_of;

TEST(TempFile, IsLockedAsLongAsItIsOpen) {
  const test::TempFolder folder;
  Files& files = system_files();
  {
    const TempFile temp = value_of(TempFile::create(files, folder.path(), "x"));
    value_of(clean_temp_folder(files, folder.path()));
    EXPECT_TRUE(std::filesystem::exists(temp.path()));
  }
  value_of(clean_temp_folder(files, folder.path()));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(TempFile, DoesNotTakeAnothersName) {
  const test::TempFolder folder;
  const TempFile temp = value_of(TempFile::create(system_files(), folder.path(), "x"));
  EXPECT_CODE(Code::exists, TempFile::create(system_files(), folder.path(), "x"));
}

TEST(TempFile, WritesDurablyOrNotAtAll) {
  const test::TempFolder folder;
  std::filesystem::create_directories(folder / "tmp");
  std::filesystem::create_directories(folder / "to");
  const Bytes data = test::noise(5000, 1);
  value_of(write_durably(system_files(), folder / "tmp", folder / "to", "name", data));
  EXPECT_EQ(test::read_whole(folder / "to/name"), data);
  value_of(write_durably(system_files(), folder / "tmp", folder / "to", "name", as_bytes("new")));
  EXPECT_EQ(as_text(test::read_whole(folder / "to/name")), "new");
  EXPECT_FALSE(write_durably(system_files(), folder / "tmp", folder / "nowhere", "n", data).ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder / "tmp"));
}

// Files of another user.
class ForbiddenFiles final : public test::WatchedFiles {
 public:
  using WatchedFiles::WatchedFiles;

 protected:
  Result<void> before(test::Call call, const std::string& path) override {
    const bool is_theirs = call == test::Call::open && path.ends_with("/theirs");
    return is_theirs ? os_error(EACCES, path) : Result<void>();
  }
};

TEST(TempFile, OfOthersStaysAndIsInNobodysWay) {
  const test::TempFolder folder;
  std::filesystem::create_directories(folder / "tmp/@eaDir");
  test::write_whole(folder / "kept", as_bytes("kept"));
  std::filesystem::create_symlink(folder / "kept", folder / "tmp/link");
  std::filesystem::create_symlink(folder / "nowhere", folder / "tmp/dangling");
  ASSERT_EQ(::mkfifo((folder / "tmp/pipe").c_str(), 0600), 0);
  test::write_whole(folder / "tmp/theirs", as_bytes("x"));
  test::write_whole(folder / "tmp/x-of-a-dead-writer", as_bytes("x"));
  ForbiddenFiles files(system_files());
  EXPECT_OK(clean_temp_folder(files, folder / "tmp"));
  EXPECT_EQ(value_of(system_files().list(folder / "tmp")),
            (std::vector<std::string>{"@eaDir", "dangling", "link", "pipe", "theirs"}));
  EXPECT_EQ(as_text(test::read_whole(folder / "kept")), "kept");
}

TEST(TempFile, IsNotLookedForBehindALink) {
  const test::TempFolder folder;
  std::filesystem::create_directory(folder / "host");
  test::write_whole(folder / "host/thesis", as_bytes("years of work"));
  std::filesystem::create_symlink(folder / "host", folder / "tmp");
  EXPECT_CODE(Code::invalid, clean_temp_folder(system_files(), folder / "tmp"));
  EXPECT_TRUE(std::filesystem::exists(folder / "host/thesis"));
}

// A cleaner may lock a new file between the writer's open and its flock, and unlink it.
TEST(TempFile, IsMadeBesideACleanerThatNeverRests) {
  const test::TempFolder folder;
  std::atomic<bool> stop{false};
  std::vector<std::thread> cleaners;
  for (int i = 0; i < 2; ++i) {
    cleaners.emplace_back([&] {
      while (!stop.load()) EXPECT_OK(clean_temp_folder(system_files(), folder.path()));
    });
  }
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 400; ++i) {
        const std::string name = std::to_string(w) + "-" + std::to_string(i);
        auto temp = TempFile::create(system_files(), folder.path(), name);
        ASSERT_OK(temp);
        EXPECT_TRUE(std::filesystem::exists(temp->path()));
        EXPECT_OK(system_files().write_at(temp->fd(), as_bytes("x"), 0));
        EXPECT_OK(system_files().rename(temp->path(), folder.path() + "-kept-" + name));
        std::filesystem::remove(folder.path() + "-kept-" + name);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& cleaner : cleaners) cleaner.join();
}

}  // namespace
}  // namespace bygone::store
