// SPDX-License-Identifier: Apache-2.0
//
// A repository and a folder to back up into it, in RAM, for tests of backup.h. The clock of the
// backups is the system's plus `ahead_`, by default an hour: nothing is racy then. One thread.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "ingest/backup.h"
#include "ingest/discover.h"
#include "store/chunk_store.h"
#include "tests/support/fake_engine.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {

namespace stdfs = std::filesystem;
using store::Entry;
using store::Extent;

inline std::string random_text(std::size_t size, unsigned seed) {
  return std::string(as_text(test::noise(size, seed)));
}

inline void write_file(const stdfs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

inline void overwrite(const stdfs::path& path, std::size_t offset, std::string_view bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Moves the times of everything below `path` into the past, as far as a test can: mtime. The
// clock of the backup runs ahead instead, so that nothing is racy.
constexpr Nanoseconds kLater = 3600 * kSecond;

inline std::string file_content(const stdfs::path& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

class BackupTest : public testing::Test {
 protected:
  BackupTest() {
    stdfs::create_directory(source_dir());
    secret_.kind = store::Secret::Kind::key_file;
    secret_.bytes = store::SecretBytes::copy_of(as_bytes("a key file"));
    EXPECT_TRUE(store::Repository::create(repository_dir(), secret_).ok());
    open();
  }

  std::string repository_dir() const { return folder_.path() + "/repository"; }
  stdfs::path source_dir() const { return folder_.path() + "/source"; }

  void open() {
    repository_.reset();
    auto repository = store::Repository::open(repository_dir(), secret_, {.index_dir = index_dir_});
    ASSERT_TRUE(repository.ok()) << repository.error().message;
    repository_ = std::move(*repository);
  }

  void add_writer() {
    engine_.add("c1");
    ingest::Writer writer;
    writer.id = "c1";
    writer.name = "db";
    writers_ = {writer};
  }

  // `act` runs between the hot pass and the walk under the freeze, as an application would.
  void before_freeze(std::function<void()> act) {
    engine_.before = [act = std::move(act)](const std::string& call) {
      if (call.starts_with("pause")) act();
    };
  }

  Result<BackupReport> run(BackupOptions options = {}) {
    auto source = folder_source("data", source_dir());
    if (!source) return std::move(source).error();
    source->writers = writers_;
    return run(*source, std::move(options));
  }

  Result<BackupReport> run(const Source& source, BackupOptions options) {
    options.state_folder = folder_.path() + "/state";
    options.clock = [this] { return system_now() + ahead_; };
    auto session = TRY(store::Session::begin(*repository_, options.compression));
    {  // let go of at once: the backup claims it, too
      const auto claimed = session->claim(source.kind, source.host_id, source.host, source.name);
      if (claimed) may_lack_ = claimed->may_lack_chunks;
    }
    return backup(*session, source, &engine_, options, {}, cancel_);
  }

  BackupReport must_run(BackupOptions options = {}) {
    auto report = run(std::move(options));
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }

  // The entry at `path` in a snapshot.
  std::optional<Entry> find(const store::Snapshot& snapshot, const std::string& path) {
    Entry at = snapshot.volumes.at(0).root;
    for (const auto& part : stdfs::path(path)) {
      auto next = repository_->trees().lookup(at, part.string());
      EXPECT_TRUE(next.ok()) << next.error().message;
      if (!next.ok() || !*next) return std::nullopt;
      at = **next;
    }
    return at;
  }

  std::string content(const Entry& entry) {
    if (entry.content == Entry::Content::inline_bytes) {
      return std::string(as_text(entry.inline_bytes));
    }
    std::string out(entry.size, '\0');
    auto walked = repository_->trees().extents(
        entry, 0, entry.size, [&](std::uint64_t at, const Extent& extent) {
          if (extent.kind != Extent::Kind::data) return true;
          auto chunk = repository_->chunks().get(store::ChunkKind::data, extent.chunk);
          EXPECT_TRUE(chunk.ok()) << chunk.error().message;
          if (!chunk.ok()) return false;
          out.replace(at, extent.length,
                      as_text(ByteView(**chunk).subspan(extent.offset, extent.length)));
          return true;
        });
    EXPECT_TRUE(walked.ok());
    return out;
  }

  std::string content(const store::Snapshot& snapshot, const std::string& path) {
    auto entry = find(snapshot, path);
    EXPECT_TRUE(entry.has_value()) << path;
    return entry ? content(*entry) : "";
  }

  // Everything below the source folder is in `snapshot` with the same bytes.
  void expect_equal(const store::Snapshot& snapshot) {
    std::vector<Entry> way = {snapshot.volumes.at(0).root};  // down to where the iterator is
    const stdfs::recursive_directory_iterator end;
    for (stdfs::recursive_directory_iterator at(source_dir()); at != end; ++at) {
      const stdfs::path& path = at->path();
      way.resize(static_cast<std::size_t>(at.depth()) + 1);
      const auto found = repository_->trees().lookup(way.back(), path.filename().string());
      ASSERT_TRUE(found.ok() && *found) << path;
      const Entry& entry = **found;
      if (at->is_symlink()) continue;
      if (at->is_directory()) way.push_back(entry);
      if (!at->is_regular_file()) continue;
      const std::string expected = file_content(path);
      ASSERT_EQ(entry.size, expected.size()) << path;
      ASSERT_TRUE(content(entry) == expected) << path;
    }
  }

  test::TempFolder folder_;
  store::Secret secret_;
  std::string index_dir_;  // for open(); empty: in the repository
  std::unique_ptr<store::Repository> repository_;
  docker::FakeEngine engine_;
  std::vector<ingest::Writer> writers_;
  std::atomic<bool> cancel_{false};
  Nanoseconds ahead_ = kLater;
  bool may_lack_ = false;  // what the last run was told of its source
};

}  // namespace bygone::ingest
