// SPDX-License-Identifier: Apache-2.0
#include "ingest/backup.h"

#include <set>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/page_liveness.h"
#include "tests/ingest/backup_fixture.h"

namespace bygone::ingest {
namespace {

TEST_F(BackupTest, KeepsFilesOfEverySize) {
  stdfs::create_directories(source_dir() / "a/b/c");
  unsigned seed = 1;
  for (const std::size_t size :
       {0u, 1u, 64u, 65u, 4095u, 65535u, 65536u, 65537u, 300000u, 1048576u, 1048577u, 5000000u}) {
    write_file(source_dir() / ("f" + std::to_string(size)), random_text(size, seed++));
    write_file(source_dir() / "a/b" / ("g" + std::to_string(size)), random_text(size, seed++));
  }
  const BackupReport report = must_run();
  EXPECT_EQ(report.snapshot.files, 24u);
  EXPECT_EQ(report.snapshot.folders, 4u);
  EXPECT_TRUE(report.unreadable.empty());
  expect_equal(report.snapshot);
  open();
  expect_equal(report.snapshot);
}

TEST_F(BackupTest, KeepsManySmallFiles) {
  for (int d = 0; d < 6; ++d) {
    const stdfs::path dir = source_dir() / ("d" + std::to_string(d));
    stdfs::create_directory(dir);
    for (int i = 0; i < 500; ++i) {
      write_file(dir / std::to_string(i), random_text(static_cast<std::size_t>(i) * 7,
                                                      1000u + static_cast<unsigned>(d * 500 + i)));
    }
  }
  const BackupReport report = must_run();
  EXPECT_EQ(report.snapshot.files, 3000u);
  expect_equal(report.snapshot);
}

TEST_F(BackupTest, StoresNothingTwiceWhenNothingChanged) {
  write_file(source_dir() / "small", random_text(1000, 1));
  write_file(source_dir() / "large", random_text(3000000, 2));
  const BackupReport first = must_run();
  const BackupReport second = must_run();
  EXPECT_EQ(second.snapshot.added_bytes, 0u);
  EXPECT_EQ(second.bytes_read, 0u);
  EXPECT_EQ(second.unmodified_files, 2u);
  EXPECT_EQ(second.snapshot.volumes[0].root, first.snapshot.volumes[0].root);
  EXPECT_EQ(second.snapshot.sequence, 2u);
  EXPECT_EQ(second.snapshot.previous, first.snapshot.id);
  EXPECT_NE(second.snapshot.listed_name, first.snapshot.listed_name);
}

TEST_F(BackupTest, WritesThinPagesAnewOnceADayAndChangesNothingElse) {
  const Nanoseconds noon = (system_now() / kDay + 1) * kDay + kDay / 2;
  ahead_ = noon - system_now();
  for (int d = 0; d < 40; ++d) {
    const stdfs::path dir = source_dir() / ("folder" + std::to_string(d));
    stdfs::create_directories(dir / "below");
    for (int i = 0; i < 30; ++i) {
      write_file(dir / ("f" + std::to_string(i)), random_text(100, static_cast<unsigned>(d)));
    }
    write_file(dir / "below/leaf", "content");
  }
  write_file(source_dir() / "folder7/relation", random_text(3'000'000, 9));
  const auto thin_pages = [&](const store::Snapshot& snapshot) {
    auto liveness =
        store::PageLiveness::count(repository_->trees(), {&snapshot.volumes[0].root, 1}, cancel_);
    EXPECT_TRUE(liveness.ok());
    return liveness.ok() ? liveness->thin_pages() : 0;
  };
  must_run();
  for (int d = 0; d < 40; ++d) {
    if (d != 7) write_file(source_dir() / ("folder" + std::to_string(d)) / "new", "new");
  }
  const BackupReport second = must_run();
  ASSERT_GT(thin_pages(second.snapshot), 0u);
  const BackupReport same_day = must_run();
  EXPECT_EQ(same_day.snapshot.volumes[0].root, second.snapshot.volumes[0].root);

  ahead_ += kDay;
  const BackupReport next_day = must_run();
  EXPECT_EQ(thin_pages(next_day.snapshot), 0u);
  EXPECT_NE(next_day.snapshot.volumes[0].root, second.snapshot.volumes[0].root);
  EXPECT_EQ(next_day.bytes_read, 0u);
  EXPECT_EQ(next_day.changed_files, 0u);
  EXPECT_EQ(next_day.snapshot.files, second.snapshot.files);
  EXPECT_EQ(next_day.snapshot.bytes, second.snapshot.bytes);
  expect_equal(next_day.snapshot);
  const auto relation = find(next_day.snapshot, "folder7/relation");
  ASSERT_TRUE(relation.has_value());
  EXPECT_EQ(relation->content, Entry::Content::extent_node);
}

TEST_F(BackupTest, FindsWhatChanged) {
  write_file(source_dir() / "small", "before");
  write_file(source_dir() / "large", random_text(3000000, 2));
  write_file(source_dir() / "gone", "x");
  const BackupReport first = must_run();
  write_file(source_dir() / "small", "after");
  overwrite(source_dir() / "large", 1500000, "changed");
  write_file(source_dir() / "new", random_text(200, 9));
  stdfs::remove(source_dir() / "gone");
  const BackupReport second = must_run();
  expect_equal(second.snapshot);
  EXPECT_FALSE(find(second.snapshot, "gone").has_value());
  EXPECT_LT(second.snapshot.added_bytes, 1200000u);
  EXPECT_EQ(content(first.snapshot, "small"), "before");
  EXPECT_EQ(content(first.snapshot, "gone"), "x");
}

TEST_F(BackupTest, TellsHolesFromWrittenZeros) {
  const stdfs::path path = source_dir() / "sparse";
  const int fd = ::open(path.c_str(), O_CREAT | O_RDWR, 0600);
  const std::string zeros(1 << 20, '\0');
  ASSERT_EQ(::pwrite(fd, "begin", 5, 0), 5);
  ASSERT_EQ(::pwrite(fd, zeros.data(), zeros.size(), 8 << 20), 1 << 20);
  ASSERT_EQ(::pwrite(fd, "end", 3, 64 << 20), 3);
  ::close(fd);
  const BackupReport report = must_run();
  const auto entry = find(report.snapshot, "sparse");
  ASSERT_TRUE(entry.has_value());
  std::uint64_t holes = 0;
  std::uint64_t written = 0;
  ASSERT_TRUE(repository_->trees()
                  .extents(*entry, 0, entry->size,
                           [&](std::uint64_t, const Extent& extent) {
                             if (extent.kind == Extent::Kind::hole) holes += extent.length;
                             if (extent.kind == Extent::Kind::zero) written += extent.length;
                             return true;
                           })
                  .ok());
  EXPECT_GT(holes, 60u << 20);
  EXPECT_EQ(written, 1u << 20);
  expect_equal(report.snapshot);
}

TEST_F(BackupTest, NamesLinksOfOneFileWithOneContent) {
  write_file(source_dir() / "a", random_text(100000, 3));
  stdfs::create_directory(source_dir() / "d");
  stdfs::create_hard_link(source_dir() / "a", source_dir() / "d/b");
  const BackupReport report = must_run();
  const auto a = find(report.snapshot, "a");
  const auto b = find(report.snapshot, "d/b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->inode, b->inode);
  EXPECT_EQ(a->extents, b->extents);
  EXPECT_EQ(report.bytes_read, 100000u);
}

TEST_F(BackupTest, LeavesOutWhatIsExcluded) {
  stdfs::create_directories(source_dir() / "cache/deep");
  write_file(source_dir() / "cache/deep/x", "1");
  write_file(source_dir() / "keep.txt", "1");
  write_file(source_dir() / "drop.tmp", "1");
  const BackupReport report =
      must_run({.tags = {}, .exclude = {"cache/", "*.tmp"}, .state_folder = {}, .off_limits = {}});
  EXPECT_TRUE(find(report.snapshot, "keep.txt").has_value());
  EXPECT_FALSE(find(report.snapshot, "cache").has_value());
  EXPECT_FALSE(find(report.snapshot, "drop.tmp").has_value());
}

TEST_F(BackupTest, NeverEntersTheRepository) {
  auto source = folder_source("all", folder_.path());
  ASSERT_TRUE(source.ok());
  write_file(source_dir() / "x", "1");
  auto report = run(*source, {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto entry = find(report->snapshot, "repository");
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->entries, 0u);
  EXPECT_EQ(entry->flags, store::kNotCrossed);
  ASSERT_EQ(report->skipped.size(), 1u);
  EXPECT_EQ(report->skipped[0], "repository: the repository itself, left out");
}

TEST_F(BackupTest, FollowsNoLinkOutOfTheSource) {
  stdfs::create_directory_symlink("/etc", source_dir() / "etc");
  stdfs::create_symlink("/etc/passwd", source_dir() / "passwd");
  const BackupReport report = must_run();
  EXPECT_EQ(find(report.snapshot, "etc")->type, store::FileType::symlink);
  EXPECT_EQ(find(report.snapshot, "etc")->target, "/etc");
  EXPECT_EQ(find(report.snapshot, "passwd")->target, "/etc/passwd");
}

TEST_F(BackupTest, CommitsNothingWhenCancelled) {
  write_file(source_dir() / "x", random_text(5000000, 5));
  cancel_ = true;
  auto report = run();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_TRUE(repository_->snapshot_ids()->empty());
}

TEST_F(BackupTest, SeesThePastUnderAFreezeAndNothingLater) {
  add_writer();
  const std::string before = random_text(3000000, 6);
  write_file(source_dir() / "table", before);
  write_file(source_dir() / "small", "hot");
  write_file(source_dir() / "same", random_text(200000, 8));
  stdfs::create_directory(source_dir() / "quiet");
  write_file(source_dir() / "quiet/q", "q");
  before_freeze([&] {
    overwrite(source_dir() / "table", 1000000, "page written after the hot pass");
    write_file(source_dir() / "small", "frozen");
    write_file(source_dir() / "fresh", random_text(150000, 7));
    write_file(source_dir() / "grown", std::string(700000, 'g'));
  });
  const BackupReport report = must_run();
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(engine_.calls(), (std::vector<std::string>{"pause c1", "unpause c1"}));
  expect_equal(report.snapshot);
  before_freeze([&] {
    stdfs::resize_file(source_dir() / "table", 1234567);
    stdfs::remove(source_dir() / "fresh");
    stdfs::resize_file(source_dir() / "grown", 5000000);
  });
  overwrite(source_dir() / "table", 5, "x");
  overwrite(source_dir() / "grown", 5, "x");
  const BackupReport second = must_run();
  expect_equal(second.snapshot);
  EXPECT_FALSE(find(second.snapshot, "fresh").has_value());
  EXPECT_FALSE(stdfs::exists(folder_.path() + "/state/freeze") &&
               !stdfs::is_empty(folder_.path() + "/state/freeze"));
}

TEST_F(BackupTest, CallsItLiveWhenTheFreezeDidNotLast) {
  add_writer();
  write_file(source_dir() / "x", "1");
  // A `docker kill -s HUP` thaws a paused container, and the engine says so only when asked.
  engine_.before = [&](const std::string& call) {
    if (call.starts_with("unpause")) engine_.set_status("c1", docker::Status::running);
  };
  const BackupReport report = must_run();
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::live);
  ASSERT_EQ(report.warnings.size(), 1u);
  BackupOptions strict;
  strict.wish = Wish::freeze;
  EXPECT_FALSE(run(strict).ok());
}

// What was written between the two passes costs what was written: the hot pass is the parent.
TEST_F(BackupTest, StoresWhatChangedUnderTheFreezeAsDeltasOnTheHotPass) {
  write_file(source_dir() / "table", random_text(4000000, 11));
  add_writer();
  before_freeze([&] {
    overwrite(source_dir() / "table", 1000000, "one page");
    overwrite(source_dir() / "table", 3000000, "another");
  });
  const BackupReport report = must_run();
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  expect_equal(report.snapshot);
  EXPECT_LT(report.snapshot.added_bytes, 4020000u);
  std::size_t deltas = 0;
  const auto packs = repository_->chunks().list_packs();
  ASSERT_TRUE(packs.ok());
  for (const PackId& pack : *packs) {
    const auto reader = repository_->chunks().pack(pack);
    ASSERT_TRUE(reader.ok());
    for (const store::Record& record : (*reader)->records()) {
      if (record.base) ++deltas;
    }
  }
  EXPECT_EQ(deltas, 2u);
}

TEST_F(BackupTest, KeepsHolesOfAFileThatChangedUnderTheFreeze) {
  add_writer();
  const stdfs::path path = source_dir() / "sparse";
  write_file(path, "head");
  stdfs::resize_file(path, 30u << 20);
  before_freeze([&] { overwrite(path, 15u << 20, "middle"); });
  const BackupReport report = must_run();
  const auto entry = find(report.snapshot, "sparse");
  ASSERT_TRUE(entry.has_value());
  std::uint64_t stored = 0;
  ASSERT_TRUE(repository_->trees()
                  .extents(*entry, 0, entry->size,
                           [&](std::uint64_t, const Extent& extent) {
                             if (extent.kind != Extent::Kind::hole) stored += extent.length;
                             return true;
                           })
                  .ok());
  EXPECT_LT(stored, 1u << 20);
  expect_equal(report.snapshot);
}

// What is reserved shows on a disk only, not in RAM. Databases grow their files so, page by page.
TEST_F(BackupTest, SeesABlockThatIsPartHoleAndPartReserved) {
  add_writer();
  const test::TempFolder disk("/var/tmp");
  const stdfs::path path = stdfs::path(disk.path()) / "table";
  write_file(path, random_text(300'000, 7));
  before_freeze([&] {
    stdfs::resize_file(path, 0);
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    for (const off_t page : {1, 2, 6, 7, 13, 21, 40}) {
      ASSERT_EQ(::fallocate(fd.get(), 0, page << 14, 1 << 14), 0);
    }
    overwrite(path, 30u << 14, "a row");
  });
  auto source = folder_source("data", disk.path());
  ASSERT_TRUE(source.ok());
  source->writers = writers_;
  const auto report = run(*source, {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  std::string expected(41u << 14, '\0');
  expected.replace(30u << 14, 5, "a row");
  EXPECT_TRUE(content(report->snapshot, "table") == expected);
}

// Content of one volume that is compressed together with another's is an oracle for the other.
TEST_F(BackupTest, SharesNoChunkBetweenTheSmallFilesOfTwoVolumes) {
  Source source = *folder_source("pair", source_dir());
  source.kind = store::SourceKind::container;
  source.volumes.push_back(source.volumes[0]);
  std::vector<std::set<ChunkId>> chunks(2);
  for (std::size_t v = 0; v < 2; ++v) {
    const stdfs::path dir = source_dir() / std::to_string(v);
    stdfs::create_directory(dir);
    for (unsigned i = 0; i < 30; ++i) {
      write_file(dir / std::to_string(i), random_text(900, 100 * static_cast<unsigned>(v) + i));
    }
    source.volumes[v].name = "volume" + std::to_string(v);
    source.volumes[v].destination = "/volume" + std::to_string(v);
    source.volumes[v].host_path = dir;
  }
  const auto report = run(source, {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  for (std::size_t v = 0; v < 2; ++v) {
    for (unsigned i = 0; i < 30; ++i) {
      const auto entry =
          repository_->trees().lookup(report->snapshot.volumes.at(v).root, std::to_string(i));
      ASSERT_TRUE(entry.ok() && *entry);
      for (const Extent& extent : (*entry)->extents) chunks[v].insert(extent.chunk);
    }
    EXPECT_FALSE(chunks[v].empty());
    EXPECT_LT(chunks[v].size(), 30u) << "small files share chunks within a volume";
  }
  for (const ChunkId& chunk : chunks[0]) EXPECT_FALSE(chunks[1].contains(chunk));
}

TEST_F(BackupTest, LeavesOutOfAVolumeWhatItsOwnPatternsSay) {
  Source source = *folder_source("data", source_dir());
  source.kind = store::SourceKind::container;
  source.volumes.resize(2);
  for (std::size_t v = 0; v < 2; ++v) {
    const stdfs::path dir = folder_.path() + "/" + std::to_string(v);
    stdfs::create_directory(dir);
    for (const char* name : {"kept", "cache", "log"}) write_file(dir / name, name);
    source.volumes[v].name = source.volumes[v].destination = std::to_string(v);
    source.volumes[v].host_path = dir;
  }
  source.volumes[1].exclude = {"cache"};
  const auto report = run(source, {.exclude = {"log"}});
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto has = [&](std::size_t volume, const char* name) {
    const auto entry = repository_->trees().lookup(report->snapshot.volumes.at(volume).root, name);
    EXPECT_TRUE(entry.ok());
    return entry.ok() && entry->has_value();
  };
  for (const std::size_t volume : {0U, 1U}) {
    EXPECT_TRUE(has(volume, "kept"));
    EXPECT_FALSE(has(volume, "log"));
  }
  EXPECT_TRUE(has(0, "cache"));
  EXPECT_FALSE(has(1, "cache"));
}

// A container sees it, for its binds are recursive.
TEST_F(BackupTest, SaysWhenAnotherFileSystemIsMountedBelow) {
  const stdfs::path disk = source_dir() / "disk", memory = source_dir() / "memory";
  const test::TempFolder elsewhere("/var/tmp");  // not in memory
  for (const auto& path : {disk, memory}) stdfs::create_directory(path);
  write_file(source_dir() / "file", "content");
  write_file(elsewhere / "inside", "content");
  if (::mount(elsewhere.path().c_str(), disk.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "needs root to mount something";
  }
  EXPECT_EQ(::mount("none", memory.c_str(), "tmpfs", 0, "size=64k"), 0);
  const auto report = run();
  // As a container has it that binds both, and one that has another volume there.
  Source both = *folder_source("data", source_dir());
  both.volumes[0].name = "data";
  both.volumes.push_back(both.volumes[0]);
  both.volumes[1].name = both.volumes[1].destination = "disk";
  both.volumes[1].host_path = disk;
  const auto bound = run(both, {});
  both.volumes.pop_back();
  both.volumes[0].nested = {"disk"};
  const auto covered = run(both, {});
  EXPECT_EQ(::umount(disk.c_str()), 0);
  EXPECT_EQ(::umount(memory.c_str()), 0);
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->lasting.size(), 1U);
  EXPECT_NE(report->lasting[0].find("are not captured: disk; hint"), std::string::npos)
      << report->lasting[0];
  const std::vector<std::string> memory_alone{"memory: a file system that is in memory alone"};
  EXPECT_EQ(report->skipped, memory_alone);
  EXPECT_FALSE(report->snapshot.partial);
  ASSERT_TRUE(bound.ok()) << bound.error().message;
  EXPECT_TRUE(bound->lasting.empty()) << bound->lasting[0];
  EXPECT_EQ(bound->snapshot.volumes.size(), 2U);
  ASSERT_TRUE(covered.ok()) << covered.error().message;
  EXPECT_TRUE(covered->lasting.empty()) << covered->lasting[0];
  EXPECT_TRUE(must_run().lasting.empty()) << "it is an empty folder now";
}

TEST_F(BackupTest, ReadsABindOfOneFile) {
  write_file(source_dir() / "only.conf", random_text(100, 4));
  Source source = *folder_source("conf", source_dir());
  source.kind = store::SourceKind::container;
  source.volumes[0].host_path = source_dir() / "only.conf";
  source.volumes[0].has_writers = false;
  auto report = run(source, {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->snapshot.consistency, store::Consistency::idle);
  EXPECT_EQ(content(report->snapshot.volumes[0].root), random_text(100, 4));
}

}  // namespace
}  // namespace bygone::ingest
