// SPDX-License-Identifier: Apache-2.0
#include "store/page_liveness.h"

#include <random>

#include <gtest/gtest.h>

#include "store/page.h"
#include "store/tree_writer.h"
#include "tests/support/expect.h"
#include "tests/support/memory_chunks.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

using test::MemoryChunks;
using test::value_of;

constexpr std::size_t kGroups = 20;
constexpr std::size_t kFoldersEach = 20;
constexpr std::size_t kFilesEach = 6;

// A tree of two levels that is written as a backup writes it: unchanged folders keep their node.
class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed) {
    for (Group& group : groups_) {
      group.folders.resize(kFoldersEach);
      for (Folder& folder : group.folders) {
        for (std::size_t i = 0; i < kFilesEach; ++i) {
          Entry file{.name = "file-" + std::to_string(i), .mode = 0644, .inode = next_inode_++};
          folder.files.push_back(std::move(file));
          change(folder.files.back());
        }
      }
    }
    write(nullptr);
  }

  // Four changes in five hit a fifth of the tree.
  void change_files(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t all = kGroups * kFoldersEach;
      const std::size_t hot = all / 5;
      const std::size_t at = random_() % 5 != 0 ? random_() % hot * 5 : random_() % all;
      Folder& folder = groups_[at / kFoldersEach].folders[at % kFoldersEach];
      change(folder.files[random_() % kFilesEach]);
      folder.changed = true;
    }
  }

  void write(const PageLiveness* liveness) {
    TreeReader trees(chunks_, std::size_t{1} << 20);
    trees_ = &trees;
    TreeWriter writer(*keys_, chunks_);
    writer.leave_thin_pages(liveness);
    std::vector<Entry> groups;
    bool any = false;
    for (std::size_t g = 0; g < kGroups; ++g) {
      any |= write_group(writer, groups_[g], liveness);
      groups_[g].entry.name = name("group", g);
      groups.push_back(groups_[g].entry);
    }
    if (!any && !touches(liveness, root_)) return;
    value_of(writer.add_directory(root_, groups));
    std::vector<Entry*> roots{&root_};
    for (Group& group : groups_) {
      roots.push_back(&group.entry);
      for (Folder& folder : group.folders) roots.push_back(&folder.entry);
    }
    value_of(writer.finish(roots));
  }

  void write_with_liveness() {
    TreeReader trees(chunks_, std::size_t{1} << 20);
    const auto liveness = value_of(PageLiveness::count(trees, {&root_, 1}, cancel_));
    write(&liveness);
  }

  // Names and inodes in the order in which `find` meets them; the bytes of pages decoded on the
  // way are added to `decoded`.
  std::vector<std::string> find(std::size_t cache_bytes, std::size_t& decoded) {
    Counting counting(chunks_);
    TreeReader trees(counting, cache_bytes);
    std::vector<std::string> out;
    walk(trees, root_, "", out);
    decoded = counting.bytes;
    return out;
  }

  // Bytes of the pages of the same tree written at once.
  std::size_t needed() {
    MemoryChunks fresh;
    TreeWriter writer(*keys_, fresh);
    std::vector<Entry> groups;
    for (Group& group : groups_) {
      std::vector<Entry> folders;
      for (Folder& folder : group.folders) {
        folders.push_back(folder.entry);
        value_of(writer.add_directory(folders.back(), folder.files));
      }
      groups.push_back(group.entry);
      value_of(writer.add_directory(groups.back(), folders));
    }
    Entry root = root_;
    value_of(writer.add_directory(root, groups));
    Entry* const roots[] = {&root};
    value_of(writer.finish(roots));
    return fresh.put_bytes;
  }

  Entry& root() { return root_; }
  MemoryChunks& chunks() { return chunks_; }

 private:
  struct Folder {
    Entry entry{.type = FileType::directory, .mode = 0755};
    std::vector<Entry> files;
    bool changed = true;
  };
  struct Group {
    Entry entry{.type = FileType::directory, .mode = 0755};
    std::vector<Folder> folders;
  };
  struct Counting final : ChunkSource {
    explicit Counting(MemoryChunks& of) : chunks(of) {}
    Result<std::shared_ptr<const Bytes>> get(ChunkKind kind, const ChunkId& id) override {
      auto page = TRY(chunks.get(kind, id));
      bytes += page->size();
      return page;
    }
    MemoryChunks& chunks;
    std::size_t bytes = 0;
  };

  static std::string name(const char* kind, std::size_t number) {
    const std::string digits = std::to_string(1000 + number);
    return std::string(kind) + "-" + digits;
  }

  void change(Entry& file) {
    file.size = 1000 + random_() % 4000;
    file.mtime.seconds = next_time_++;
    file.content = Entry::Content::extents;
    ChunkId chunk;
    for (auto& byte : chunk.bytes) byte = static_cast<std::uint8_t>(random_());
    file.extents = {{.kind = Extent::Kind::data, .length = file.size, .offset = 0, .chunk = chunk}};
  }

  bool touches(const PageLiveness* liveness, const Entry& entry) {
    if (liveness == nullptr) return false;
    return value_of(liveness->touches(*trees_, entry));
  }

  bool write_group(TreeWriter& writer, Group& group, const PageLiveness* liveness) {
    bool any = false;
    std::vector<Entry> folders;
    for (std::size_t f = 0; f < group.folders.size(); ++f) {
      Folder& folder = group.folders[f];
      folder.entry.name = name("folder", f);
      if (folder.changed || touches(liveness, folder.entry)) {
        value_of(writer.add_directory(folder.entry, folder.files));
        any = true;
      }
      folder.changed = false;
      folders.push_back(folder.entry);
    }
    if (!any && !touches(liveness, group.entry)) return false;
    value_of(writer.add_directory(group.entry, folders));
    return true;
  }

  static void walk(TreeReader& trees, const Entry& folder, const std::string& path,
                   std::vector<std::string>& out) {
    std::vector<Entry> entries;
    value_of(trees.list(folder, 0, [&](const Entry& entry) {
      entries.push_back(entry);
      return true;
    }));
    for (const Entry& entry : entries) {
      const std::string at = path + "/" + entry.name;
      out.push_back(at + " " + std::to_string(entry.mtime.seconds) + " " +
                    std::to_string(entry.size));
      if (entry.is_directory()) walk(trees, entry, at, out);
    }
  }

  std::mt19937_64 random_;
  TreeReader* trees_ = nullptr;  // while a tree is written
  std::uint64_t next_inode_ = 1;
  std::int64_t next_time_ = 1;
  std::unique_ptr<KeyRing> keys_ = [] {
    value_of(init_crypto());
    return KeyRing::generate(random_id<RepositoryId>());
  }();
  MemoryChunks chunks_;
  std::atomic<bool> cancel_{false};
  std::vector<Group> groups_ = std::vector<Group>(kGroups);
  Entry root_{.type = FileType::directory, .mode = 0755};
};

// The cache counts tables beside bytes, and a tree this small has few pages: with a cache of four
// trees the figure is that of the tree and not of what falls out of the cache. Without thin pages
// written anew it makes no difference.
double decoded_per_needed(Model& model) {
  const std::size_t needed = model.needed();
  std::size_t decoded = 0;
  static_cast<void>(model.find(needed * 4, decoded));
  return static_cast<double>(decoded) / static_cast<double>(needed);
}

TEST(PageLiveness, AYearOfSmallChangesStaysCheapToReadWithThinPagesWrittenAnew) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Model with(seed);
  Model without(seed);
  for (unsigned day = 0; day < 365 / test::kFewer; ++day) {
    for (Model* model : {&with, &without}) {
      model->change_files(8);
      if (model == &with) {
        model->write_with_liveness();
      } else {
        model->write(nullptr);
      }
      model->change_files(8);
      model->write(nullptr);
    }
  }
  std::size_t decoded = 0;
  EXPECT_EQ(with.find(1 << 20, decoded), without.find(1 << 20, decoded));
  const double kept_low = decoded_per_needed(with);
  const double grown = decoded_per_needed(without);
  RecordProperty("decoded_per_needed", std::to_string(kept_low) + " " + std::to_string(grown));
  EXPECT_LT(kept_low, 3.0);
  if (!test::kSanitized) {  // weeks are not enough for that
    EXPECT_GT(grown, 3.0);
  }
}

TEST(PageLiveness, APageIsThinWhenLittleOfItIsStillReferredTo) {
  std::atomic<bool> cancel{false};
  Model model(1);
  TreeReader trees(model.chunks(), 1 << 20);
  const auto fresh = value_of(PageLiveness::count(trees, {&model.root(), 1}, cancel));
  EXPECT_EQ(fresh.thin_pages(), 0u);

  // All that is left of the first pages is what the newest tree keeps of them.
  for (int i = 0; i < 20; ++i) {
    model.change_files(100);
    model.write(nullptr);
  }
  const auto later = value_of(PageLiveness::count(trees, {&model.root(), 1}, cancel));
  EXPECT_GT(later.thin_pages(), 0u);

  model.write(&later);
  const auto after = value_of(PageLiveness::count(trees, {&model.root(), 1}, cancel));
  std::size_t still = 0;
  for (const auto& [id, bytes] : model.chunks().chunks) {
    if (later.is_thin(id) && value_of(trees.page(id))->node_count() > 0 && after.is_thin(id)) {
      ++still;
    }
  }
  EXPECT_EQ(still, 0u) << "nothing refers to them any more";
}

TEST(PageLiveness, CountsNothingBelowAPageThatCannotBeRead) {
  std::atomic<bool> cancel{false};
  Model model(2);
  model.chunks().chunks.erase(model.root().node.page);
  TreeReader trees(model.chunks(), 1 << 20);
  const auto liveness = value_of(PageLiveness::count(trees, {&model.root(), 1}, cancel));
  EXPECT_EQ(liveness.thin_pages(), 0u);
}

TEST(PageLiveness, IsCancelled) {
  std::atomic<bool> cancel{true};
  Model model(3);
  TreeReader trees(model.chunks(), 1 << 20);
  EXPECT_CODE(Code::cancelled, PageLiveness::count(trees, {&model.root(), 1}, cancel));
}

TEST(PageLiveness, ExtentLeavesInThinPagesAreNotReferredToAgain) {
  std::atomic<bool> cancel{false};
  value_of(init_crypto());
  const auto keys = KeyRing::generate(random_id<RepositoryId>());
  MemoryChunks chunks;
  TreeReader trees(chunks, 1 << 20);
  std::vector<Extent> extents;
  for (std::uint32_t i = 0; i < 200; ++i) {
    ChunkId id;
    id.bytes.fill(static_cast<std::uint8_t>(i + 1));
    extents.push_back({.kind = Extent::Kind::data, .length = 256 << 10, .offset = 0, .chunk = id});
  }
  const auto write = [&](const std::vector<Extent>& content, const Entry* parent,
                         const PageLiveness* liveness, std::size_t ballast) {
    TreeWriter writer(*keys, chunks);
    writer.leave_thin_pages(liveness);
    Entry file{.name = "relation", .size = 200ull * (256 << 10)};
    value_of(writer.add_extents(file, content, parent, &trees));
    Entry other{.name = "ballast", .size = ballast * (256 << 10)};
    if (ballast > 0) {
      std::vector<Extent> more(ballast, extents[0]);
      value_of(writer.add_extents(other, more, nullptr, nullptr));
    }
    Entry* const roots[] = {&file};
    value_of(writer.finish(roots));
    return file;
  };
  const Entry first = write(extents, nullptr, nullptr, 4000);  // mostly dead from the first day
  extents[0].chunk.bytes.fill(0xee);
  const Entry second = write(extents, &first, nullptr, 0);
  const auto liveness = value_of(PageLiveness::count(trees, {&second, 1}, cancel));
  ASSERT_TRUE(liveness.is_thin(first.node.page));
  EXPECT_TRUE(value_of(liveness.touches(trees, second)));
  const Entry third = write(extents, &second, &liveness, 0);
  EXPECT_FALSE(value_of(liveness.touches(trees, third)));
}

}  // namespace
}  // namespace bygone::store
