// SPDX-License-Identifier: Apache-2.0
//
// What is copied before a freeze is not copied again under it, and the snapshot has what was there
// under the freeze, whatever was there before.
#include <random>
#include <set>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/volume_pass.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/expect.h"

namespace bygone::ingest {
namespace {

using test::value_of;

constexpr std::size_t kBlock = kFingerprintBlock;

class LookAhead : public BackupTest {
 protected:
  // A pass over what the source folder has by then.
  void begin() {
    end();
    session_ = value_of(store::Session::begin(*repository_, store::Compression::fastest));
    trees_ = std::make_unique<store::TreeReader>(*session_, std::size_t{1} << 20);
    writer_ = std::make_unique<store::TreeWriter>(repository_->keys(), *session_);
    jobs_ = std::make_unique<ChunkJobs>(*session_, store::Compression::fastest, 2);
    prints_ = std::make_unique<Fingerprints>(room_);
    spill_ = std::make_unique<SealedSpill>(repository_dir() + "/tmp", 4 * kBlock);
    context_.reset(new PassContext{.session = *session_,
                                   .writer = *writer_,
                                   .trees = *trees_,
                                   .jobs = *jobs_,
                                   .off_limits = off_limits_,
                                   .cancel = cancel_,
                                   .clock = [] { return system_now(); },  // all is racy: looked at
                                   .rescan = false,
                                   .fingerprints = prints_.get(),
                                   .spill = spill_.get(),
                                   .limiter = nullptr,
                                   .liveness = nullptr,
                                   .counts = {},
                                   .files_seen = 0,
                                   .bytes_seen = 0,
                                   .bytes_read = 0});
    pass_ = value_of(VolumePass::open(*context_, source_dir(),
                                      {.number = 0,
                                       .tag = 7,
                                       .tree = TreeKind::plain,
                                       .excludes = value_of(Excludes::parse({}))}));
    hot_ = value_of(pass_->read(std::nullopt));
  }
  void end() {
    pass_.reset();
    context_.reset();
    spill_.reset();
    prints_.reset();
    jobs_.reset();
    writer_.reset();
    trees_.reset();
    session_.reset();
  }
  void look() { EXPECT_OK(pass_->look_ahead(hot_)); }
  // Blocks copied under the freeze.
  std::uint64_t capture() {
    const std::uint64_t before = spill_->size();
    EXPECT_OK(pass_->capture(hot_));
    const std::uint64_t copied = spill_->size() - before;
    root_ = value_of(pass_->store_captured());
    return (copied + kBlock - 1) / kBlock;
  }
  std::string stored(const Entry& entry) {
    if (entry.content == Entry::Content::inline_bytes) {
      return std::string(as_text(entry.inline_bytes));
    }
    std::string out(entry.size, '\0');
    EXPECT_OK(trees_->extents(entry, 0, entry.size, [&](std::uint64_t at, const Extent& extent) {
      if (extent.kind != Extent::Kind::data) return true;
      const auto chunk = value_of(session_->get(store::ChunkKind::data, extent.chunk));
      const ByteView bytes = ByteView(*chunk).subspan(extent.offset, extent.length);
      out.replace(at, extent.length, as_text(bytes));
      return true;
    }));
    return out;
  }
  void expect_as_it_stands() {
    std::set<std::string> names;
    EXPECT_OK(trees_->list(root_, 0, [&](const Entry& entry) {
      names.insert(entry.name);
      return true;
    }));
    for (const auto& each : stdfs::directory_iterator(source_dir())) {
      const std::string name = each.path().filename();
      ASSERT_EQ(names.erase(name), 1U) << name;
      const auto entry = value_of(trees_->lookup(root_, name));
      ASSERT_TRUE(entry);
      const std::string expected = file_content(each.path());
      ASSERT_EQ(entry->size, expected.size()) << name;
      ASSERT_TRUE(stored(*entry) == expected) << name;
    }
    EXPECT_TRUE(names.empty());
  }

  const std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> off_limits_;
  std::unique_ptr<store::Session> session_;
  std::unique_ptr<store::TreeReader> trees_;
  std::unique_ptr<store::TreeWriter> writer_;
  std::unique_ptr<ChunkJobs> jobs_;
  std::uint64_t room_ = Fingerprints::kMostMemory;
  std::unique_ptr<Fingerprints> prints_;
  std::unique_ptr<SealedSpill> spill_;
  std::unique_ptr<PassContext> context_;
  std::unique_ptr<VolumePass> pass_;
  Entry hot_, root_;
};

TEST_F(LookAhead, CapturesWhatOfAFileHasNoRoomForFingerprints) {
  const stdfs::path file = source_dir() / "db";
  room_ = 2048;
  write_file(file, random_text(130 * kBlock, 1));
  overwrite(file, 160 * kBlock, random_text(40 * kBlock + 100, 2));  // behind a hole
  begin();
  EXPECT_LE(prints_->memory(), room_);
  const Entry hot = *value_of(trees_->lookup(hot_, "db"));
  const auto found = prints_->find(0, hot, hot);
  ASSERT_NE(found, nullptr);
  const std::uint64_t known = found->blocks();
  ASSERT_GT(known, 90U);
  ASSERT_LT(known, 120U);
  overwrite(file, 3 * kBlock, "changed");
  overwrite(file, 120 * kBlock, std::string(10 * kBlock, '\0'));
  stdfs::resize_file(file, 220 * kBlock);
  EXPECT_EQ(capture(), 1 + (130 - known) + 41);
  expect_as_it_stands();
}

TEST_F(LookAhead, CapturesAChangeInAVastHoleAndNothingElse) {
  constexpr std::uint64_t kVast = 1ULL << 36U;
  const stdfs::path file = source_dir() / "vast";
  write_file(file, random_text(kBlock, 1));
  stdfs::resize_file(file, kVast);
  begin();
  EXPECT_LT(prints_->memory(), 4096U);
  overwrite(file, kVast / 2, random_text(kBlock, 2));
  EXPECT_EQ(capture(), 1U);
  const auto entry = value_of(trees_->lookup(root_, "vast"));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->size, kVast);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> data;
  EXPECT_OK(trees_->extents(*entry, 0, kVast, [&](std::uint64_t at, const Extent& extent) {
    if (extent.kind == Extent::Kind::data) data.emplace_back(at, extent.length);
    return true;
  }));
  EXPECT_EQ(data, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, kBlock},
                                                                        {kVast / 2, kBlock}}));
}

TEST_F(LookAhead, LeavesToTheFreezeWhatChangesAfterIt) {
  const stdfs::path file = source_dir() / "db";
  write_file(file, random_text(64 * kBlock + 100, 1));
  begin();
  for (const unsigned block : {3U, 10U, 20U, 64U}) overwrite(file, block * kBlock, "changed");
  look();
  EXPECT_EQ(spill_->size(), 3 * kBlock + 100);
  overwrite(file, 20 * kBlock, "again");
  overwrite(file, 30 * kBlock, "new");
  EXPECT_EQ(capture(), 2U);
  expect_as_it_stands();
}

TEST_F(LookAhead, OfWhatDoesNotChangeAgainLeavesNothing) {
  const stdfs::path file = source_dir() / "db";
  write_file(file, random_text(16 * kBlock, 1));
  begin();
  overwrite(file, 3 * kBlock, "changed");
  look();
  look();
  EXPECT_EQ(spill_->size(), kBlock) << "the second look found it done";
  EXPECT_EQ(capture(), 0U);
  expect_as_it_stands();
}

TEST_F(LookAhead, IsForgottenWhereTheHotPassWasRightAgain) {
  const stdfs::path file = source_dir() / "db";
  const std::string before = random_text(16 * kBlock, 1);
  write_file(file, before);
  begin();
  overwrite(file, 3 * kBlock, "changed");
  look();
  overwrite(file, 3 * kBlock, before.substr(3 * kBlock, 7));
  capture();
  expect_as_it_stands();
}

// Read as `db` and, after a folder above it was renamed, once more as something else: the
// fingerprints are of the one or of the other.
TEST_F(LookAhead, BelievesNoFingerprintsOfTwoReadings) {
  const stdfs::path file = source_dir() / "db";
  write_file(file, random_text(16 * kBlock, 1));
  begin();
  const std::string later = random_text(16 * kBlock, 2);
  const Entry renamed = *value_of(trees_->lookup(hot_, "db"));
  Fingerprinter prints(*prints_);
  prints.data(as_bytes(later));
  prints_->put(0, renamed, prints.finish());
  write_file(file, later);
  EXPECT_EQ(capture(), 16U);
  expect_as_it_stands();
}

// As PostgreSQL does with segments of its log.
TEST_F(LookAhead, FindsAFileThatWasRenamedSince) {
  write_file(source_dir() / "1", random_text(16 * kBlock, 1));
  write_file(source_dir() / "2", random_text(16 * kBlock, 2));
  begin();
  stdfs::rename(source_dir() / "1", source_dir() / "3");
  write_file(source_dir() / "4", random_text(16 * kBlock, 4));
  look();
  EXPECT_EQ(spill_->size(), 32 * kBlock);
  stdfs::rename(source_dir() / "3", source_dir() / "5");
  overwrite(source_dir() / "5", 0, "new");
  EXPECT_EQ(capture(), 1U);
  expect_as_it_stands();
}

// Something that an application does to a file.
void change(const stdfs::path& path, std::mt19937& random) {
  const auto any = [&](std::size_t most) {
    return static_cast<std::size_t>(random()) % (most + 1);
  };
  const bool exists = stdfs::exists(path);
  const std::size_t size = exists ? stdfs::file_size(path) : 0;
  switch (exists ? any(9) : 0) {
    case 0:
      write_file(path, random_text(any(12 * kBlock), static_cast<unsigned>(random())));
      return;
    case 1:
      stdfs::resize_file(path, any(14 * kBlock));
      return;
    case 2:
      stdfs::remove(path);
      return;
    case 3: {  // replaced as a whole, by a file of another inode
      const stdfs::path next = path.string() + ".next";
      write_file(next, random_text(size, static_cast<unsigned>(random())));
      stdfs::rename(next, path);
      return;
    }
    case 4: {
      const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
      ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(any(size)), static_cast<off_t>(1 + any(6 * kBlock)));
      return;
    }
    case 5:
      overwrite(path, any(size), std::string(any(3 * kBlock), '\0'));
      return;
    case 6:
      stdfs::rename(path, path.parent_path() / std::to_string(random() % 5));
      return;
    default:
      overwrite(path, any(size), random_text(1 + any(kBlock), static_cast<unsigned>(random())));
  }
}

TEST_F(LookAhead, NeverShowsInTheSnapshot) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    stdfs::remove_all(source_dir());
    stdfs::create_directory(source_dir());
    const auto change_some = [&] {
      for (unsigned i = 0; i < 8; ++i) change(source_dir() / std::to_string(random() % 5), random);
    };
    change_some();
    begin();
    for (unsigned looks = random() % 4; looks > 0; --looks) {
      change_some();
      look();
    }
    change_some();
    capture();
    expect_as_it_stands();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace bygone::ingest
