// SPDX-License-Identifier: Apache-2.0
#include "ingest/paced_file.h"

#include <algorithm>
#include <cstdlib>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace bygone::ingest {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kSize = 24 * kMiB + 100;
const ReadLimit kAutomatic{.kind = ReadLimit::Kind::automatic, .bytes_per_second = 0};

// A limiter on a host where nobody else waits.
Limiter free_limiter(ReadLimit limit) {
  Surroundings surroundings = Surroundings::real();
  surroundings.pressure = [] { return Pressure{}; };
  surroundings.processors = [] { return std::nullopt; };
  return Limiter(limit, surroundings);
}

// A file on a disk, nameless, none of it in the page cache.
class ColdFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = "/var/tmp/bygone-paced.XXXXXX";
    fd_ = Fd(::mkstemp(path.data()));
    ASSERT_GE(fd_.get(), 0);
    ::unlink(path.c_str());
    content_.resize(kSize);
    for (std::size_t i = 0; i < content_.size(); ++i) {
      content_[i] = static_cast<std::uint8_t>(i * 7 + i / 4096);
    }
    ASSERT_EQ(::pwrite(fd_.get(), content_.data(), kSize, 0), static_cast<ssize_t>(kSize));
    ASSERT_EQ(::fsync(fd_.get()), 0);
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
    if (cached() > 0.01) GTEST_SKIP() << "/var/tmp keeps its files in memory";
  }

  // The share of the pages in [begin, end) that are in the page cache.
  double cached(std::uint64_t begin = 0, std::uint64_t end = kSize) {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t length = static_cast<std::size_t>(end - begin);
    std::vector<unsigned char> present((length + page - 1) / page);
    void* const map =
        ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd_.get(), static_cast<off_t>(begin));
    EXPECT_NE(map, MAP_FAILED);
    EXPECT_EQ(::mincore(map, length, present.data()), 0);
    ::munmap(map, length);
    const auto there = std::count_if(present.begin(), present.end(),
                                     [](unsigned char each) { return (each & 1U) != 0; });
    return static_cast<double>(there) / static_cast<double>(present.size());
  }

  // Warms up what an application works with. No read-ahead.
  void use(std::uint64_t begin, std::uint64_t end) {
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_RANDOM);
    Bytes buffer(static_cast<std::size_t>(end - begin));
    EXPECT_TRUE(read_at(fd_, buffer, begin).ok());
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_NORMAL);
  }

  void read_all(Limiter* limiter, PacedFile::Cache cache) {
    PacedFile file(fd_, kSize, limiter, cache, nullptr);
    Bytes got(kSize + 1);
    std::size_t done = 0;
    for (;;) {
      const std::size_t room = std::min<std::size_t>(kMiB, got.size() - done);
      const auto n = file.read(MutableByteView(got).subspan(done, room), done);
      ASSERT_TRUE(n.ok());
      if (*n == 0) break;
      done += *n;
    }
    got.resize(done);
    EXPECT_EQ(got, content_);
  }

  Fd fd_{-1};
  Bytes content_;
};

TEST_F(ColdFile, LeavesTheCacheAsItWas) {
  Limiter limiter = free_limiter(kAutomatic);
  read_all(&limiter, PacedFile::Cache::as_before);
  EXPECT_LE(cached(), 0.01);
}

TEST_F(ColdFile, KeepsInTheCacheWhatTheApplicationWorksWith) {
  use(5 * kMiB, 9 * kMiB);
  use(20 * kMiB, 20 * kMiB + 4096);
  Limiter limiter = free_limiter(kAutomatic);
  read_all(&limiter, PacedFile::Cache::as_before);
  EXPECT_EQ(cached(5 * kMiB, 9 * kMiB), 1);
  EXPECT_EQ(cached(20 * kMiB, 20 * kMiB + 4096), 1);
  EXPECT_LE(cached(), 4.1 / 24 + 0.02);
}

TEST_F(ColdFile, StaysInTheCacheWhenItIsToBeReadAgain) {
  Limiter limiter = free_limiter(kAutomatic);
  read_all(&limiter, PacedFile::Cache::keep);
  EXPECT_GE(cached(), 0.99);
}

TEST_F(ColdFile, IsReadPlainlyWithoutALimiter) {
  read_all(nullptr, PacedFile::Cache::as_before);
  Limiter off{ReadLimit{}};
  read_all(&off, PacedFile::Cache::as_before);
  EXPECT_GE(cached(), 0.99);
}

TEST_F(ColdFile, IsReadAtTheRateThatAPersonNames) {
  Limiter limiter = free_limiter(*parse_read_limit("96M"));
  const auto begin = std::chrono::steady_clock::now();
  read_all(&limiter, PacedFile::Cache::as_before);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took.count(), 0.13);  // 24 MiB, less the burst of the beginning
}

TEST_F(ColdFile, IsNotReadAfterACancel) {
  const std::atomic<bool> cancel{true};
  Limiter limiter = free_limiter(*parse_read_limit("64K"));
  PacedFile file(fd_, kSize, &limiter, PacedFile::Cache::as_before, &cancel);
  Bytes buffer(kMiB);
  const auto n = file.read(buffer, 0);
  ASSERT_FALSE(n.ok());
  EXPECT_EQ(n.error().code, Code::cancelled);
}

}  // namespace
}  // namespace bygone::ingest
