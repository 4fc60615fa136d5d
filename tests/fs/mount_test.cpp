// SPDX-License-Identifier: Apache-2.0
//
// The mount as programs meet it: a child process serves a real repository on /dev/fuse.
#include "fs/mount.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mountpoint.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::fs {
namespace {

namespace stdfs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using test::MemoryTree;

constexpr Nanoseconds kTaken = 1710565032 * kSecond;  // 2024-03-16T04:57:12Z

// Serves until it ends; said in a word what went wrong.
[[noreturn]] void serve(const std::string& repository_path, const std::string& mountpoint,
                        int ready_fd) {
  auto repository = test::reopen(repository_path);
  MountOptions options;
  options.mountpoint = mountpoint;
  options.on_ready = [&] { [[maybe_unused]] const auto n = ::write(ready_fd, "r", 1); };
  const Result<void> served = serve_mount(*repository, options);
  if (!served.ok()) std::fprintf(stderr, "child: %s\n", served.error().message.c_str());
  ::_exit(served.ok() ? 0 : 9);
}

class MountTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "no usable /dev/fuse here";
    if (::geteuid() != 0) GTEST_SKIP() << "not root: mounting would need fusermount3";
    setenv("TZ", "UTC", 1);
    repository_path_ = folder_ / "repository";
    mountpoint_ = folder_ / "mnt";
    stdfs::create_directory(mountpoint_);
    ASSERT_NE(test::new_repository(repository_path_), nullptr);
    big_ = test::noise(3'000'000, 1);
    back_up(kTaken, {{"hello.txt", test::prose(1000, 1)}, {"big", big_}, {"empty/", {}}});
  }
  void TearDown() override {
    if (child_ > 0) ::kill(child_, SIGKILL);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
    if (!mountpoint_.empty()) ::umount2(mountpoint_.c_str(), MNT_DETACH);
  }
  void back_up(Nanoseconds instant, const MemoryTree& tree) {
    test::BackUpOptions options;
    options.instant = instant;
    // Open for moments only: the server is a fork, and LMDB wants no environment across one.
    ASSERT_OK(test::back_up(*test::reopen(repository_path_), tree, options));
  }
  // Starts a server; its process, once the mount answers.
  void mount() {
    int pipe_fds[2];
    ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
    child_ = ::fork();
    if (child_ == 0) serve(repository_path_, mountpoint_, pipe_fds[1]);
    ::close(pipe_fds[1]);
    pollfd ready{pipe_fds[0], POLLIN, 0};
    char word = 0;
    const bool told = ::poll(&ready, 1, 20'000) == 1 && ::read(pipe_fds[0], &word, 1) == 1;
    ::close(pipe_fds[0]);
    ASSERT_TRUE(told) << "the mount never answered";
  }
  // How the server ended; -1 when it did not within thirty seconds.
  int end_of_server() {
    const auto deadline = steady_clock::now() + seconds(30);
    int status = 0;
    while (steady_clock::now() < deadline) {
      if (::waitpid(child_, &status, WNOHANG) == child_) {
        child_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(milliseconds(5));
    }
    return -1;
  }
  [[nodiscard]] bool is_mounted() const {
    const auto line = mount_at(mountpoint_);
    return line.ok() && line->has_value();
  }
  [[nodiscard]] std::vector<std::string> list(const std::string& path) const {
    std::vector<std::string> out;
    std::error_code error;
    for (const auto& entry : stdfs::directory_iterator(mountpoint_ + "/" + path, error)) {
      out.push_back(entry.path().filename());
    }
    if (error) out.push_back("error: " + error.message());
    std::sort(out.begin(), out.end());
    return out;
  }
  // By lstat: any instant resolves as a link.
  [[nodiscard]] bool is_folder(const std::string& path) const {
    struct stat info {};
    return ::lstat((mountpoint_ + "/" + path).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  }
  // Waits until a folder is there, or no longer is.
  [[nodiscard]] bool wait_for(const std::string& path, bool there) const {
    const auto deadline = steady_clock::now() + seconds(8);
    while (is_folder(path) != there) {
      if (steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return true;
  }

  test::TempFolder folder_;
  std::string repository_path_, mountpoint_;
  Bytes big_;
  pid_t child_ = 0;
};

using Names = std::vector<std::string>;

TEST_F(MountTest, ShowsASnapshotAsOrdinaryFiles) {
  mount();
  EXPECT_EQ(list(""), (Names{"db"}));
  const Names instants = list("db");
  ASSERT_EQ(instants.size(), 2u);
  EXPECT_EQ(instants[1], "latest");
  const std::string top = mountpoint_ + "/db/latest/";
  EXPECT_TRUE(test::read_whole(top + "data/big") == big_);
  EXPECT_TRUE(test::read_whole(mountpoint_ + "/db/2024-03-16T04-57/data/big") == big_);
  EXPECT_EQ(list("db/latest/data/empty"), Names{});
  EXPECT_NE(::creat((top + "new").c_str(), 0600), 0);
  EXPECT_EQ(errno, EROFS);
  const auto line = mount_at(mountpoint_);
  ASSERT_TRUE(line.ok() && line->has_value());
  EXPECT_EQ((*line)->type, kMountType);
  std::ifstream read_ahead("/sys/class/bdi/" + (*line)->device + "/read_ahead_kb");
  if (std::string kb; read_ahead >> kb) {
    EXPECT_EQ(kb, "1024");
  }
}

TEST_F(MountTest, ShowsANewSnapshotAndHidesAForgottenOneWithoutARemount) {
  mount();
  ASSERT_EQ(list("db").size(), 2u);
  ASSERT_FALSE(is_folder("db/2024-03-16T05:57"));
  back_up(kTaken + 3600 * kSecond, {{"hello.txt", test::prose(10, 2)}});
  EXPECT_TRUE(wait_for("db/2024-03-16T05:57", true));
  EXPECT_EQ(list("db"), (Names{"2024-03-16T04:57", "2024-03-16T05:57", "latest"}));
  EXPECT_EQ(stdfs::read_symlink(mountpoint_ + "/db/latest"), "2024-03-16T05:57");
  EXPECT_EQ(test::read_whole(mountpoint_ + "/db/latest/data/hello.txt").size(), 10u);

  const auto snapshots = test::reopen(repository_path_)->snapshots();
  ASSERT_OK(snapshots);
  ::unlink((repository_path_ + "/snapshots/" + snapshots->front().id.hex()).c_str());
  EXPECT_TRUE(wait_for("db/2024-03-16T04:57", false));
  EXPECT_EQ(list("db"), (Names{"2024-03-16T05:57", "latest"}));
}

TEST_F(MountTest, EndsOnEachSignalAndLeavesNothingBehind) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    mount();
    ASSERT_TRUE(is_mounted());
    ::kill(child_, signal);
    EXPECT_EQ(end_of_server(), 0) << signal;
    EXPECT_FALSE(is_mounted()) << signal;
  }
}

TEST_F(MountTest, EndsOnASignalThoughAFileIsOpen) {
  mount();
  std::ifstream open(mountpoint_ + "/db/latest/data/big");
  open.get();
  ::kill(child_, SIGTERM);
  EXPECT_EQ(end_of_server(), 0);
  EXPECT_FALSE(is_mounted());
}

TEST_F(MountTest, EndsWhenItIsUnmounted) {
  mount();
  const auto gone = unmount(mountpoint_);
  ASSERT_OK(gone);
  EXPECT_EQ(*gone, Unmounted::done);
  EXPECT_FALSE(is_mounted());
  EXPECT_EQ(end_of_server(), 0);
}

TEST_F(MountTest, ServesOnAfterALazyUnmountUntilTheLastUserLeaves) {
  mount();
  {
    const int fd = ::open((mountpoint_ + "/db/latest/data/big").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    const auto gone = unmount(mountpoint_);
    ASSERT_OK(gone);
    EXPECT_EQ(*gone, Unmounted::lazily);
    EXPECT_FALSE(is_mounted());
    char last = 0;
    EXPECT_EQ(::pread(fd, &last, 1, static_cast<off_t>(big_.size()) - 1), 1);
    EXPECT_EQ(static_cast<std::uint8_t>(last), big_.back());
    ::close(fd);
  }
  EXPECT_EQ(end_of_server(), 0);
}

TEST_F(MountTest, ReplacesADeadMount) {
  mount();
  ::kill(child_, SIGKILL);
  ASSERT_EQ(end_of_server(), 1000 + SIGKILL);
  struct statfs info {};
  ASSERT_NE(::statfs(mountpoint_.c_str(), &info), 0);
  ASSERT_EQ(errno, ENOTCONN);
  mount();
  EXPECT_EQ(list(""), (Names{"db"}));
  ASSERT_OK(unmount(mountpoint_));
  EXPECT_FALSE(is_mounted()) << "the dead one is not under it";
  EXPECT_EQ(end_of_server(), 0);
}

TEST_F(MountTest, TakesADeadMountAway) {
  mount();
  ::kill(child_, SIGKILL);
  ASSERT_EQ(end_of_server(), 1000 + SIGKILL);
  ASSERT_OK(unmount(mountpoint_));
  EXPECT_FALSE(is_mounted());
}

TEST_F(MountTest, RefusesASecondMountInOnePlace) {
  mount();
  EXPECT_CODE(Code::busy, prepare_mountpoint(mountpoint_, repository_path_));
}

TEST_F(MountTest, EndsThoughARequestHangs) {
  mount();
  // A pack that is a FIFO without a writer: opening it takes for ever, like a dead disk.
  for (const auto& entry : stdfs::recursive_directory_iterator(repository_path_ + "/packs")) {
    if (!entry.is_regular_file()) continue;
    stdfs::remove(entry.path());
    ASSERT_EQ(::mkfifo(entry.path().c_str(), 0600), 0);
  }
  const pid_t user = ::fork();
  if (user == 0) {
    struct stat info {};
    ::_exit(::stat((mountpoint_ + "/db/latest/data/big").c_str(), &info) == 0 ? 0 : 1);
  }
  std::this_thread::sleep_for(milliseconds(300));
  ASSERT_EQ(::waitpid(user, nullptr, WNOHANG), 0) << "the request should hang";
  ::kill(child_, SIGTERM);
  EXPECT_EQ(end_of_server(), 1);
  EXPECT_FALSE(is_mounted());
  int status = 0;
  EXPECT_EQ(::waitpid(user, &status, 0), user);
  EXPECT_EQ(WEXITSTATUS(status), 1) << "whoever waited gets an error";
}

TEST_F(MountTest, AnswersEioOnlyForTheDamagedPart) {
  mount();
  const std::string path = mountpoint_ + "/db/latest/data/big";
  // One flipped bit in the middle of the largest pack: the noise does not compress, so that its
  // chunks lie there in the order of the file.
  std::string largest;
  std::uintmax_t size = 0;
  for (const auto& entry : stdfs::recursive_directory_iterator(repository_path_ + "/packs")) {
    if (entry.is_regular_file() && entry.file_size() > size) {
      largest = entry.path();
      size = entry.file_size();
    }
  }
  test::flip_bit(largest, static_cast<std::int64_t>(size / 2));
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::size_t bad = 0;
  Bytes page(4096);
  for (std::size_t at = 0; at < big_.size(); at += page.size()) {
    const ssize_t n = ::pread(fd, page.data(), page.size(), static_cast<off_t>(at));
    if (n < 0) {
      EXPECT_EQ(errno, EIO);
      ++bad;
    } else {
      ASSERT_TRUE(std::equal(page.begin(), page.begin() + n, big_.begin() + static_cast<long>(at)));
    }
  }
  ::close(fd);
  EXPECT_GT(bad, 0u);
  EXPECT_LE(bad * page.size(), (1u << 20) + page.size()) << "a chunk is at most 1 MiB";
}

}  // namespace
}  // namespace bygone::fs
