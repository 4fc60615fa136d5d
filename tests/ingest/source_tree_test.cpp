// SPDX-License-Identifier: Apache-2.0
#include "ingest/source_tree.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/ingest/backup_fixture.h"
#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

using test::value_of;

class SourceTreeTest : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return folder_ / name; }
  void put(const std::string& name) const { write_file(at(name), "content"); }

  test::TempFolder folder_;
  Fd root_ = value_of(open_root(folder_.path()));
};

// What was opened since the watch began, as the kernel tells it.
class OpenWatch {
 public:
  explicit OpenWatch(const std::string& path) {
    EXPECT_GE(::inotify_add_watch(fd_.get(), path.c_str(), IN_OPEN), 0);
  }
  [[nodiscard]] bool was_opened() const {
    alignas(inotify_event) std::array<char, 4096> buffer{};
    return ::read(fd_.get(), buffer.data(), buffer.size()) > 0;
  }

 private:
  Fd fd_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
};

TEST_F(SourceTreeTest, OpensARegularFile) {
  put("file");
  const OpenWatch watch(at("file"));
  const Fd fd = value_of(open_file(root_, "file"));
  std::array<char, 16> read{};
  EXPECT_EQ(::read(fd.get(), read.data(), read.size()), 7);
  EXPECT_EQ(value_of(look_at(fd)).entry.type, store::FileType::regular);
  EXPECT_TRUE(watch.was_opened());  // or the next test says nothing
}

// A name that was listed as a file can be anything by the time that it is opened.
TEST_F(SourceTreeTest, NeverOpensADeviceOrAFifo) {
  std::vector<std::string> others{"fifo"};
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  // /dev/null; its kind and not its place is what counts.
  if (::mknod(at("device").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0) others.push_back("device");
  ASSERT_TRUE(::geteuid() != 0 || others.size() == 2);
  for (const std::string& name : others) {
    const OpenWatch watch(at(name));
    const auto opened = open_file(root_, name);
    ASSERT_FALSE(opened.ok()) << name;
    EXPECT_EQ(opened.error().errnum, ENOENT) << name;
    EXPECT_FALSE(watch.was_opened()) << name;
  }
}

TEST_F(SourceTreeTest, OpensNeitherALinkNorAFolderAsAFile) {
  put("file");
  stdfs::create_symlink("file", at("link"));
  stdfs::create_directory(at("folder"));
  EXPECT_EQ(open_file(root_, "link").error().errnum, ELOOP);
  EXPECT_EQ(open_file(root_, "folder").error().errnum, ENOENT);
  EXPECT_EQ(open_file(root_, "nothing").error().errnum, ENOENT);
}

// A lease of another program: an open that does not wait is refused until it is given back. This
// process would be asked for it by SIGIO.
class LeaseTest : public SourceTreeTest {
 protected:
  LeaseTest() : before_(std::signal(SIGIO, SIG_IGN)) {
    put("file");
    holder_ = Fd(::open(at("file").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(::fcntl(holder_.get(), F_SETLEASE, F_WRLCK), 0) << std::strerror(errno);
  }
  ~LeaseTest() override { std::signal(SIGIO, before_); }
  void give_back() { EXPECT_EQ(::fcntl(holder_.get(), F_SETLEASE, F_UNLCK), 0); }

  void (*before_)(int);
  Fd holder_;
};

TEST_F(LeaseTest, IsWaitedForAMoment) {
  std::thread owner([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    give_back();
  });
  const auto opened = open_file(root_, "file");
  owner.join();
  EXPECT_OK(opened);
}

TEST_F(LeaseTest, IsNotWaitedForLong) {
  std::atomic<bool> ended{false};
  Result<Fd> opened = Error{Code::io, 0, ""};
  std::thread opener([&] {
    opened = open_file(root_, "file");
    ended = true;
  });
  for (int i = 0; i < 500 && !ended; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(ended.load());
  give_back();
  opener.join();
  EXPECT_CODE(Code::busy, opened);
}

class LeasedBackupTest : public BackupTest {};

TEST_F(LeasedBackupTest, NamesTheFileAndTakesTheRest) {
  write_file(source_dir() / "leased", random_text(100, 1));
  write_file(source_dir() / "other", random_text(100, 2));
  const auto before = std::signal(SIGIO, SIG_IGN);
  const Fd holder(::open((source_dir() / "leased").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::fcntl(holder.get(), F_SETLEASE, F_WRLCK), 0) << std::strerror(errno);
  const BackupReport report = must_run();
  EXPECT_EQ(::fcntl(holder.get(), F_SETLEASE, F_UNLCK), 0);
  std::signal(SIGIO, before);
  ASSERT_EQ(report.unreadable.size(), 1U);
  EXPECT_EQ(report.unreadable[0].path, "leased");
  EXPECT_NE(report.unreadable[0].reason.find("lease"), std::string::npos)
      << report.unreadable[0].reason;
  EXPECT_EQ(find(report.snapshot, "leased")->flags & store::kUnreadable, store::kUnreadable);
  EXPECT_EQ(content(report.snapshot, "other"), random_text(100, 2));
}

}  // namespace
}  // namespace bygone::ingest
