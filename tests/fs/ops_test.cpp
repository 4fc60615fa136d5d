// SPDX-License-Identifier: Apache-2.0
#include "fs/ops.h"

#include <cerrno>
#include <set>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/fake_kernel.h"
#include "tests/support/memory_repository.h"

namespace bygone::fs {
namespace {

using store::SourceKind;
using test::FuseEntry;
using test::FuseReply;
using test::Item;
using test::MemoryRepository;

constexpr Nanoseconds kFirstInstant = 1710565032 * kSecond;  // 2024-03-16T04:57:12Z
constexpr std::uint64_t kForEver = 1'000'000'000;

class OpsTest : public testing::Test {
 protected:
  void SetUp() override {
    chunk_.assign(300'000, 'c');
    Item rich = repository_.file("rich", "text");
    rich.entry.mode = 06755;
    rich.entry.uid = 4294967294;
    rich.entry.gid = 1000;
    rich.entry.mtime = {-1, 999'999'999};
    rich.entry.ctime = {7258118400, 1};  // 2200
    rich.entry.xattrs = {{"trusted.secret", Bytes{1}}, {"user.note", Bytes{'h', 'i'}}};
    Item device = repository_.file("device", "");
    device.entry.type = store::FileType::char_device;
    device.entry.device = 0x1234;
    Item sparse =
        repository_.file("sparse", {MemoryRepository::hole(1 << 20), repository_.chunk(chunk_),
                                    MemoryRepository::hole((1 << 20) - 300'000)});
    std::vector<Item> many;
    many.reserve(300);
    for (int i = 0; i < 300; ++i) many.push_back(repository_.file("f" + std::to_string(i), "x"));
    repository_.commit(repository_.snapshot(
        SourceKind::container, "db", kFirstInstant,
        {{"data", repository_.write(repository_.folder(
                      "", {rich, device, sparse, repository_.link("to", "sub/f1"),
                           repository_.folder("sub", std::move(many))}))}}));
    auto names = Namespace::open(repository_, repository_.trees(), repository_.keys(), {});
    ASSERT_TRUE(names.ok());
    names_ = *std::move(names);
    reader_ = std::make_unique<Reader>(repository_.trees(), repository_.chunks());
    service_ = std::make_unique<Service>(Service{*names_, *reader_});
    kernel_ = std::make_unique<test::FakeKernel>(*service_);
  }

  std::string chunk_;
  MemoryRepository repository_;
  std::unique_ptr<Namespace> names_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<test::FakeKernel> kernel_;
  const std::string data_ = "db/2024-03-16T04:57/data";
};

TEST_F(OpsTest, AsksForWhatMakesTheMountFast) {
  const std::uint32_t flags = kernel_->init().flags;
  EXPECT_TRUE(flags & FUSE_DO_READDIRPLUS);
  EXPECT_FALSE(flags & FUSE_READDIRPLUS_AUTO) << "seven times slower";
  EXPECT_TRUE(flags & FUSE_POSIX_ACL);
  EXPECT_TRUE(flags & FUSE_CACHE_SYMLINKS);
  EXPECT_TRUE(flags & FUSE_AUTO_INVAL_DATA);
  EXPECT_FALSE(flags & FUSE_WRITEBACK_CACHE);
  EXPECT_FALSE(flags & FUSE_SPLICE_READ);
  EXPECT_EQ(kernel_->init().max_write, 1048576u) << "bounds reads too";
}

TEST_F(OpsTest, LooksUpWithTheRightTimeouts) {
  const auto valid = [&](const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const auto parent =
        slash == std::string::npos ? FUSE_ROOT_ID : kernel_->walk(path.substr(0, slash));
    const auto entry =
        kernel_->lookup(parent, path.substr(slash == std::string::npos ? 0 : slash + 1))
            .as<fuse_entry_out>();
    EXPECT_NE(entry.nodeid, 0u) << path;
    return std::pair(entry.entry_valid, entry.attr_valid);
  };
  EXPECT_EQ(valid("db"), std::pair(std::uint64_t{1}, std::uint64_t{1}));
  EXPECT_EQ(valid("db/latest"), std::pair(std::uint64_t{0}, std::uint64_t{0}));
  EXPECT_EQ(valid("db/20240316T0457"), std::pair(std::uint64_t{0}, std::uint64_t{0}));
  EXPECT_EQ(valid(data_), std::pair(kForEver, kForEver));
  EXPECT_EQ(valid(data_ + "/rich"), std::pair(kForEver, kForEver));
}

TEST_F(OpsTest, LetsAbsentNamesBeRememberedOnlyInsideSnapshots) {
  EXPECT_EQ(kernel_->lookup(FUSE_ROOT_ID, "later").error, ENOENT);
  EXPECT_EQ(kernel_->lookup(kernel_->walk("db"), ".hg").error, ENOENT);
  const FuseReply inside = kernel_->lookup(kernel_->walk(data_), "none");
  EXPECT_EQ(inside.error, 0);
  EXPECT_EQ(inside.as<fuse_entry_out>().nodeid, 0u);
  EXPECT_EQ(inside.as<fuse_entry_out>().entry_valid, kForEver);
  EXPECT_EQ(kernel_->lookup(FUSE_ROOT_ID, std::string(256, 'n')).error, ENAMETOOLONG);
}

TEST_F(OpsTest, ShowsEveryAttribute) {
  const auto rich =
      kernel_->request(FUSE_GETATTR, kernel_->walk(data_ + "/rich"), fuse_getattr_in{})
          .as<fuse_attr_out>();
  EXPECT_EQ(rich.attr.mode, S_IFREG | 06755u);
  EXPECT_EQ(rich.attr.uid, 4294967294u);
  EXPECT_EQ(rich.attr.gid, 1000u);
  EXPECT_EQ(rich.attr.size, 4u);
  EXPECT_EQ(rich.attr.blocks, 8u);
  EXPECT_EQ(static_cast<std::int64_t>(rich.attr.mtime), -1);
  EXPECT_EQ(rich.attr.mtimensec, 999'999'999u);
  EXPECT_EQ(rich.attr.ctime, 7258118400u);
  EXPECT_EQ(rich.attr_valid, kForEver);
  const auto device = kernel_->lookup(kernel_->walk(data_), "device").as<fuse_entry_out>();
  EXPECT_EQ(device.attr.mode & S_IFMT, static_cast<unsigned>(S_IFCHR));
  EXPECT_EQ(device.attr.rdev, 0x1234u);
  const auto sparse = kernel_->lookup(kernel_->walk(data_), "sparse").as<fuse_entry_out>();
  EXPECT_EQ(sparse.attr.size, 2u << 20);
  EXPECT_EQ(sparse.attr.blocks, 592u) << "300000 bytes in pages of 4096";
}

TEST_F(OpsTest, ListsWithAttributesAndCountsEveryEntry) {
  const std::size_t before = names_->inodes().size();
  const std::uint64_t folder = kernel_->walk(data_ + "/sub");
  const std::vector<FuseEntry> entries = kernel_->list(folder);
  ASSERT_EQ(entries.size(), 302u);
  EXPECT_EQ(entries[0].name, ".");
  EXPECT_EQ(entries[1].name, "..");
  std::set<std::string> names;
  for (const FuseEntry& entry : entries) {
    EXPECT_TRUE(names.insert(entry.name).second);
    EXPECT_NE(entry.ino, 0u) << "would be invisible";
    if (entry.name.starts_with(".")) {
      EXPECT_EQ(entry.entry.nodeid, 0u) << "the kernel counts no lookup for dots";
      continue;
    }
    EXPECT_EQ(entry.entry.attr.ino, entry.ino);
    EXPECT_EQ(entry.entry.entry_valid, kForEver);
    EXPECT_EQ(kernel_->lookup(folder, entry.name).as<fuse_entry_out>().nodeid, entry.entry.nodeid);
  }
  // Each was handed out twice: by the listing and by the lookup.
  for (const FuseEntry& entry : entries) {
    if (entry.entry.nodeid != 0) kernel_->forget(entry.entry.nodeid, 2);
  }
  std::uint64_t at = FUSE_ROOT_ID;
  std::vector<std::uint64_t> parts;
  for (const char* part : {"db", "2024-03-16T04:57", "data", "sub"}) {
    at = kernel_->lookup(at, part).as<fuse_entry_out>().nodeid;
    parts.push_back(at);
  }
  for (const std::uint64_t node : parts) kernel_->forget(node, 2);
  // A reply comes only after what was sent before it was taken from the socket, but the threads
  // may still be at it.
  for (int i = 0; i < 1000 && names_->inodes().size() != before; ++i) ::usleep(10'000);
  EXPECT_EQ(names_->inodes().size(), before);
}

TEST_F(OpsTest, KeepsListingsInTheKernel) {
  const auto open = kernel_->request(FUSE_OPENDIR, FUSE_ROOT_ID, fuse_open_in{});
  EXPECT_EQ(open.error, 0);
  const std::uint32_t flags = open.as<fuse_open_out>().open_flags;
  EXPECT_TRUE(flags & FOPEN_CACHE_DIR);
  EXPECT_TRUE(flags & FOPEN_KEEP_CACHE);
  fuse_release_in release{};
  release.fh = open.as<fuse_open_out>().fh;
  EXPECT_EQ(kernel_->request(FUSE_RELEASEDIR, FUSE_ROOT_ID, release).error, 0);
}

TEST_F(OpsTest, SparesTheKernelOpenAndFlush) {
  const std::uint64_t file = kernel_->walk(data_ + "/rich");
  EXPECT_EQ(kernel_->request(FUSE_OPEN, file, fuse_open_in{}).error, ENOSYS);
  EXPECT_EQ(kernel_->request(FUSE_FLUSH, file, fuse_flush_in{}).error, ENOSYS);
}

TEST_F(OpsTest, ReadsDataHolesAndLinks) {
  const std::uint64_t sparse = kernel_->walk(data_ + "/sparse");
  const FuseReply whole = kernel_->read(sparse, 0, 1 << 20);
  EXPECT_EQ(whole.text(), std::string(1 << 20, '\0'));
  const FuseReply seam = kernel_->read(sparse, (1 << 20) - 10, 300'020);
  EXPECT_EQ(seam.text(), std::string(10, '\0') + chunk_ + std::string(10, '\0'));
  EXPECT_EQ(kernel_->read(sparse, (2 << 20) - 5, 4096).body.size(), 5u);
  EXPECT_TRUE(kernel_->read(sparse, 2 << 20, 4096).body.empty());
  EXPECT_EQ(kernel_->read(kernel_->walk(data_ + "/rich"), 0, 4096).text(), "text");
  EXPECT_EQ(kernel_->request(FUSE_READLINK, kernel_->walk(data_ + "/to"), ByteView()).text(),
            "sub/f1");
  EXPECT_EQ(kernel_->request(FUSE_READLINK, kernel_->walk("db/latest"), ByteView()).text(),
            "2024-03-16T04:57");
}

TEST_F(OpsTest, AnswersEioForDamageAndEstaleForWhatIsGone) {
  const std::uint64_t sparse = kernel_->walk(data_ + "/sparse");
  std::vector<ChunkId> data;
  for (const auto& [id, bytes] : repository_.chunks().chunks) {
    if (bytes->size() == chunk_.size()) data.push_back(id);
  }
  ASSERT_EQ(data.size(), 1u);
  repository_.chunks().chunks.erase(data[0]);
  EXPECT_EQ(kernel_->read(sparse, 1 << 20, 4096).error, EIO);
  EXPECT_EQ(kernel_->read(sparse, 0, 4096).error, 0) << "only the damaged range";
  repository_.remove((*repository_.ids())[0]);
  EXPECT_EQ(kernel_->read(sparse, 1 << 20, 4096).error, ESTALE);
  EXPECT_EQ(kernel_->request(FUSE_GETATTR, 0x7777, fuse_getattr_in{}).error, ESTALE);
}

TEST_F(OpsTest, SeeksToDataAndHoles) {
  const std::uint64_t sparse = kernel_->walk(data_ + "/sparse");
  const auto seek = [&](std::uint64_t from, std::uint32_t whence) {
    return kernel_->lseek(sparse, from, whence).as<fuse_lseek_out>().offset;
  };
  EXPECT_EQ(seek(0, SEEK_DATA), 1u << 20);
  EXPECT_EQ(seek(0, SEEK_HOLE), 0u);
  EXPECT_EQ(seek(1 << 20, SEEK_HOLE), (1u << 20) + 300'000);
  EXPECT_EQ(kernel_->lseek(sparse, (1 << 20) + 300'000, SEEK_DATA).error, ENXIO);
  EXPECT_EQ(kernel_->lseek(sparse, 2 << 20, SEEK_HOLE).error, ENXIO);
}

TEST_F(OpsTest, AnswersAttributesWithoutEverSayingEnosys) {
  const std::uint64_t rich = kernel_->walk(data_ + "/rich");
  EXPECT_EQ(kernel_->getxattr(rich, "user.note", 10).text(), "hi");
  EXPECT_EQ(kernel_->getxattr(rich, "user.note", 0).as<fuse_getxattr_out>().size, 2u);
  EXPECT_EQ(kernel_->getxattr(rich, "user.note", 1).error, ERANGE);
  for (const char* name : {"security.selinux", "system.posix_acl_access", "user.none"}) {
    EXPECT_EQ(kernel_->getxattr(rich, name, 0).error, ENODATA) << name;
    EXPECT_EQ(kernel_->getxattr(FUSE_ROOT_ID, name, 0).error, ENODATA) << name;
  }
  using namespace std::string_literals;
  EXPECT_EQ(kernel_->listxattr(rich, 100).text(), "trusted.secret\0user.note\0"s);
  EXPECT_EQ(kernel_->listxattr(FUSE_ROOT_ID, 100).text(), "");
  kernel_->become(1000);
  EXPECT_EQ(kernel_->listxattr(rich, 100).text(), "user.note\0"s);
}

TEST_F(OpsTest, TellsTheKernelOfChanges) {
  kernel_->session().name_changed(FUSE_ROOT_ID, "new");
  const auto [code, body] = kernel_->notice();
  EXPECT_EQ(code, FUSE_NOTIFY_INVAL_ENTRY);
  EXPECT_NE(as_text(body).find("new"), std::string_view::npos);
  kernel_->session().folder_changed(FUSE_ROOT_ID);
  EXPECT_EQ(kernel_->notice().first, FUSE_NOTIFY_INVAL_INODE);
}

TEST_F(OpsTest, SaysHowLongNamesMayBe) {
  EXPECT_EQ(
      kernel_->request(FUSE_STATFS, FUSE_ROOT_ID, ByteView()).as<fuse_statfs_out>().st.namelen,
      255u);
}

}  // namespace
}  // namespace bygone::fs
