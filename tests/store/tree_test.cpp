// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include <gtest/gtest.h>

#include "store/format.h"
#include "store/page.h"
#include "store/tree_reader.h"
#include "store/tree_writer.h"
#include "tests/support/expect.h"
#include "tests/support/memory_chunks.h"
#include "tests/support/memory_tree.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

using test::value_of;

// A hundred thousand, but for a sanitizer, to which less is as much.
constexpr std::size_t kManyNames = test::kSanitized ? 20'000 : 100'000;

class Tree : public testing::Test {
 protected:
  static Entry file(const std::string& name, std::uint64_t inode = 1) {
    return {.name = name, .mode = 0644, .mtime = {1'700'000'000, 5}, .inode = inode};
  }
  static std::vector<Entry> numbered(std::size_t count) {
    std::vector<Entry> out;
    for (std::size_t i = 0; i < count; ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "file-%08zu", i);
      out.push_back(file(name, i));
    }
    return out;
  }
  Entry write_directory(const std::vector<Entry>& entries,
                        const std::vector<KnownLeaf>& known = {}) {
    TreeWriter writer(*keys_, chunks_);
    Entry root{.type = FileType::directory};
    value_of(writer.add_directory(root, entries, known));
    Entry* const roots[] = {&root};
    value_of(writer.finish(roots));
    return root;
  }
  Entry write_file(std::vector<Extent> extents, const Entry* parent = nullptr) {
    TreeWriter writer(*keys_, chunks_);
    Entry entry = file("large");
    entry.size = std::accumulate(extents.begin(), extents.end(), std::uint64_t{0},
                                 [](std::uint64_t n, const Extent& e) { return n + e.length; });
    value_of(writer.add_extents(entry, std::move(extents), parent, &reader_));
    Entry* const roots[] = {&entry};
    value_of(writer.finish(roots));
    return entry;
  }
  std::vector<Entry> list(const Entry& directory, std::uint64_t from = 0,
                          std::size_t limit = SIZE_MAX) {
    std::vector<Entry> out;
    value_of(reader_.list(directory, from, [&](const Entry& e) {
      out.push_back(e);
      return out.size() < limit;
    }));
    return out;
  }
  // The leaves of `before` whose run stands unchanged in `after`, as a backup finds them.
  std::vector<KnownLeaf> known_leaves(const Entry& before, const std::vector<Entry>& after) {
    std::vector<KnownLeaf> known;
    for (const LeafRef& leaf : value_of(reader_.leaves(before.node))) {
      const auto entries = value_of(reader_.leaf(leaf.node));
      const auto at =
          std::lower_bound(after.begin(), after.end(), entries.front().name,
                           [](const Entry& e, const std::string& name) { return e.name < name; });
      if (static_cast<std::size_t>(after.end() - at) < entries.size()) continue;
      if (!std::equal(entries.begin(), entries.end(), at)) continue;
      known.push_back({.node = leaf.node,
                       .begin = static_cast<std::size_t>(at - after.begin()),
                       .count = entries.size()});
    }
    return known;
  }

  std::unique_ptr<KeyRing> keys_ = KeyRing::generate(random_id<RepositoryId>());
  test::MemoryChunks chunks_;
  TreeReader reader_{chunks_, 4u << 20};
};

TEST_F(Tree, OfAnEmptyDirectoryHasOneEmptyLeaf) {
  const Entry root = write_directory({});
  EXPECT_EQ(root.entries, 0u);
  EXPECT_TRUE(list(root).empty());
  EXPECT_EQ(value_of(reader_.lookup(root, "x")), std::nullopt);
  EXPECT_EQ(value_of(reader_.leaves(root.node)).size(), 1u);
}

TEST_F(Tree, ListsAndFindsAHundredThousandEntries) {
  const auto entries = numbered(kManyNames);
  const Entry root = write_directory(entries);
  EXPECT_EQ(root.entries, entries.size());
  EXPECT_EQ(root.subtree_files, entries.size());
  EXPECT_EQ(list(root), entries);
  for (std::size_t i = 0; i < entries.size(); i += 997) {
    EXPECT_EQ(value_of(reader_.lookup(root, entries[i].name)), entries[i]);
  }
  for (const char* absent : {"", "a", "file-", "file-00000000x", "file-99999999", "zz"}) {
    EXPECT_EQ(value_of(reader_.lookup(root, absent)), std::nullopt) << absent;
  }
}

TEST_F(Tree, ListsFromEveryPosition) {
  const auto entries = numbered(20'000);
  const Entry root = write_directory(entries);
  for (std::size_t from = 0; from <= entries.size(); from += from % 7 == 0 ? 1u : 487u) {
    const auto part = list(root, from, 3);
    const std::size_t wanted = std::min<std::size_t>(3, entries.size() - from);
    ASSERT_EQ(part.size(), wanted) << from;
    for (std::size_t i = 0; i < wanted; ++i) EXPECT_EQ(part[i], entries[from + i]);
  }
  EXPECT_TRUE(list(root, 20'000).empty());
  EXPECT_TRUE(list(root, UINT64_MAX).empty());
}

TEST_F(Tree, LeavesAddUpToTheDirectoryAndKeepTheirBounds) {
  const auto entries = numbered(50'000);
  const Entry root = write_directory(entries);
  const auto leaves = value_of(reader_.leaves(root.node));
  std::vector<Entry> all;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const auto part = value_of(reader_.leaf(leaves[i].node));
    EXPECT_EQ(part.size(), leaves[i].entries);
    EXPECT_TRUE(i == 0 || part.front().name == leaves[i].first_name);
    std::size_t weight = 0;
    for (const Entry& e : part) weight += entry_weight(e);
    EXPECT_TRUE(weight >= kLeafMin || i + 1 == leaves.size());
    EXPECT_LT(weight, kLeafSplit + 5000);
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(all, entries);
}

TEST_F(Tree, ReadsOneNameOfManyInFewPages) {
  const Entry root = write_directory(numbered(kManyNames));
  TreeReader cold(chunks_, 0);
  chunks_.gets = 0;
  EXPECT_NE(value_of(cold.lookup(root, "file-00014321")), std::nullopt);
  EXPECT_LE(chunks_.gets.load(), 4u);
}

TEST_F(Tree, RewritesOneLeafWhenOneOfAHundredThousandNamesChanges) {
  const auto entries = numbered(kManyNames);
  const Entry before = write_directory(entries);
  struct Case {
    const char* name;
    std::function<void(std::vector<Entry>&)> change;
  };
  const Case cases[] = {
      {"a changed entry", [](std::vector<Entry>& e) { e[kManyNames / 2].mode = 0600; }},
      {"a new name",
       [](std::vector<Entry>& e) { e.insert(e.begin() + 10'000, file("file-00009999x")); }},
      {"a name that is gone", [](std::vector<Entry>& e) { e.erase(e.begin() + 15'000); }},
      {"a new first name", [](std::vector<Entry>& e) { e.insert(e.begin(), file("a")); }},
      {"a new last name", [](std::vector<Entry>& e) { e.push_back(file("z")); }},
  };
  for (const Case& c : cases) {
    auto changed = entries;
    c.change(changed);
    const auto known = known_leaves(before, changed);
    chunks_.puts = chunks_.put_bytes = 0;
    const Entry after = write_directory(changed, known);
    EXPECT_EQ(list(after), changed) << c.name;
    // A leaf or two of at most 64 KiB and the index nodes above them; the whole is 6 MB
    // (with a sanitizer 1.2).
    EXPECT_LT(chunks_.put_bytes, 300'000u) << c.name;
    EXPECT_GT(chunks_.put_bytes, 1000u) << c.name;
  }
}

TEST_F(Tree, IsTheSameBytesForTheSameInput) {
  const auto entries = numbered(30'000);
  const Entry one = write_directory(entries);
  const Entry two = write_directory(entries);
  EXPECT_EQ(one, two);
}

TEST_F(Tree, NestsDirectoriesAndAddsUpTheirTotals) {
  TreeWriter writer(*keys_, chunks_);
  Entry below{.name = "d0", .type = FileType::directory};
  Entry leaf = file("leaf");
  leaf.size = 10;
  leaf.content = Entry::Content::inline_bytes;
  leaf.inline_bytes = test::noise(10, 1);
  value_of(writer.add_directory(below, std::vector<Entry>{leaf}));
  constexpr int kDepth = 5000;
  for (int i = 1; i < kDepth; ++i) {
    Entry above{.name = "d" + std::to_string(i), .type = FileType::directory};
    value_of(writer.add_directory(above, std::vector<Entry>{below}));
    below = above;
  }
  Entry* const roots[] = {&below};
  value_of(writer.finish(roots));
  EXPECT_EQ(below.subtree_files, 1u);
  EXPECT_EQ(below.subtree_bytes, 10u);
  Entry at = below;
  for (int i = kDepth - 2; i >= 0; --i) {
    const auto next = value_of(reader_.lookup(at, "d" + std::to_string(i)));
    ASSERT_TRUE(next) << i;
    at = *next;
  }
  EXPECT_EQ(value_of(reader_.lookup(at, "leaf")), leaf);
}

std::vector<Extent> extents_of(std::uint64_t size, std::uint64_t seed = 0) {
  std::vector<Extent> out;
  for (std::uint64_t at = 0; at < size;) {
    const std::uint64_t length = std::min<std::uint64_t>(size - at, 200'000 + (at / 7) % 300'000);
    Extent e{.length = length, .offset = 0, .chunk = ChunkId::from(test::noise(32, seed + at))};
    out.push_back(e);
    at += length;
  }
  return out;
}

TEST_F(Tree, HoldsTheExtentsOfTenGigabytesAndFindsAnyOfThem) {
  constexpr std::uint64_t kSize = 10'000'000'000;
  const auto extents = extents_of(kSize);
  const Entry entry = write_file(extents);
  ASSERT_EQ(entry.content, Entry::Content::extent_node);
  std::vector<Extent> all;
  std::uint64_t expected = 0;
  value_of(reader_.extents(entry, 0, kSize, [&](std::uint64_t offset, const Extent& e) {
    EXPECT_EQ(offset, expected);
    expected += e.length;
    all.push_back(e);
    return true;
  }));
  EXPECT_EQ(all, extents);
  // Any range meets exactly the extents that it overlaps.
  for (std::uint64_t at = 1; at < kSize; at += 123'456'789) {
    std::uint64_t covered = at;
    value_of(reader_.extents(entry, at, 1'000'000, [&](std::uint64_t offset, const Extent& e) {
      EXPECT_LE(offset, covered);
      EXPECT_GT(offset + e.length, covered);
      covered = offset + e.length;
      return true;
    }));
    EXPECT_GE(covered, std::min(kSize, at + 1'000'000));
  }
  TreeReader cold(chunks_, 0);
  chunks_.gets = 0;
  value_of(cold.extents(entry, kSize / 2, 1, [](std::uint64_t, const Extent&) { return true; }));
  EXPECT_LE(chunks_.gets.load(), 4u);
  value_of(reader_.extents(entry, kSize, 100, [](std::uint64_t, const Extent&) {
    ADD_FAILURE() << "an extent beyond the end";
    return true;
  }));
}

TEST_F(Tree, RewritesOneExtentNodeWhenOneChunkChanges) {
  auto extents = extents_of(4'000'000'000);
  const Entry before = write_file(extents);
  const std::size_t whole = chunks_.put_bytes;
  extents[5000].chunk.bytes[0] ^= 1;
  chunks_.put_bytes = 0;
  const Entry after = write_file(extents, &before);
  EXPECT_LT(chunks_.put_bytes, 10'000u);
  EXPECT_GT(whole, 400'000u);
  std::size_t at = 0;
  value_of(reader_.extents(after, 0, after.size, [&](std::uint64_t, const Extent& e) {
    EXPECT_EQ(e, extents[at++]);
    return true;
  }));
  EXPECT_EQ(at, extents.size());
}

TEST_F(Tree, KeepsExtentNodesBehindAnAppendAndAGrownHole) {
  auto extents = extents_of(2'000'000'000);
  const Entry before = write_file(extents);
  extents.push_back({.kind = Extent::Kind::hole, .length = std::uint64_t{1} << 40, .chunk = {}});
  extents.push_back({.kind = Extent::Kind::zero, .length = 1 << 20, .chunk = {}});
  chunks_.put_bytes = 0;
  const Entry after = write_file(extents, &before);
  EXPECT_LT(chunks_.put_bytes, 10'000u);
  EXPECT_EQ(after.size, before.size + (std::uint64_t{1} << 40) + (1 << 20));
}

TEST_F(Tree, HoldsTheLargestSparseFile) {
  std::vector<Extent> extents = {
      {.kind = Extent::Kind::hole, .length = (std::uint64_t{1} << 63) - 2, .chunk = {}},
      {.length = 1, .offset = 0, .chunk = ChunkId::from(test::noise(32, 1))}};
  const Entry entry = write_file(extents);
  ASSERT_EQ(entry.size, (std::uint64_t{1} << 63) - 1);
  const Entry root = write_directory({entry});
  const Entry again = *value_of(reader_.lookup(root, "large"));
  std::uint64_t total = 0;
  std::vector<Extent> seen;
  value_of(reader_.extents(again, 0, again.size, [&](std::uint64_t offset, const Extent& e) {
    EXPECT_EQ(offset, total);
    total += e.length;
    seen.push_back(e);
    return true;
  }));
  EXPECT_EQ(total, entry.size);
  EXPECT_EQ(seen.back(), extents.back());
  EXPECT_EQ(seen.front().kind, Extent::Kind::hole);
}

TEST_F(Tree, MovesLargeSetsOfAttributesOutOfLine) {
  TreeWriter writer(*keys_, chunks_);
  Entry small = file("small");
  small.xattrs = {{"user.a", test::noise(900, 1)}};
  Entry large = file("large");
  large.xattrs = {{"user.a", test::noise(900, 1)}, {"user.b", test::noise(65'536, 2)}};
  const auto wanted = large.xattrs;
  value_of(writer.add_xattrs(small));
  value_of(writer.add_xattrs(large));
  EXPECT_FALSE(small.xattr_node);
  EXPECT_TRUE(large.xattr_node);
  Entry root{.type = FileType::directory};
  value_of(writer.add_directory(root, std::vector<Entry>{large, small}));
  Entry* const roots[] = {&root};
  value_of(writer.finish(roots));
  const auto entries = list(root);
  EXPECT_EQ(value_of(reader_.xattrs(entries[0])), wanted);
  EXPECT_EQ(value_of(reader_.xattrs(entries[1])), small.xattrs);
}

TEST_F(Tree, WritesNothingThatWouldNotReadBack) {
  TreeWriter writer(*keys_, chunks_);
  Entry root{.type = FileType::directory};
  Entry far = file("far");
  far.type = FileType::symlink;
  far.target = std::string(4097, 'x');
  Entry wrong_inline = file("inline");
  wrong_inline.content = Entry::Content::inline_bytes;
  wrong_inline.size = 5;
  const std::pair<const char*, std::vector<Entry>> cases[] = {
      {"unsorted", {file("b"), file("a")}},
      {"twice", {file("a"), file("a")}},
      {"a long name", {file(std::string(256, 'x'))}},
      {"a slash", {file("a/b")}},
      {"no name", {file("")}},
      {"a long target", {far}},
      {"inline bytes of another size", {wrong_inline}},
  };
  for (const auto& [name, entries] : cases) {
    EXPECT_CODE(Code::invalid, writer.add_directory(root, entries)) << name;
  }
  Entry heavy = file("heavy");
  heavy.xattrs = {{"user.a", Bytes(2u << 20)}};
  EXPECT_CODE(Code::invalid, writer.add_xattrs(heavy));
  heavy.xattrs = {{std::string(256, 'n'), {}}};
  EXPECT_CODE(Code::invalid, writer.add_xattrs(heavy));
}

TEST_F(Tree, ReportsPagesThatAreMissingOrDamaged) {
  const Entry root = write_directory(numbered(5000));
  const auto leaves = value_of(reader_.leaves(root.node));
  test::MemoryChunks broken;
  broken.chunks = chunks_.chunks;
  broken.chunks.erase(leaves.back().node.page);
  TreeReader reader(broken, 1u << 20);
  EXPECT_CODE(Code::not_found, reader.list(root, 0, [](const Entry&) { return true; }));
  Entry nowhere = root;
  nowhere.node.node = 1000;
  EXPECT_CODE(Code::corrupt, reader_.lookup(nowhere, "x"));
  Entry as_file = root;
  as_file.type = FileType::regular;
  as_file.content = Entry::Content::extent_node;
  EXPECT_CODE(Code::corrupt,
              reader_.extents(as_file, 0, 1, [](std::uint64_t, const Extent&) { return true; }));
}

}  // namespace
}  // namespace bygone::store
