// SPDX-License-Identifier: Apache-2.0
#include "ingest/tar.h"

#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/support/tar_maker.h"

namespace bygone::ingest {
namespace {

using store::FileType;
using test::TarMaker;

struct Read {
  TarEntry entry;
  std::string content;  // holes as '.'
};
struct Outcome {
  std::vector<Read> entries;
  std::optional<Error> error;
  bool ended_early = false;
};

// Reads all of an archive that comes in pieces of `step` bytes.
Outcome read_all(std::string_view bytes, std::size_t step = 700) {
  std::size_t at = 0;
  TarReader tar([&]() -> Result<ByteView> {
    const std::string_view piece = bytes.substr(at, step);
    at += piece.size();
    return as_bytes(piece);
  });
  Outcome outcome;
  for (;;) {
    auto entry = tar.next();
    if (!entry) outcome.error = entry.error();
    if (!entry || !*entry) break;
    Read read{std::move(**entry), {}};
    if (!read.entry.same_as && read.entry.entry.type == FileType::regular) {
      for (;;) {
        auto block = tar.read();
        if (!block) outcome.error = block.error();
        if (!block || !*block) break;
        read.content.resize((*block)->offset, '.');
        read.content += as_text((*block)->data);
      }
      if (outcome.error) break;
    }
    outcome.entries.push_back(std::move(read));
  }
  outcome.ended_early = tar.ended_early();
  return outcome;
}

// An archive by libarchive's own writer, which makes what no hand would.
class Written {
 public:
  Written() : writer_(::archive_write_new()) {
    ::archive_write_set_format_pax(writer_);
    ::archive_write_set_bytes_per_block(writer_, 0);
    ::archive_write_open2(writer_, this, nullptr, take, nullptr, nullptr);
    add(
        "v0", S_IFDIR, [](archive_entry*) {}, "");
  }
  template <class Fill>
  void add(const std::string& name, mode_t type, Fill fill, std::string_view content) {
    archive_entry* entry = ::archive_entry_new();
    ::archive_entry_set_pathname(entry, name.c_str());
    ::archive_entry_set_mode(entry, type | 0640);
    ::archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    fill(entry);
    EXPECT_EQ(::archive_write_header(writer_, entry), ARCHIVE_OK);
    if (!content.empty()) ::archive_write_data(writer_, content.data(), content.size());
    ::archive_entry_free(entry);
  }
  std::string finish() {
    ::archive_write_close(writer_);
    ::archive_write_free(writer_);
    return bytes_;
  }

 private:
  static la_ssize_t take(archive*, void* self, const void* data, std::size_t size) {
    static_cast<Written*>(self)->bytes_.append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  }
  archive* writer_;
  std::string bytes_;
};

TarMaker small_tree() {
  TarMaker tar;
  tar.folder("v0").folder("v0/a").file("v0/a/f", "content").link("v0/b", "v0/a/f");
  tar.file("v0/zeros", std::string(2048, '\0'));
  return tar;
}

TEST(Tar, ReadsNamesLinksAndContent) {
  for (const std::size_t step : {1u, 512u, 100000u}) {
    const Outcome got = read_all(small_tree().end().bytes(), step);
    ASSERT_FALSE(got.error) << got.error->message;
    ASSERT_EQ(got.entries.size(), 5u);
    EXPECT_EQ(got.entries[0].entry.path, "");
    EXPECT_EQ(got.entries[2].entry.path, "a/f");
    EXPECT_EQ(got.entries[2].entry.entry.name, "f");
    EXPECT_EQ(got.entries[2].entry.entry.mode, 0644u);
    EXPECT_EQ(got.entries[2].content, "content");
    EXPECT_EQ(got.entries[3].entry.same_as, "a/f");
  }
}

TEST(Tar, IsWholeOnlyWithItsOwnEnd) {
  const std::string whole = small_tree().end().bytes();
  for (std::size_t size = 0; size < whole.size(); size += 512) {
    SCOPED_TRACE(size);
    const Outcome got = read_all(std::string_view(whole).substr(0, size));
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.error->code, Code::io);
    EXPECT_TRUE(got.ended_early);
  }
  EXPECT_TRUE(read_all(std::string_view(whole).substr(0, whole.size() - 1)).ended_early);
  EXPECT_FALSE(read_all(whole + std::string(8192, '\0')).error);
  EXPECT_TRUE(read_all(whole + std::string(1 << 20, '\0')).error);
}

TEST(Tar, HasNothingInAnEmptyArchive) {
  const Outcome got = read_all(TarMaker().end().bytes());
  ASSERT_FALSE(got.error) << got.error->message;
  EXPECT_TRUE(got.entries.empty());
}

TEST(Tar, PassesOnTheErrorOfItsSource) {
  const std::string whole = small_tree().end().bytes();
  for (std::size_t good = 0; good < whole.size(); good += 512) {
    std::size_t at = 0;
    TarReader tar([&]() -> Result<ByteView> {
      if (at >= good) return Error{Code::unavailable, 0, "the connection broke"};
      at += 512;
      return as_bytes(std::string_view(whole).substr(at - 512, 512));
    });
    Result<std::optional<TarEntry>> entry = tar.next();
    while (entry && *entry) entry = tar.next();
    ASSERT_FALSE(entry);
    EXPECT_EQ(entry.error().code, Code::unavailable);
    EXPECT_FALSE(tar.ended_early());
  }
}

TEST(Tar, RefusesNamesThatLeadElsewhere) {
  for (const char* name : {"/etc/passwd", "v0/../x", "..", "../v0/x", "v0/a/../../../x", "v0//x",
                           "v0/./x", "other/x", "v", "v00/x", "v0/a/.."}) {
    SCOPED_TRACE(name);
    const Outcome got = read_all(TarMaker().folder("v0").file(name, "x").end().bytes());
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.error->code, Code::invalid);
  }
  for (const char* name : {"/", "a/b", "..", ""}) {
    EXPECT_TRUE(read_all(TarMaker().folder(name).end().bytes()).error) << name;
  }
  for (const char* target : {"/etc/passwd", "v0/../x", "x", ""}) {
    SCOPED_TRACE(target);
    const Outcome got = read_all(TarMaker().folder("v0").link("v0/l", target).end().bytes());
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.error->code, Code::invalid);
  }
}

TEST(Tar, TakesEachSpellingOfTheRoot) {
  for (const char* root : {"v0", "v0/", ".", "./"}) {
    SCOPED_TRACE(root);
    const std::string below = std::string(root).substr(0, std::string(root).find('/')) + "/x";
    const Outcome got = read_all(TarMaker().folder(root).file(below, "x").end().bytes());
    ASSERT_FALSE(got.error) << got.error->message;
    EXPECT_EQ(got.entries[1].entry.path, "x");
  }
}

TEST(Tar, KeepsTheBytesOfNames) {
  // Composed and decomposed forms, what is no UTF-8, and what is as long as names get.
  const std::string longest(255, 'n');
  for (const std::string& name : {std::string("caf\xc3\xa9"), std::string("cafe\xcc\x81"),
                                  std::string("bad\xff\xfe"), std::string("new\nline"), longest}) {
    TarMaker tar;
    tar.folder("v0").pax({"path=v0/" + name}).file("v0/short", "x").end();
    const Outcome got = read_all(tar.bytes());
    ASSERT_FALSE(got.error) << got.error->message;
    EXPECT_EQ(got.entries[1].entry.path, name);
  }
  const Outcome raw = read_all(TarMaker().folder("v0").file("v0/\xff\xc3\xa9", "x").end().bytes());
  ASSERT_FALSE(raw.error) << raw.error->message;
  EXPECT_EQ(raw.entries[1].entry.path, "\xff\xc3\xa9");
  EXPECT_TRUE(read_all(TarMaker()
                           .folder("v0")
                           .pax({"path=v0/" + longest + "n"})
                           .file("v0/short", "x")
                           .end()
                           .bytes())
                  .error);
}

TEST(Tar, RefusesHeadersThatLie) {
  const auto with = [](std::size_t at, char byte) {
    std::string bytes = TarMaker().folder("v0").file("v0/f", "content").end().bytes();
    bytes[512 + at] = byte;
    return bytes;
  };
  EXPECT_TRUE(read_all(with(0, 'x')).error) << "checksum";
  EXPECT_TRUE(read_all(with(124, '7')).error) << "size";
  TarMaker owner;
  owner.folder("v0").pax({"uid=4294967296"}).file("v0/f", "x").end();
  EXPECT_TRUE(read_all(owner.bytes()).error);
  EXPECT_TRUE(read_all("not an archive" + std::string(10000, 'x')).error);
  TarMaker fat;
  fat.folder("v0").file("v0/f", "x").header("v0/l", {.type = '1', .link = "v0/f", .size = 512});
  EXPECT_TRUE(read_all(fat.padded(std::string(512, 'x')).end().bytes()).error);
}

TEST(Tar, ReadsSizesBeyondEightGiB) {
  TarMaker tar;
  const std::uint64_t huge = (1ULL << 40U) + 5;
  tar.folder("v0").header("v0/huge", {.size = huge}).padded("begin");
  Outcome got = read_all(tar.bytes());
  EXPECT_TRUE(got.ended_early);
  std::size_t at = 0;
  TarReader reader([&]() -> Result<ByteView> {
    at += 512;
    return as_bytes(std::string_view(tar.bytes()).substr(at - 512, 512));
  });
  ASSERT_TRUE(reader.next().ok());
  const auto entry = reader.next();
  ASSERT_TRUE(entry.ok() && *entry);
  EXPECT_EQ((*entry)->entry.size, huge);
}

TEST(Tar, ReadsAttributesTimesDevicesAndHoles) {
  Written tar;
  tar.add(
      "v0/attr", S_IFREG,
      [](archive_entry* entry) {
        ::archive_entry_xattr_add_entry(entry, "user.z", "1\0002", 3);
        ::archive_entry_xattr_add_entry(entry, "security.capability", "cap", 3);
        ::archive_entry_set_mtime(entry, 1700000000, 123456789);
        ::archive_entry_set_uid(entry, 4000000000);
      },
      "x");
  tar.add(
      "v0/dev", S_IFCHR,
      [](archive_entry* entry) { ::archive_entry_set_rdev(entry, makedev(1, 3)); }, "");
  tar.add(
      "v0/fifo", S_IFIFO, [](archive_entry*) {}, "");
  tar.add(
      "v0/link", S_IFLNK, [](archive_entry* entry) { ::archive_entry_set_symlink(entry, "../x"); },
      "");
  std::string content(8192, 'a');
  content.replace(0, 4096, 4096, '\0');
  tar.add(
      "v0/sparse", S_IFREG,
      [](archive_entry* entry) {
        ::archive_entry_set_size(entry, 12288);
        ::archive_entry_sparse_add_entry(entry, 4096, 4096);
      },
      content);
  const Outcome got = read_all(tar.finish());
  ASSERT_FALSE(got.error) << got.error->message;
  ASSERT_EQ(got.entries.size(), 6u);
  const store::Entry& attr = got.entries[1].entry.entry;
  ASSERT_EQ(attr.xattrs.size(), 2u);
  EXPECT_EQ(attr.xattrs[0].name, "security.capability");
  EXPECT_EQ(attr.xattrs[1].value.size(), 3u);
  EXPECT_EQ(attr.mtime.nanoseconds, 123456789u);
  EXPECT_EQ(attr.uid, 4000000000u);
  EXPECT_EQ(got.entries[2].entry.entry.type, FileType::char_device);
  EXPECT_EQ(got.entries[2].entry.entry.device, makedev(1, 3));
  EXPECT_EQ(got.entries[3].entry.entry.type, FileType::fifo);
  EXPECT_EQ(got.entries[4].entry.entry.target, "../x");
  EXPECT_EQ(got.entries[5].entry.entry.size, 12288u);
  EXPECT_EQ(got.entries[5].content, std::string(4096, '.') + std::string(4096, 'a'));
}

}  // namespace
}  // namespace bygone::ingest
