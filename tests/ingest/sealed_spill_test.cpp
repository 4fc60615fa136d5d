// SPDX-License-Identifier: Apache-2.0
#include "ingest/sealed_spill.h"

#include <cstdlib>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace bygone::ingest {
namespace {

class SealedSpillTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store::init_crypto().ok());
    std::string pattern = testing::TempDir() + "spill-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // The spill file of this process, opened behind the back of its owner.
  Fd spill_file() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const auto target = std::filesystem::read_symlink(entry.path(), gone);
      if (!gone && target.string().rfind(folder_, 0) == 0) {
        return Fd(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
      }
    }
    return Fd();
  }

  std::string folder_;
};

Bytes piece(std::size_t size, std::uint8_t fill) { return Bytes(size, fill); }

TEST_F(SealedSpillTest, GivesBackWhatItTookInMemoryAndInTheFile) {
  SealedSpill spill(folder_, 1000);
  std::vector<std::pair<std::uint64_t, Bytes>> all;
  for (std::uint8_t i = 1; i <= 40; ++i) {
    Bytes data = piece(std::size_t{i} * 7, i);
    const auto ticket = spill.append(data);
    ASSERT_TRUE(ticket.ok()) << ticket.error().message;
    all.emplace_back(*ticket, std::move(data));
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& [ticket, data] : all) {
      const auto got = spill.read(ticket);
      ASSERT_TRUE(got.ok()) << got.error().message;
      EXPECT_EQ(*got, data);
    }
  }
  EXPECT_TRUE(spill_file().is_open());
}

TEST_F(SealedSpillTest, NeedsNoFileBelowItsLimit) {
  SealedSpill spill(folder_ + "/not-there", 100);
  ASSERT_TRUE(spill.append(piece(60, 1)).ok());
  const auto last = spill.append(piece(40, 2));
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(*spill.read(*last), piece(40, 2));
  const auto over = spill.append(piece(1, 3));
  ASSERT_FALSE(over.ok());
  EXPECT_EQ(over.error().code, Code::io);
  EXPECT_EQ(*spill.read(*last), piece(40, 2));
}

TEST_F(SealedSpillTest, TellsWhyWhatWasUrgentIsLostAndNothingElse) {
  SealedSpill spill(folder_ + "/not-there", 100);
  EXPECT_FALSE(spill.append(piece(1, 1), SealedSpill::Where::file).ok());
  EXPECT_TRUE(spill.has_failed());
  EXPECT_FALSE(spill.loss().has_value());
  EXPECT_FALSE(spill.append(piece(101, 2)).ok());
  ASSERT_TRUE(spill.loss().has_value());
  EXPECT_EQ(spill.loss()->code, Code::io);
}

TEST_F(SealedSpillTest, LeavesNoNameAndNoPlainBytes) {
  SealedSpill spill(folder_, 0);
  const std::string secret = "the secret of the database, in clear";
  ASSERT_TRUE(spill.append(as_bytes(secret)).ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  const Fd file = spill_file();
  ASSERT_TRUE(file.is_open());
  Bytes raw(4096);
  const auto size = system_files().read_at(file, raw, 0);
  ASSERT_TRUE(size.ok());
  EXPECT_EQ(*size, secret.size() + store::kTagBytes);
  EXPECT_EQ(as_text(raw).find(secret.substr(0, 8)), std::string_view::npos);
}

TEST_F(SealedSpillTest, RejectsAFileThatWasChanged) {
  for (const bool cut : {false, true}) {
    SealedSpill spill(folder_, 0);
    const auto ticket = spill.append(piece(100, 7));
    ASSERT_TRUE(ticket.ok());
    const Fd file = spill_file();
    ASSERT_TRUE(file.is_open());
    if (cut) {
      ASSERT_EQ(::ftruncate(file.get(), 110), 0);
    } else {
      ASSERT_TRUE(system_files().write_at(file, piece(1, 0), 50).ok());
      ASSERT_TRUE(system_files().write_at(file, piece(1, 1), 51).ok());
    }
    const auto got = spill.read(*ticket);
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code, Code::io);
    ASSERT_TRUE(spill.loss().has_value());
    EXPECT_EQ(spill.loss()->code, Code::io);
  }
}

TEST_F(SealedSpillTest, ServesSeveralThreads) {
  SealedSpill spill(folder_, 20'000);
  std::vector<std::thread> threads;
  for (std::uint8_t t = 1; t <= 4; ++t) {
    threads.emplace_back([&spill, t] {
      for (std::size_t i = 1; i <= 100; ++i) {
        const auto ticket = spill.append(piece(i * 3, t));
        ASSERT_TRUE(ticket.ok());
        const auto got = spill.read(*ticket);
        ASSERT_TRUE(got.ok());
        EXPECT_EQ(*got, piece(i * 3, t));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace bygone::ingest
