// SPDX-License-Identifier: Apache-2.0
//
// Random edits over many generations of a folder, each backed up on the one before: every
// generation reads back as it was, by its tree and restored to a folder, no record hangs deeper
// than two, and what is added stays near what was edited. The seed is printed; BYGONE_SEED repeats
// one.
#include <array>
#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "fs/restore.h"
#include "ingest/backup.h"
#include "ingest/discover.h"
#include "store/chunk_store.h"
#include "store/verify.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::ingest {
namespace {

namespace stdfs = std::filesystem;
using test::value_of;

// A content and what was done to it, in bytes that are new.
class Edited {
 public:
  Edited(Bytes content, std::mt19937& engine) : content_(std::move(content)), engine_(engine) {}

  [[nodiscard]] const Bytes& content() const { return content_; }

  // One random edit; what of it is new content.
  std::uint64_t edit() {
    const std::size_t size = 1 + below(4000);
    const std::size_t at = below(content_.size() + 1);
    switch (below(6)) {
      case 0:
      case 1:
        return overwrite(at, size);
      case 2:
        return insert(at, fresh(size));
      case 3:
        return remove(at, size);
      case 4:
        return insert(content_.size(), fresh(size));
      default:
        return copy(at, size);
    }
  }
  void truncate() { content_.resize(content_.size() / 2); }

 private:
  std::size_t below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(engine_);
  }
  Bytes fresh(std::size_t size) { return test::noise(size, engine_()); }
  std::uint64_t overwrite(std::size_t at, std::size_t size) {
    const Bytes bytes = fresh(std::min(size, content_.size() - at));
    std::copy(bytes.begin(), bytes.end(), content_.begin() + static_cast<std::ptrdiff_t>(at));
    return bytes.size();
  }
  std::uint64_t insert(std::size_t at, const Bytes& bytes) {
    content_.insert(content_.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin(), bytes.end());
    return bytes.size();
  }
  std::uint64_t remove(std::size_t at, std::size_t size) {
    const auto begin = content_.begin() + static_cast<std::ptrdiff_t>(at);
    content_.erase(begin,
                   begin + static_cast<std::ptrdiff_t>(std::min(size, content_.size() - at)));
    return 0;
  }
  std::uint64_t copy(std::size_t to, std::size_t size) {
    const std::size_t from = below(content_.size());
    const Bytes bytes(
        content_.begin() + static_cast<std::ptrdiff_t>(from),
        content_.begin() + static_cast<std::ptrdiff_t>(std::min(content_.size(), from + size)));
    return insert(to, bytes);
  }

  Bytes content_;
  std::mt19937& engine_;
};

class Generations : public testing::Test {
 protected:
  Generations() : repository_(test::new_repository(folder_ / "repo")) {
    stdfs::create_directory(source_dir());
  }

  std::string source_dir() const { return folder_ / "source"; }

  store::Snapshot back_up() {
    auto source = value_of(folder_source("data", source_dir()));
    BackupOptions options;
    options.state_folder = folder_ / "state";
    options.clock = [] { return system_now() + 3600 * kSecond; };  // nothing is racy
    const auto session = value_of(store::Session::begin(*repository_, options.compression));
    const std::atomic<bool> cancel{false};
    return value_of(backup(*session, source, nullptr, options, {}, cancel)).snapshot;
  }

  void expect_restores(const store::Snapshot& snapshot, const std::string& original) {
    const std::string target = folder_ / "target";
    stdfs::remove_all(target);
    fs::RestoreProgress progress;
    const std::atomic<bool> cancel{false};
    const auto summary = value_of(fs::restore(repository_->trees(), repository_->chunks(),
                                              {{.name = "", .entry = snapshot.volumes.at(0).root}},
                                              target, {}, {}, progress, cancel));
    EXPECT_EQ(summary.failed, 0u);
    for (const auto& each : stdfs::directory_iterator(original)) {
      const std::string name = each.path().filename();
      EXPECT_TRUE(test::read_whole(each.path()) == test::read_whole(target + "/" + name)) << name;
    }
  }

  // The bytes of a file, through the tree and a fresh chunk cache.
  Bytes read(const store::Snapshot& snapshot, const std::string& name) {
    const auto entry = value_of(repository_->trees().lookup(snapshot.volumes.at(0).root, name));
    Bytes out;
    value_of(repository_->trees().extents(
        *entry, 0, entry->size, [&](std::uint64_t /*at*/, const store::Extent& extent) {
          if (extent.kind != store::Extent::Kind::data) {
            out.resize(out.size() + extent.length);
            return true;
          }
          const auto chunk =
              value_of(repository_->chunks().get(store::ChunkKind::data, extent.chunk));
          const ByteView bytes = ByteView(*chunk).subspan(extent.offset, extent.length);
          out.insert(out.end(), bytes.begin(), bytes.end());
          return true;
        }));
    return out;
  }

  test::TempFolder folder_;
  std::unique_ptr<store::Repository> repository_;
};

TEST_F(Generations, ReadBackAndCostWhatWasEdited) {
  const auto seed = static_cast<unsigned>(test::seed_of_run());
  SCOPED_TRACE("BYGONE_SEED=" + std::to_string(seed));
  RecordProperty("seed", static_cast<int>(seed));
  std::mt19937 engine(seed);
  const std::array<std::size_t, 4> sizes = {80'000, 900'000, 3'000'000, 7'000'000};
  std::vector<Edited> files;
  for (const std::size_t size : sizes) files.emplace_back(test::noise(size, engine()), engine);
  constexpr std::size_t kGenerations = 10;
  std::vector<store::Snapshot> snapshots;
  std::uint64_t edited = 0;
  std::uint64_t edits = 0;
  std::uint64_t added = 0;
  for (std::size_t generation = 0; generation < kGenerations; ++generation) {
    const std::string copy = folder_ / ("generation" + std::to_string(generation));
    stdfs::create_directory(copy);
    for (std::size_t i = 0; i < files.size(); ++i) {
      for (std::size_t n = engine() % 5; generation > 0 && n > 0; --n, ++edits) {
        edited += files[i].edit();
      }
      if (generation == kGenerations - 1) files[i].truncate();
      const std::string name = "/file" + std::to_string(i);
      test::write_whole(source_dir() + name, files[i].content());
      test::write_whole(copy + name, files[i].content());
    }
    snapshots.push_back(back_up());
    if (generation > 0) added += snapshots.back().added_bytes;
  }
  // Beside the edits: deltas repeat a few times what is new since their middle; a few chunks are
  // cut anew where bytes come or go. Whole chunks would be some 300 kB for each edit.
  EXPECT_LT(added, 8 * edited + edits * 60'000) << edits << " edits of " << edited << " bytes";

  repository_.reset();
  repository_ = test::reopen(folder_ / "repo");
  for (std::size_t generation = 0; generation < kGenerations; ++generation) {
    SCOPED_TRACE(generation);
    const std::string copy = folder_ / ("generation" + std::to_string(generation));
    for (std::size_t i = 0; i < files.size(); ++i) {
      const std::string name = "file" + std::to_string(i);
      EXPECT_TRUE(read(snapshots[generation], name) == test::read_whole(copy + "/" + name)) << name;
    }
    expect_restores(snapshots[generation], copy);
  }
  std::size_t deltas = 0;
  for (const PackId& pack : value_of(repository_->chunks().list_packs())) {
    for (const store::Record& record : value_of(repository_->chunks().pack(pack))->records()) {
      EXPECT_LE(record.depth, 2);
      if (record.base) ++deltas;
    }
  }
  EXPECT_GT(deltas, edits / 4);
  const std::atomic<bool> cancel{false};
  const auto report = value_of(store::verify(*repository_, {.read_data_percent = 100}, {}, cancel));
  EXPECT_TRUE(report.damage.empty()) << report.damage.front();
}

}  // namespace
}  // namespace bygone::ingest
