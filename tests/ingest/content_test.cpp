// SPDX-License-Identifier: Apache-2.0
#include "ingest/content.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "store/chunker.h"
#include "store/format.h"
#include "tests/support/expect.h"
#include "tests/support/memory_tree.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

using store::Entry;
using store::Extent;
using test::value_of;

constexpr std::uint64_t kTag = 3;

class Cutting : public testing::Test {
 protected:
  Cutting()
      : repository_(test::fixed_repository(folder_ / "repo")),
        session_(value_of(store::Session::begin(*repository_, store::Compression::standard))),
        trees_(*session_, 1 << 20) {}

  struct Version {
    Entry entry;
    std::uint64_t added = 0;  // bytes in packs
    [[nodiscard]] const std::vector<Extent>& extents() const { return entry.extents; }
  };
  using Feed = std::function<void(ContentCutter&)>;

  Version cut(const Feed& feed, std::uint64_t size, const Version* parent = nullptr) {
    Version version;
    const std::uint64_t before = session_->added_bytes();
    {
      ChunkJobs jobs(*session_, store::Compression::standard, 2);
      ContentCutter cutter(repository_->keys(), jobs, kTag, size);
      std::optional<Entry> entry;
      if (parent != nullptr) entry = parent->entry;
      cutter.follow(ParentExtents::of(trees_, entry), std::make_shared<store::DeltaTrials>(16));
      feed(cutter);
      for (const Piece& piece : cutter.finish()) {
        version.entry.extents.push_back(piece.extent);
        if (piece.pending) version.entry.extents.back().chunk = piece.pending->wait();
      }
    }
    version.added = session_->added_bytes() - before;
    version.entry.content = Entry::Content::extents;
    for (const Extent& extent : version.extents()) version.entry.size += extent.length;
    return version;
  }
  // The same, and reads back what was stored.
  Version cut(const Bytes& content, const Version* parent = nullptr) {
    Version version =
        cut([&](ContentCutter& cutter) { cutter.append(content); }, content.size(), parent);
    EXPECT_TRUE(read(version) == content);
    return version;
  }

  Bytes read(const Version& version) {
    Bytes out;
    for (const Extent& extent : version.extents()) {
      if (extent.kind != Extent::Kind::data) {
        out.resize(out.size() + extent.length);
        continue;
      }
      const auto chunk = value_of(session_->get(store::ChunkKind::data, extent.chunk));
      EXPECT_EQ(chunk->size(), extent.length);
      out.insert(out.end(), chunk->begin(), chunk->end());
    }
    return out;
  }

  std::vector<std::uint64_t> cuts_by_content(const Bytes& content) {
    std::vector<std::uint64_t> lengths;
    for (ByteView rest(content); !rest.empty(); rest = rest.subspan(lengths.back())) {
      lengths.push_back(
          store::next_cut(repository_->keys().gear_table(), rest, content.size() - rest.size()));
    }
    return lengths;
  }
  static std::vector<std::uint64_t> lengths(const Version& version) {
    std::vector<std::uint64_t> out;
    for (const Extent& extent : version.extents()) out.push_back(extent.length);
    return out;
  }
  static std::size_t differing(const Version& a, const Version& b) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < a.extents().size() && i < b.extents().size(); ++i) {
      if (a.extents()[i] != b.extents()[i]) ++n;
    }
    return n;
  }
  static std::uint64_t begin_of(const Version& version, std::size_t extent) {
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < extent; ++i) at += version.extents()[i].length;
    return at;
  }
  static void overwrite(Bytes& content, std::uint64_t at, const Bytes& bytes) {
    std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(at));
  }

  test::TempFolder folder_;
  std::unique_ptr<store::Repository> repository_;
  std::unique_ptr<store::Session> session_;
  store::TreeReader trees_;
  const Bytes content_ = test::noise(9'000'000, 1);
};

TEST_F(Cutting, WithoutAParentIsByContentAlone) {
  for (const std::size_t size : {1u, 65'536u, 65'537u, 1'048'576u, 9'000'000u}) {
    const Bytes content(content_.begin(), content_.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(lengths(cut(content)), cuts_by_content(content)) << size;
  }
}

TEST_F(Cutting, OfUnchangedContentTakesTheParentsExtents) {
  const Version before = cut(content_);
  const Version after = cut(content_, &before);
  EXPECT_EQ(after.extents(), before.extents());
  EXPECT_EQ(after.added, 0u);
}

TEST_F(Cutting, KeepsTheCutsAroundChunksThatChanged) {
  const Version before = cut(content_);
  Bytes content = content_;
  std::vector<std::size_t> changed;
  for (std::size_t i = 1; i + 1 < before.extents().size(); i += 3) {
    overwrite(content, begin_of(before, i) + 30'000, test::noise(500, i));
    changed.push_back(i);
  }
  const Version after = cut(content, &before);
  EXPECT_EQ(lengths(after), lengths(before));
  EXPECT_EQ(differing(after, before), changed.size());
  EXPECT_LT(after.added, changed.size() * 1000);
}

// The cut itself is what changed: one of the next chunks tells that all stands where it stood.
TEST_F(Cutting, KeepsACutWhoseContentChanged) {
  const Version before = cut(content_);
  for (const std::size_t run : {1u, 2u, 3u}) {
    SCOPED_TRACE(run);
    Bytes content = content_;
    for (std::size_t i = 0; i < run; ++i) {
      overwrite(content, begin_of(before, 6 + i) - 20, test::noise(40, run));
    }
    const Version after = cut(content, &before);
    EXPECT_EQ(lengths(after), lengths(before));
    EXPECT_EQ(differing(after, before), run + 1);
    EXPECT_LT(after.added, (run + 1) * 1000);
  }
}

// Changed cuts, alone and in a row, among small chunks and large ones: whether the next chunks are
// at hand already decides nothing.
TEST_F(Cutting, DoesNotHangOnHowMuchIsReadAtOnce) {
  const Version before = cut(content_);
  const std::size_t last = before.extents().size() - 1;
  Bytes content = content_;
  for (const std::size_t i : {3ul, 5ul, 6ul, 7ul, 8ul, last - 4, last - 3, last - 2, last}) {
    overwrite(content, begin_of(before, i) - 20, test::noise(40, i));
  }
  const auto whole = lengths(cut(content, &before));
  for (const std::size_t step : {4096ul, 100'001ul, 3ul << 20}) {
    SCOPED_TRACE(step);
    const Version pieces = cut(
        [&](ContentCutter& cutter) {
          for (ByteView rest(content); !rest.empty();) {
            const std::size_t size = std::min(step, rest.size());
            cutter.append(rest.first(size));
            rest = rest.subspan(size);
          }
        },
        content.size(), &before);
    EXPECT_EQ(lengths(pieces), whole);
  }
}

TEST_F(Cutting, FindsTheShiftAgainAfterAnInsertionOrADeletion) {
  const Version before = cut(content_);
  struct Case {
    const char* name;
    std::uint64_t at;
    std::size_t removed, inserted;
  };
  const Case cases[] = {{"a first line that grew", 100, 0, 9},
                        {"in the middle", 4'000'000, 0, 5000},
                        {"gone from the middle", 3'000'000, 7000, 0},
                        {"gone from the beginning", 0, 1'000'000, 0},
                        {"a block put before all", 0, 0, 300'000}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Bytes content = content_;
    const auto at = content.begin() + static_cast<std::ptrdiff_t>(c.at);
    content.erase(at, at + static_cast<std::ptrdiff_t>(c.removed));
    const Bytes fresh = test::noise(c.inserted, 77);
    content.insert(content.begin() + static_cast<std::ptrdiff_t>(c.at), fresh.begin(), fresh.end());
    // A second change far behind: its chunk has a predecessor only at the right shift.
    overwrite(content, 8'000'000, test::noise(100, 5));
    const Version after = cut(content, &before);
    // The inserted bytes, and the chunks until a cut of the parent's comes by again.
    EXPECT_LT(after.added, c.inserted + 3'000'000);
    std::size_t known = 0;
    for (const Extent& extent : after.extents()) {
      known += static_cast<std::size_t>(
          std::count_if(before.extents().begin(), before.extents().end(),
                        [&](const Extent& other) { return other.chunk == extent.chunk; }));
    }
    EXPECT_GT(known + 14, before.extents().size());
  }
}

// Rows become longer and shorter all over: every changed chunk has its predecessor.
TEST_F(Cutting, FindsPredecessorsWhileTheShiftDrifts) {
  const Version before = cut(content_);
  Bytes content = content_;
  std::size_t edits = 0;
  for (std::size_t at = content.size() - 50'000; at > 200'000; at -= 170'000, ++edits) {
    const auto place = content.begin() + static_cast<std::ptrdiff_t>(at);
    if (edits % 3 == 0) {
      content.insert(place, 3, 'x');
    } else {
      content.erase(place, place + 5);
    }
  }
  const Version after = cut(content, &before);
  EXPECT_LT(after.added, 1'200'000u) << edits;
}

TEST_F(Cutting, OfAGrowingFileLeavesNoShortChunks) {
  Bytes content(content_.begin(), content_.begin() + 700'000);
  Version last = cut(content);
  std::uint64_t added = 0;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const Bytes line = test::noise(3000, 500 + i);
    content.insert(content.end(), line.begin(), line.end());
    last = cut(content, &last);
    added += last.added;
  }
  // Each growth a few times: deltas on one middle repeat what came since. Whole chunks: 60 times
  // some 150 kB.
  EXPECT_LT(added, 60 * 3000 * 8u);
  EXPECT_EQ(lengths(last), cuts_by_content(content));
}

// From one step to the next the file passes where chunks become larger: what was cut stays.
TEST_F(Cutting, OfAFileThatGrowsIntoLargerChunksKeepsTheOldOnes) {
  Bytes content(content_.begin(), content_.begin() + 3'500'000);
  Version last = cut(content);
  while (content.size() < 7'000'000) {
    const std::vector<Extent> before = last.extents();
    content.insert(content.end(), content_.begin(), content_.begin() + 350'000);
    const Bytes line = test::noise(1000, content.size());
    content.insert(content.end(), line.begin(), line.end());
    last = cut(content, &last);
    ASSERT_GE(last.extents().size(), before.size());
    EXPECT_TRUE(std::equal(before.begin(), before.end() - 1, last.extents().begin()));
    EXPECT_EQ(lengths(last), cuts_by_content(content));
  }
  EXPECT_GT(last.extents().size(), 15u);
}

// A log that was written over from its beginning: behind that all stands where it stood.
TEST_F(Cutting, FindsTheParentsCutsAgainBehindWhatWasWrittenOver) {
  const Version before = cut(content_);
  for (const std::size_t end : {1'000'000u, 4'100'000u, 6'000'000u}) {
    SCOPED_TRACE(end);
    Bytes content = content_;
    overwrite(content, 0, test::noise(end, end));
    const Version after = cut(content, &before);
    const std::uint64_t resumed = [&] {
      std::uint64_t at = 0;
      for (const Extent& extent : before.extents()) {
        if (at >= end + store::kMinChunk) break;
        at += extent.length;
      }
      return at;
    }();
    std::uint64_t same = 0;
    for (const Extent& extent : after.extents()) {
      same += std::count(before.extents().begin(), before.extents().end(), extent) > 0
                  ? extent.length
                  : 0;
    }
    EXPECT_GE(same, content.size() - resumed);
    const auto sizes = lengths(after);
    for (const std::uint64_t size : sizes) EXPECT_LE(size, store::kMaxChunk);
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) EXPECT_GE(sizes[i], store::kMinChunk);
  }
}

TEST_F(Cutting, OfARewrittenFileIsByContentAlone) {
  const Version before = cut(content_);
  const Bytes other = test::noise(9'000'000, 2);
  EXPECT_EQ(lengths(cut(other, &before)), cuts_by_content(other));
}

TEST_F(Cutting, GoesOnAcrossHolesAndZeros) {
  const auto feed = [](const Bytes& first, const Bytes& second) {
    return [&](ContentCutter& cutter) {
      cutter.append(first);
      cutter.append(Bytes(300'000 / 4096 * 4096));
      cutter.append(second);
      cutter.hole(1'000'000);
      cutter.append(first);
      cutter.zeros(65'536);
    };
  };
  // The zeros in the middle begin at a block and end at one.
  const Bytes first(content_.begin(), content_.begin() + 2'048'000);
  Bytes second(content_.begin() + 3'000'000, content_.begin() + 4'024'000);
  const Version before = cut(feed(first, second), 7'000'000);
  overwrite(second, 500'000, test::noise(100, 6));
  const Version after = cut(feed(first, second), 7'000'000, &before);
  EXPECT_EQ(lengths(after), lengths(before));
  EXPECT_EQ(differing(after, before), 1u);
  EXPECT_LT(after.added, 1000u);
}

TEST_F(Cutting, TruncatedAndRegrownReadsBack) {
  const Version before = cut(content_);
  const Bytes half(content_.begin(), content_.begin() + 4'500'000);
  const Version cut_off = cut(half, &before);
  EXPECT_LT(cut_off.added, 2000u);  // the end of the last chunk is a piece of what was there
  const Version whole = cut(content_, &cut_off);
  EXPECT_LT(whole.added, 1'200'000u);
  const Version none = cut(Bytes(), &before);
  EXPECT_TRUE(none.extents().empty());
}

// What the parent's tree refers to may be damaged: then the file is stored as if it were new.
TEST_F(Cutting, BesideAParentThatCannotBeReadIsByContentAlone) {
  Version parent;
  parent.entry.size = 9'000'000;
  parent.entry.content = Entry::Content::extent_node;
  parent.entry.node.page.bytes[0] = 1;  // a page that nobody has
  std::optional<Entry> entry = parent.entry;
  ChunkJobs jobs(*session_, store::Compression::standard, 2);
  ContentCutter cutter(repository_->keys(), jobs, kTag, content_.size());
  cutter.follow(ParentExtents::of(trees_, entry), nullptr);
  cutter.append(content_);
  std::vector<std::uint64_t> found;
  for (const Piece& piece : cutter.finish()) found.push_back(piece.extent.length);
  EXPECT_EQ(found, cuts_by_content(content_));
}

// A file of many windows: the parent's extents are read as the cutter comes by.
TEST(ParentExtentsOf, AVeryLargeFileAreReadInWindows) {
  class NoChunks final : public store::ChunkSource {
    Result<std::shared_ptr<const Bytes>> get(store::ChunkKind, const ChunkId&) override {
      return Error{Code::not_found, 0, "no chunk"};
    }
  } none;
  store::TreeReader trees(none, 1 << 20);
  constexpr std::uint64_t kPiece = 256u << 10;
  constexpr std::uint64_t kPieces = 4000;  // 1 GB
  const auto name = [](std::uint64_t i) {
    ChunkId id;
    std::memcpy(id.bytes.data(), &i, sizeof i);
    return id;
  };
  Entry file;
  file.content = Entry::Content::extents;
  file.size = kPieces * kPiece;
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    file.extents.push_back({.length = kPiece, .chunk = name(i + 1)});
  }
  const auto parent = ParentExtents::of(trees, file);
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    const auto pieces = parent->from(i * kPiece, 4);
    ASSERT_EQ(pieces.size(), std::min<std::uint64_t>(5, kPieces - i)) << i;
    EXPECT_EQ(pieces[0].chunk, name(i + 1));
    EXPECT_EQ(pieces[0].followed, i + 1 < kPieces) << i;
    EXPECT_EQ(parent->covering(i * kPiece + 1), name(i + 1));
    EXPECT_EQ(parent->find(name(i + 1), i * kPiece), i * kPiece);
    EXPECT_EQ(parent->next_begin(i * kPiece), i * kPiece);
    EXPECT_EQ(parent->next_begin(i * kPiece - std::min<std::uint64_t>(i, 1)), i * kPiece);
  }
  EXPECT_TRUE(parent->from(1, 4).empty());
  EXPECT_TRUE(parent->from(file.size, 4).empty());
  EXPECT_EQ(parent->covering(file.size + 5'000'000), name(kPieces));
  EXPECT_EQ(parent->next_begin((kPieces - 1) * kPiece + 1), std::nullopt);
  EXPECT_EQ(parent->covering(0), name(1));
  EXPECT_EQ(parent->find(name(kPieces), 0), std::nullopt);
}

}  // namespace
}  // namespace bygone::ingest
