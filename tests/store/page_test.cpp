// SPDX-License-Identifier: Apache-2.0
#include "store/page.h"

#include <gtest/gtest.h>

#include "store/format.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"

namespace bygone::store {
namespace {

using test::value_of;

ChunkId id_of(std::uint64_t n) { return ChunkId::from(test::noise(32, n)); }

Entry full_entry(const std::string& name) {
  Entry e{.name = name, .flags = kRacy | kChangedWhileRead, .mode = 07755};
  e.uid = 4294967294;
  e.gid = 100;
  e.mtime = {.seconds = -86400, .nanoseconds = 999'999'999};
  e.ctime = {.seconds = 7'258'118'400, .nanoseconds = 1};
  e.inode = UINT64_MAX;
  e.links = 3;
  e.xattrs = {{"security.capability", {1, 0, 0, 2}}, {"user.empty", {}}};
  return e;
}

std::vector<Entry> all_kinds() {
  std::vector<Entry> out;
  Entry device = full_entry("a-device");
  device.type = FileType::block_device;
  device.device = 0xfffffffffffff;
  out.push_back(device);
  Entry directory = full_entry("b-directory");
  directory.type = FileType::directory;
  directory.content = Entry::Content::directory;
  directory.node = {id_of(1), 12};
  directory.entries = 100'000;
  directory.subtree_files = 1'000'000;
  directory.subtree_bytes = std::uint64_t{1} << 50;
  out.push_back(directory);
  Entry extents = full_entry("c-extents");
  extents.content = Entry::Content::extents;
  extents.extents = {{.kind = Extent::Kind::data, .length = 1000, .offset = 24, .chunk = id_of(2)},
                     {.kind = Extent::Kind::hole, .length = std::uint64_t{1} << 60, .chunk = {}},
                     {.kind = Extent::Kind::zero, .length = 65536, .chunk = {}},
                     {.kind = Extent::Kind::data, .length = 1, .offset = 0, .chunk = id_of(2)}};
  for (const Extent& e : extents.extents) extents.size += e.length;
  out.push_back(extents);
  Entry inlined = full_entry("d-inline");
  inlined.content = Entry::Content::inline_bytes;
  inlined.inline_bytes = test::noise(64, 1);
  inlined.size = 64;
  out.push_back(inlined);
  Entry node = full_entry("e-node");
  node.content = Entry::Content::extent_node;
  node.node = {id_of(3), 0};
  node.size = (std::uint64_t{1} << 63) - 1;
  node.xattrs.clear();
  node.xattr_node = NodeRef{id_of(1), 4};
  out.push_back(node);
  Entry empty = full_entry("f-empty");
  out.push_back(empty);
  Entry link = full_entry(std::string("g\n\xff\x01") + std::string(200, 'x'));
  link.type = FileType::symlink;
  link.target = std::string(4096, '\xfe');
  link.size = 4096;
  out.push_back(link);
  for (const FileType type : {FileType::fifo, FileType::socket, FileType::char_device}) {
    Entry special = full_entry("h" + std::to_string(static_cast<int>(type)));
    special.type = type;
    out.push_back(special);
  }
  return out;
}

PageBuilder builder() {
  return PageBuilder([](const ChunkId&) { return false; });
}

Result<Page> parse(const Bytes& bytes) {
  return Page::parse(id_of(99), std::make_shared<const Bytes>(bytes));
}

std::vector<Entry> entries_of(const Page& page, std::uint32_t node) {
  std::vector<Entry> out;
  value_of(page.directory_leaf(node, 0, [&](Entry&& e) {
    out.push_back(std::move(e));
    return true;
  }));
  return out;
}

Bytes sample_page() {
  PageBuilder b = builder();
  b.add_directory_leaf(all_kinds());
  const DirectoryChild children[] = {{"", {id_of(1), 0}, 10}, {"m", {id_of(4), 7}, 20}};
  b.add_directory_index(children);
  const Extent extents[] = {{.kind = Extent::Kind::hole, .length = 4096, .chunk = {}},
                            {.length = 1u << 20, .offset = 0, .chunk = id_of(5)}};
  b.add_extent_leaf(extents);
  const ExtentChild below[] = {{{id_of(6), 1}, 1u << 24}, {{id_of(6), 2}, 5}};
  b.add_extent_index(below);
  const Xattr xattrs[] = {{"user.a", test::noise(3000, 1)}};
  b.add_xattr_set(xattrs);
  return b.finish();
}

TEST(Page, GivesEveryFieldOfEveryKindOfNodeBack) {
  const Page page = value_of(parse(sample_page()));
  ASSERT_EQ(page.node_count(), 5u);
  EXPECT_EQ(entries_of(page, 0), all_kinds());
  EXPECT_EQ(value_of(page.leaf_entries(0)), all_kinds().size());
  const auto children = value_of(page.directory_index(1));
  ASSERT_EQ(children.size(), 2u);
  EXPECT_EQ(children[1].first_name, "m");
  EXPECT_EQ(children[1].node, (NodeRef{id_of(4), 7}));
  EXPECT_EQ(children[1].entries, 20u);
  const auto extents = value_of(page.extent_leaf(2));
  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[1].chunk, id_of(5));
  const auto below = value_of(page.extent_index(3));
  ASSERT_EQ(below.size(), 2u);
  EXPECT_EQ(below[1].node, (NodeRef{id_of(6), 2}));
  EXPECT_EQ(below[1].length, 5u);
  EXPECT_EQ(value_of(page.xattr_set(4))[0].value, test::noise(3000, 1));
  EXPECT_EQ(page.ids().size(), 6u);
}

TEST(Page, IsCanonical) {
  EXPECT_EQ(sample_page(), sample_page());
  const Page page = value_of(parse(sample_page()));
  PageBuilder again = builder();
  again.add_directory_leaf(entries_of(page, 0));
  again.add_directory_index(value_of(page.directory_index(1)));
  again.add_extent_leaf(value_of(page.extent_leaf(2)));
  again.add_extent_index(value_of(page.extent_index(3)));
  again.add_xattr_set(value_of(page.xattr_set(4)));
  EXPECT_EQ(again.finish(), sample_page());
}

TEST(Page, RefersToItselfByIndexZero) {
  PageBuilder b([](const ChunkId& id) { return id == id_of(7); });
  const DirectoryChild children[] = {{"", {id_of(7), 3}, 1}};
  b.add_directory_index(children);
  const Bytes bytes = b.finish();
  EXPECT_LT(bytes.size(), 32u);
  const Page page = value_of(parse(bytes));
  EXPECT_EQ(value_of(page.directory_index(0))[0].node, (NodeRef{id_of(99), 3}));
}

TEST(Page, FindsANameAndNothingElse) {
  const Page page = value_of(parse(sample_page()));
  for (const Entry& e : all_kinds()) EXPECT_EQ(value_of(page.find(0, e.name)), e);
  for (const char* absent : {"", "a", "a-devicf", "zz", "e-nod"}) {
    EXPECT_EQ(value_of(page.find(0, absent)), std::nullopt) << absent;
  }
}

TEST(Page, ReadsANodeOnlyAsItsKind) {
  const Page page = value_of(parse(sample_page()));
  EXPECT_CODE(Code::corrupt, page.directory_index(0));
  EXPECT_CODE(Code::corrupt, page.extent_leaf(0));
  EXPECT_CODE(Code::corrupt, page.xattr_set(3));
  EXPECT_CODE(Code::corrupt, page.leaf_entries(1));
  EXPECT_CODE(Code::corrupt, page.kind(5));
  EXPECT_CODE(Code::corrupt, page.find(5, "x"));
}

TEST(Page, OfANewerVersionSaysSo) {
  Bytes bytes = sample_page();
  bytes[0] = 2;
  EXPECT_CODE(Code::unsupported, parse(bytes));
}

// Calls everything that decodes; true when nothing failed.
bool decodes(const Page& page) {
  bool all = true;
  for (std::uint32_t node = 0; node < page.node_count(); ++node) {
    const auto kind = page.kind(node);
    if (!kind) {
      all = false;
      continue;
    }
    switch (*kind) {
      case NodeKind::directory_leaf:
        all = page.directory_leaf(node, 0, [](Entry&&) { return true; }).ok() && all;
        ignore(page.find(node, "m"), "only that it returns");
        break;
      case NodeKind::directory_index:
        all = page.directory_index(node).ok() && all;
        break;
      case NodeKind::extent_leaf:
        all = page.extent_leaf(node).ok() && all;
        break;
      case NodeKind::extent_index:
        all = page.extent_index(node).ok() && all;
        break;
      case NodeKind::xattr_set:
        all = page.xattr_set(node).ok() && all;
        break;
    }
  }
  return all;
}

TEST(Page, CutAnywhereIsRefused) {
  const Bytes whole = sample_page();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(
        parse(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))).ok())
        << size;
  }
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_CODE(Code::corrupt, parse(longer));
}

// Whatever the bytes: no crash, no read past the end (asan), no allocation past them.
TEST(Page, OfRandomBytesIsDecodedWithinItsBounds) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    Bytes random = test::noise(seed % 400, seed);
    if (!random.empty()) random[0] = kPageVersion;
    if (random.size() > 2) random[1] = static_cast<std::uint8_t>(random[1] % 3);
    if (const auto page = parse(random)) decodes(*page);
    Bytes mutated = sample_page();
    const Bytes changes = test::noise(24, seed + 1'000'000);
    for (std::size_t i = 0; i + 3 < 3 * (1 + seed % 8); i += 3) {
      const std::size_t at = (changes[i] * 256u + changes[i + 1]) % mutated.size();
      mutated[at] = changes[i + 2];
    }
    if (const auto page = parse(mutated)) decodes(*page);
  }
}

TEST(Page, RefusesImpossibleNodes) {
  struct Case {
    const char* name;
    std::function<void(PageBuilder&)> add;
  };
  const auto leaf = [](std::vector<Entry> entries) {
    return [entries = std::move(entries)](PageBuilder& b) { b.add_directory_leaf(entries); };
  };
  const auto named = [](const std::string& name) {
    Entry e{.name = name};
    return e;
  };
  Entry short_extents = named("a");
  short_extents.content = Entry::Content::extents;
  short_extents.size = 10;
  short_extents.extents = {{.length = 9, .offset = 0, .chunk = id_of(1)}};
  Entry beyond = short_extents;
  beyond.size = beyond.extents[0].length = kMaxChunk;
  beyond.extents[0].offset = 1;
  Entry empty_extent = short_extents;
  empty_extent.size = 0;
  empty_extent.extents[0].length = 0;
  Entry file_as_directory = named("a");
  file_as_directory.content = Entry::Content::directory;
  Entry directory_without = named("a");
  directory_without.type = FileType::directory;
  Entry long_name = named(std::string(256, 'x'));
  Entry flags = named("a");
  Entry late = named("a");
  late.mtime.nanoseconds = 1'000'000'000;
  const Case cases[] = {
      {"names out of order", leaf({named("b"), named("a")})},
      {"a name twice", leaf({named("a"), named("a")})},
      {"a slash", leaf({named("a/b")})},
      {"dot", leaf({named(".")})},
      {"dot dot", leaf({named("..")})},
      {"NUL", leaf({named(std::string("a\0b", 3))})},
      {"no name among others", leaf({named(""), named("a")})},
      {"a long name", leaf({long_name})},
      {"extents that do not add up", leaf({short_extents})},
      {"an extent beyond its chunk", leaf({beyond})},
      {"an empty extent", leaf({empty_extent})},
      {"a file with a directory's content", leaf({file_as_directory})},
      {"a directory without content", leaf({directory_without})},
      {"nanoseconds of a second", leaf({late})},
      {"too many children",
       [](PageBuilder& b) { b.add_directory_index(std::vector<DirectoryChild>(65)); }},
      {"too many extents",
       [](PageBuilder& b) {
         b.add_extent_leaf(std::vector<Extent>(65, {.kind = Extent::Kind::hole, .length = 1}));
       }},
  };
  for (const Case& c : cases) {
    PageBuilder b = builder();
    c.add(b);
    const auto page = parse(b.finish());
    EXPECT_TRUE(!page || !decodes(*page)) << c.name;
  }
}

TEST(Page, RefusesEntryFlagsThatItDoesNotKnow) {
  PageBuilder b = builder();
  const Entry entry{.name = "a"};
  b.add_directory_leaf({&entry, 1});
  Bytes bytes = b.finish();
  // version, no ids, one node, its size, kind, count, type, then the flags.
  constexpr std::size_t kFlags = 7;
  ASSERT_EQ(bytes[kFlags + 1], 1u);
  for (const unsigned bit : {0x10u, 0x20u}) {
    Bytes changed = bytes;
    changed[kFlags] = static_cast<std::uint8_t>(bit);
    EXPECT_FALSE(decodes(value_of(parse(changed)))) << bit;
  }
}

}  // namespace
}  // namespace bygone::store
