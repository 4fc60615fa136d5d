// SPDX-License-Identifier: Apache-2.0
//
// What an application can do behind the back of whoever looks at size and times: the content is
// right at the latest in the next snapshot, and nothing outside the source is ever read.
#include <atomic>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ingest/dump_detect.h"
#include "store/verify.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

class Change : public BackupTest {
 protected:
  static struct stat times_of(const stdfs::path& path) {
    struct stat info {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0);
    return info;
  }
  static void set_mtime(const stdfs::path& path, const struct stat& as) {
    const timespec times[] = {as.st_atim, as.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
};

struct Trick {
  const char* name;
  // Makes the content of the file `second`, of the same size, as inconspicuously as it can.
  void (*play)(const stdfs::path& path, const std::string& second);
};

class Tricks : public Change, public testing::WithParamInterface<Trick> {};

TEST_P(Tricks, AreSeenThroughInTheNextSnapshot) {
  for (const std::size_t size : {std::size_t{40}, std::size_t{4000}, std::size_t{300'000}}) {
    const std::string first = random_text(size, 1);
    const std::string second = random_text(size, 2);
    const stdfs::path path = source_dir() / "file";
    write_file(path, first);
    EXPECT_TRUE(content(must_run().snapshot, "file") == first);
    ahead_ += kLater;
    const struct stat before = times_of(path);
    GetParam().play(path, second);
    set_mtime(path, before);
    EXPECT_TRUE(content(must_run().snapshot, "file") == second) << size;
    ahead_ += kLater;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Change, Tricks,
    testing::Values(Trick{"MtimeSetBack",
                          [](const stdfs::path& path, const std::string& second) {
                            overwrite(path, 0, second);
                          }},
                    Trick{"RenamedOver",
                          [](const stdfs::path& path, const std::string& second) {
                            write_file(path.string() + ".new", second);
                            stdfs::rename(path.string() + ".new", path);
                          }},
                    Trick{"RemovedAndWrittenAgain",
                          [](const stdfs::path& path, const std::string& second) {
                            stdfs::remove(path);
                            write_file(path, second);
                          }}),
    [](const auto& trick) { return std::string(trick.param.name); });

// Two writes within one tick of the clock leave the same times. So a file that was written in the
// minute before it was looked at is read again, whatever its times say.
TEST_F(Change, InTheTickOfTheBackupIsReadAgainNextTime) {
  ahead_ = 0;
  write_file(source_dir() / "file", "first");
  const BackupReport first = must_run();
  EXPECT_NE(find(first.snapshot, "file")->flags & store::kRacy, 0);
  EXPECT_EQ(must_run().bytes_read, 5u);
  // And believed once it is old.
  ahead_ = kLater;
  EXPECT_EQ(must_run().bytes_read, 5u);
  EXPECT_EQ(must_run().bytes_read, 0u);
}

// A store into a page that is dirty already moves no time. Reading a file that is about to be
// believed writes its pages, so that the next store does.
TEST_F(Change, ByAStoreIntoAMappedPageThatWasDirtyIsSeen) {
  const test::TempFolder folder("/var/tmp");
  struct statfs file_system {};
  ASSERT_EQ(::statfs(folder.path().c_str(), &file_system), 0);
  constexpr decltype(file_system.f_type) kTmpfs = 0x01021994;
  if (file_system.f_type == kTmpfs) {
    GTEST_SKIP() << "/var/tmp is a tmpfs, which moves no time on such stores at all";
  }
  ahead_ = 0;  // the kernel writes what is dirty for longer than half a minute by itself
  const std::size_t size = 8192;
  const std::string path = folder / "file";
  write_file(path, std::string(size, 'a'));
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  void* const mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* const bytes = static_cast<char*>(mapped);
  const auto source = folder_source("mapped", folder.path());
  ASSERT_TRUE(source.ok());
  const auto back_up = [&] {
    auto report = run(*source, {});
    EXPECT_TRUE(report.ok());
    return content(report->snapshot, "file");
  };
  for (char value = 'b'; value < 'g'; ++value) {
    bytes[0] = value;  // dirties the page, and moves the times when it was clean
    ahead_ += 120 * kSecond;
    EXPECT_EQ(back_up()[0], value);
    bytes[1] = value;
    ahead_ += 120 * kSecond;
    EXPECT_EQ(back_up()[1], value);
  }
  ::munmap(mapped, size);
  ::close(fd);
}

// A tmpfs, where the other tests are, gives no number twice; ext4 gives the next file the one that
// was freed last.
TEST_F(Change, ByAnotherFileWithTheSameInodeSizeAndTimeIsSeen) {
  const test::TempFolder folder("/var/tmp");
  const stdfs::path path = folder / "file";
  const std::string first = random_text(4000, 1);
  const std::string second = random_text(4000, 2);
  write_file(path, first);
  const auto source = folder_source("again", folder.path());
  ASSERT_TRUE(source.ok());
  const auto back_up = [&] {
    ahead_ += kLater;
    auto report = run(*source, {});
    EXPECT_TRUE(report.ok());
    return content(report->snapshot, "file");
  };
  EXPECT_TRUE(back_up() == first);
  const struct stat before = times_of(path);
  stdfs::remove(path);
  write_file(path, second);
  for (int tries = 0; times_of(path).st_ino != before.st_ino; ++tries) {
    if (tries == 100) GTEST_SKIP() << "the file system of /var/tmp gives no inode twice";
    stdfs::rename(path, folder / std::to_string(tries));
    write_file(path, second);
  }
  set_mtime(path, before);
  EXPECT_TRUE(back_up() == second);
}

TEST_F(Change, WhileTheFileIsReadIsRightInTheNextSnapshot) {
  const stdfs::path path = source_dir() / "file";
  const std::string large = random_text(6'000'000, 1);
  write_file(path, large);
  for (int round = 0; round < 5; ++round) {
    std::atomic<bool> stop{false};
    std::thread vandal([&] {
      for (unsigned n = 0; !stop.load(); ++n) {
        if (n % 3 == 0) stdfs::resize_file(path, 1'000'000 + n % 7 * 700'000);
        if (n % 3 == 1) overwrite(path, n % 5 * 1'000'000, "other bytes");
        if (n % 3 == 2) {
          write_file(path.string() + ".new", large);
          stdfs::rename(path.string() + ".new", path);
        }
      }
    });
    const auto during = run();
    stop = true;
    vandal.join();
    EXPECT_TRUE(during.ok());
    ahead_ += kLater;
    const BackupReport after = must_run();
    expect_equal(after.snapshot);
    EXPECT_EQ(find(after.snapshot, "file")->flags & store::kChangedWhileRead, 0);
    ahead_ += kLater;
  }
  const auto verified = store::verify(*repository_, {.read_data_percent = 100}, {}, cancel_);
  ASSERT_TRUE(verified.ok());
  EXPECT_TRUE(verified->damage.empty()) << verified->damage.front();
}

// Its path was looked at by the discovery, which may be hours ago.
TEST_F(Change, OfTheVolumeItselfIntoALinkReadsNothingOfTheHost) {
  const stdfs::path outside = stdfs::path(folder_.path()) / "outside";
  stdfs::create_directories(outside / "data");
  write_file(outside / "data" / "x.db", "secret");
  stdfs::create_directories(source_dir() / "data");
  for (const char* place : {"source", "source/data"}) {
    const stdfs::path path = stdfs::path(folder_.path()) / place;
    Source source = test::value_of(folder_source("s", source_dir() / "data"));
    const stdfs::path aside = stdfs::path(folder_.path()) / "aside";
    stdfs::rename(path, aside);
    stdfs::create_symlink(path.filename() == "data" ? outside / "data" : outside, path);
    auto session =
        test::value_of(store::Session::begin(*repository_, store::Compression::standard));
    const auto report = backup(*session, source, nullptr, {}, {}, cancel_);
    ASSERT_FALSE(report.ok()) << place;
    EXPECT_EQ(report.error().code, Code::denied) << report.error().message;
    EXPECT_TRUE(look_for_data(source).sqlite.empty());
    stdfs::remove(path);
    stdfs::rename(aside, path);
  }
}

TEST_F(Change, OfAFolderIntoALinkDuringTheWalkReadsNothingOfTheHost) {
  const stdfs::path outside = stdfs::path(folder_.path()) / "outside";
  const std::string secret = random_text(2000, 7);
  // Small files are stored together, so that none has a chunk of its own.
  const auto is_stored = [&](const std::string& text) {
    for (const PackId& pack : test::value_of(repository_->chunks().list_packs())) {
      const auto reader = test::value_of(repository_->chunks().pack(pack));
      for (const auto& record : reader->records()) {
        const auto chunk = test::value_of(repository_->chunks().get(reader->kind(), record.id));
        if (as_text(*chunk).find(text) != std::string_view::npos) return true;
      }
    }
    return false;
  };
  for (const stdfs::path& folder : {outside, source_dir() / "folder"}) {
    for (int i = 0; i < 50; ++i) {
      stdfs::create_directories(folder / std::to_string(i));
      write_file(folder / std::to_string(i) / "file", folder == outside ? secret : "harmless");
    }
  }
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    const stdfs::path here = source_dir() / "folder", aside = source_dir() / "aside";
    while (!stop.load()) {
      stdfs::rename(here, aside);
      stdfs::create_symlink(outside, here);
      stdfs::remove(here);
      stdfs::rename(aside, here);
    }
  });
  for (int round = 0; round < 20; ++round) {
    const auto report = run();
    if (!report.ok()) continue;
    for (const char* top : {"folder", "aside"}) {
      const auto folder = find(report->snapshot, top);
      if (!folder || !folder->is_directory()) continue;
      for (int i = 0; i < 50; ++i) {
        const auto child = repository_->trees().lookup(*folder, std::to_string(i));
        ASSERT_TRUE(child.ok());
        if (!*child || !(*child)->is_directory()) continue;
        const auto file = repository_->trees().lookup(**child, "file");
        ASSERT_TRUE(file.ok());
        if (*file) {
          EXPECT_EQ((*file)->size, 8u);
        }
      }
    }
    ahead_ += kLater;
  }
  stop = true;
  swapper.join();
  EXPECT_FALSE(is_stored(secret));
  expect_equal(must_run().snapshot);
  write_file(source_dir() / "told", secret);
  must_run();
  EXPECT_TRUE(is_stored(secret)) << "it would not have been seen";
}

}  // namespace
}  // namespace bygone::ingest
