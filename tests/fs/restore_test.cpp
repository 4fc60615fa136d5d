// SPDX-License-Identifier: Apache-2.0
#include "fs/restore.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/restore_node.h"
#include "store/keys.h"
#include "store/tree_writer.h"
#include "tests/support/descriptor_limit.h"
#include "tests/support/torture.h"

namespace bygone::fs {
namespace {

namespace stdfs = std::filesystem;
using store::Entry;
using store::Extent;
using store::FileType;

// Chunks and pages in memory.
class MemoryStore : public store::ChunkSource, public store::PageSink {
 public:
  Result<void> put_page(const ChunkId& id, Bytes page) override {
    put(id, std::move(page));
    return {};
  }
  Result<std::shared_ptr<const Bytes>> get(store::ChunkKind, const ChunkId& id) override {
    const std::lock_guard lock(mutex_);
    const auto found = chunks_.find(id);
    if (found == chunks_.end()) return Error{Code::corrupt, 0, "chunk is damaged"};
    ++gets_;
    return found->second;
  }
  void put(const ChunkId& id, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    chunks_[id] = std::make_shared<const Bytes>(std::move(bytes));
  }
  void lose(const ChunkId& id) { chunks_.erase(id); }
  [[nodiscard]] int gets() const { return gets_; }

 private:
  std::mutex mutex_;
  std::map<ChunkId, std::shared_ptr<const Bytes>> chunks_;
  int gets_ = 0;
};

std::string pattern(std::size_t size, unsigned seed) {
  std::string text(size, '\0');
  for (char& c : text) {
    seed = seed * 1664525u + 1013904223u;
    c = static_cast<char>(seed >> 24);
  }
  return text;
}

class Restore : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store::init_crypto().ok());
    keys_ = store::KeyRing::generate(store::random_id<RepositoryId>());
    writer_ = std::make_unique<store::TreeWriter>(*keys_, store_);
    trees_ = std::make_unique<store::TreeReader>(store_, 1u << 20);
    std::string name = (stdfs::temp_directory_path() / "bygone-restore-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    base_ = name;
    target_ = base_ + "/target";
  }
  void TearDown() override { ignore(remove_tree(AT_FDCWD, base_), "left for the system to clean"); }

  Entry base(const std::string& name, FileType type, std::uint32_t mode) {
    Entry entry;
    entry.name = name;
    entry.type = type;
    entry.mode = mode;
    entry.uid = geteuid();
    entry.gid = getegid();
    entry.mtime = {1'700'000'000, 123'456'789};
    entry.inode = ++inode_;
    return entry;
  }
  ChunkId chunk(const std::string& bytes) {
    const ByteView view = as_bytes(bytes);
    const ChunkId id = keys_->chunk_id(store::ChunkKind::data, view);
    store_.put(id, Bytes(view.begin(), view.end()));
    return id;
  }
  Entry extents_file(const std::string& name, std::vector<Extent> extents) {
    Entry entry = base(name, FileType::regular, 0644);
    for (const Extent& extent : extents) entry.size += extent.length;
    EXPECT_TRUE(writer_->add_extents(entry, std::move(extents), nullptr, nullptr).ok());
    return entry;
  }
  Extent data(const std::string& bytes) {
    return {Extent::Kind::data, bytes.size(), 0, chunk(bytes)};
  }
  Entry file(const std::string& name, const std::string& bytes) {
    if (bytes.empty()) return base(name, FileType::regular, 0644);
    if (bytes.size() > 64) return extents_file(name, {data(bytes)});
    Entry entry = base(name, FileType::regular, 0644);
    entry.size = bytes.size();
    entry.content = Entry::Content::inline_bytes;
    entry.inline_bytes.assign(bytes.begin(), bytes.end());
    return entry;
  }
  Entry link_to(const std::string& name, const std::string& to) {
    Entry entry = base(name, FileType::symlink, 0777);
    entry.target = to;
    entry.size = to.size();
    return entry;
  }
  Entry folder(const std::string& name, std::vector<Entry> entries) {
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.name < b.name; });
    Entry entry = base(name, FileType::directory, 0755);
    EXPECT_TRUE(writer_->add_directory(entry, entries).ok());
    return entry;
  }
  Entry root(std::vector<Entry> entries) {
    Entry entry = folder("", std::move(entries));
    Entry* const roots[] = {&entry};
    EXPECT_TRUE(writer_->finish(roots).ok());
    return entry;
  }

  Result<RestoreSummary> run(const std::vector<RestoreRoot>& roots, RestoreOptions options = {}) {
    failures_.clear();
    actions_.clear();
    limited_.clear();
    const RestoreEvents events{
        [this](RestoreAction action, const std::string& path) { actions_[path] = action; },
        [this](const std::string& path, const Error& error) { failures_[path] = error.message; },
        [this](const std::string& text) { limited_.push_back(text); }};
    progress_ = std::make_unique<RestoreProgress>();
    return restore(*trees_, store_, roots, target_, options, events, *progress_, cancel_);
  }
  RestoreSummary run_well(const Entry& tree, RestoreOptions options = {}) {
    const auto summary = run({{"", tree}}, options);
    EXPECT_TRUE(summary.ok()) << summary.error().message;
    EXPECT_TRUE(failures_.empty()) << failures_.begin()->first << ": " << failures_.begin()->second;
    EXPECT_EQ(progress_->files_done.load(), progress_->files_total.load());
    EXPECT_EQ(progress_->bytes_done.load(), progress_->bytes_total.load());
    return summary.ok() ? *summary : RestoreSummary();
  }

  [[nodiscard]] std::string at(const std::string& path) const { return target_ + "/" + path; }
  [[nodiscard]] std::string read(const std::string& path) const {
    std::ostringstream content;
    content << std::ifstream(at(path), std::ios::binary).rdbuf();
    return content.str();
  }
  void put(const std::string& path, const std::string& bytes) const {
    stdfs::create_directories(stdfs::path(at(path)).parent_path());
    std::ofstream(at(path), std::ios::binary) << bytes;
  }
  [[nodiscard]] struct stat status(const std::string& path) const {
    struct stat result {};
    EXPECT_EQ(lstat(at(path).c_str(), &result), 0) << path;
    return result;
  }
  [[nodiscard]] bool exists(const std::string& path) const {
    struct stat result {};
    return lstat(at(path).c_str(), &result) == 0;
  }

  MemoryStore store_;
  std::unique_ptr<store::KeyRing> keys_;
  std::unique_ptr<store::TreeWriter> writer_;
  std::unique_ptr<store::TreeReader> trees_;
  std::string base_, target_;
  std::uint64_t inode_ = 100;
  std::atomic<bool> cancel_{false};
  std::map<std::string, std::string> failures_;
  std::map<std::string, RestoreAction> actions_;
  std::vector<std::string> limited_;
  std::unique_ptr<RestoreProgress> progress_;
};

TEST_F(Restore, BringsBackFilesOfEveryShape) {
  const std::string odd("new\nline \xff\xfe", 11);
  const std::string large = pattern(900'000, 1);
  const Entry tree = root({file("empty", ""), file("inline", "hello"), file("large", large),
                           file(std::string(255, 'n'), "long"), file(odd, "odd"),
                           folder("deep", {folder("er", {file("x", pattern(100, 2))})})});
  const RestoreSummary summary = run_well(tree);
  EXPECT_EQ(read("empty"), "");
  EXPECT_EQ(read("inline"), "hello");
  EXPECT_EQ(read("large"), large);
  EXPECT_EQ(read(std::string(255, 'n')), "long");
  EXPECT_EQ(read(odd), "odd");
  EXPECT_EQ(read("deep/er/x"), pattern(100, 2));
  EXPECT_EQ(summary.failed, 0u);
  EXPECT_EQ(summary.folders, 3u);
  EXPECT_EQ(summary.created, 8u);
  EXPECT_EQ(summary.bytes, 900'000u + 5 + 4 + 3 + 100);
}

TEST_F(Restore, SetsTimesBefore1970AndAfter2038OfFilesLinksAndFolders) {
  struct Case {
    const char* name;
    store::Timestamp time;
  };
  const Case cases[] = {{"1969", {-1, 999'999'999}}, {"2200", {7'258'118'400, 1}}};
  std::vector<Entry> entries;
  for (const Case& c : cases) {
    for (Entry entry :
         {file(std::string("f") + c.name, "x"), link_to(std::string("l") + c.name, "x"),
          folder(std::string("d") + c.name, {file("inside", "x")})}) {
      entry.mtime = c.time;
      entries.push_back(entry);
    }
  }
  run_well(root(entries));
  for (const Case& c : cases) {
    for (const char* kind : {"f", "l", "d"}) {
      const struct stat found = status(std::string(kind) + c.name);
      EXPECT_EQ(found.st_mtim.tv_sec, c.time.seconds) << kind << c.name;
      EXPECT_EQ(found.st_mtim.tv_nsec, c.time.nanoseconds) << kind << c.name;
    }
  }
  EXPECT_EQ(status(".").st_mtim.tv_nsec, 123'456'789);
}

TEST_F(Restore, LinksNamesOfOneFileAcrossFolders) {
  Entry first = file("a", pattern(5000, 3));
  first.links = 3;
  Entry second = first, third = first, fifo = base("p", FileType::fifo, 0600);
  second.name = "b";
  fifo.links = 2;
  Entry fifo2 = fifo;
  fifo2.name = "q";
  run_well(root({folder("one", {first, fifo}), folder("two", {second}), third, fifo2}));
  EXPECT_EQ(status("one/a").st_nlink, 3u);
  EXPECT_EQ(status("one/a").st_ino, status("two/b").st_ino);
  EXPECT_EQ(status("one/a").st_ino, status("a").st_ino);
  EXPECT_EQ(status("one/p").st_ino, status("q").st_ino);
  EXPECT_EQ(read("two/b"), pattern(5000, 3));
  // A second run finds the links as they are.
  run_well(root({folder("one", {first, fifo}), folder("two", {second}), third, fifo2}),
           {.overwrite = Overwrite::if_changed});
  EXPECT_EQ(actions_.at("two/b"), RestoreAction::kept);
  EXPECT_EQ(status("one/a").st_nlink, 3u);
}

TEST_F(Restore, TellsApartEqualInodesOfTwoVolumes) {
  Entry one = file("x", pattern(100, 1)), two = file("x", pattern(100, 2));
  one.links = two.links = 2;
  two.inode = one.inode;
  Entry left = folder("", {one}), right = folder("", {two});
  Entry* const roots[] = {&left, &right};
  ASSERT_TRUE(writer_->finish(roots).ok());
  ASSERT_TRUE(run({{"left", left}, {"right", right}}).ok());
  EXPECT_EQ(read("left/x"), pattern(100, 1));
  EXPECT_EQ(read("right/x"), pattern(100, 2));
}

TEST_F(Restore, KeepsHolesAndAllocatesWrittenZeros) {
  const std::uint64_t gap = 16u << 20;
  const std::string bytes = pattern(4096, 5);
  const Entry sparse = extents_file(
      "sparse", {{Extent::Kind::hole, gap, 0, {}}, data(bytes), {Extent::Kind::hole, gap, 0, {}}});
  const Entry zeros = extents_file("zeros", {{Extent::Kind::zero, 1u << 20, 0, {}}});
  run_well(root({sparse, zeros}), {.verify = true});
  EXPECT_EQ(status("sparse").st_size, static_cast<off_t>(2 * gap + 4096));
  EXPECT_LT(status("sparse").st_blocks, 100);
  EXPECT_EQ(read("sparse").substr(gap, 4096), bytes);
  EXPECT_GE(status("zeros").st_blocks, (1 << 20) / 512);
  EXPECT_EQ(read("zeros"), std::string(1u << 20, '\0'));
}

TEST_F(Restore, FillsBigFilesInSegments) {
  std::vector<Extent> extents;
  std::string whole;
  for (unsigned i = 0; i < 45; ++i) {
    const std::string piece = pattern(1'000'003, i);
    whole += piece;
    extents.push_back(data(piece));
  }
  const Entry tree = root({extents_file("big", extents)});
  run_well(tree, {.verify = true, .threads = 3});
  EXPECT_EQ(read("big"), whole);
  EXPECT_EQ(status("big").st_mtim.tv_nsec, 123'456'789);
}

TEST_F(Restore, DecodesAStreamChunkOnce) {
  std::string stream;
  std::vector<Entry> entries;
  for (unsigned i = 0; i < 100; ++i) stream += pattern(100, i);
  const ChunkId id = chunk(stream);
  for (unsigned i = 0; i < 100; ++i) {
    entries.push_back(
        extents_file(std::to_string(1000 + i), {{Extent::Kind::data, 100, i * 100, id}}));
  }
  const Entry tree = root(entries);
  run_well(tree);
  EXPECT_EQ(read("1042"), pattern(100, 42));
  EXPECT_LE(store_.gets(), 4);  // the pages, and the chunk
}

TEST_F(Restore, BringsBackAFolderOfAHundredThousandNames) {
  constexpr std::uint64_t kNames = test::kSanitized ? 20'000 : 100'000;
  std::vector<Entry> entries;
  for (std::uint64_t i = 0; i < kNames; ++i) {
    entries.push_back(i % 100 == 0 ? file("f" + std::to_string(i), "x")
                                   : link_to("l" + std::to_string(i), "x"));
  }
  EXPECT_EQ(run_well(root({folder("many", entries)})).created, kNames + 1);
}

TEST_F(Restore, GoesDeeperThanPathsMayBeLong) {
  constexpr int kDepth = 600;
  const std::string name(200, 'd');
  Entry entry = file("bottom", "here");
  for (int i = 0; i < kDepth; ++i) entry = folder(name, {entry});
  run_well(root({entry, file("zlast", "x")}), {.verify = true});
  Fd at(open(target_.c_str(), O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < kDepth; ++i) {
    at = Fd(openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(at.is_open()) << i;
    struct stat found {};
    ASSERT_EQ(fstat(at.get(), &found), 0);
    ASSERT_EQ(found.st_mtim.tv_nsec, 123'456'789) << i;
  }
  EXPECT_EQ(faccessat(at.get(), "bottom", F_OK, 0), 0);
  EXPECT_EQ(run_well(root({file("zlast", "x")}), {.delete_extra = true}).removed, 1u);
}

// Files that share chunks go to the threads in long runs: their folders wait for them.
TEST_F(Restore, BringsBackManyAndDeepFoldersWithFewDescriptors) {
  const std::string shared = pattern(4096, 7);
  const ChunkId id = chunk(shared);
  std::uint32_t next = 0;
  const auto small = [&](const std::string& name) {
    next = (next + 1) % 4000;
    return extents_file(name, {{Extent::Kind::data, 70, next, id}});
  };
  std::vector<Entry> entries;
  for (int i = 0; i < 5000; ++i) {
    entries.push_back(folder("d" + std::to_string(i), {small("file")}));
  }
  Entry deep = folder("c", {small("before")});
  for (int i = 0; i < 600; ++i) deep = folder("c", {small("before"), deep, small("later")});
  entries.push_back(deep);
  const Entry tree = root(entries);
  const test::DescriptorLimit limit(256);
  EXPECT_EQ(run_well(tree, {.verify = true}).failed, 0u);
  EXPECT_EQ(read("d4999/file").size(), 70u);
  EXPECT_EQ(status("d0").st_mtim.tv_nsec, 123'456'789);
  EXPECT_EQ(status("c/c/c/c/c").st_mtim.tv_nsec, 123'456'789);
}

// The number of a file that was deleted while it was walked may be another's in the same snapshot.
TEST_F(Restore, LinksOnlyNamesOfOneFile) {
  const auto linked = [&](const std::string& name, const std::string& bytes, std::int64_t ctime) {
    Entry entry = file(name, bytes);
    entry.inode = 77;
    entry.links = 2;
    entry.ctime.seconds = ctime;
    return entry;
  };
  run_well(root({linked("a", "one", 1), linked("b", "one", 1), linked("c", "two", 2),
                 linked("d", "two", 2)}));
  EXPECT_EQ(read("b"), "one");
  EXPECT_EQ(read("c"), "two");
  EXPECT_EQ(status("a").st_ino, status("b").st_ino);
  EXPECT_EQ(status("c").st_ino, status("d").st_ino);
  EXPECT_NE(status("a").st_ino, status("c").st_ino);
}

TEST_F(Restore, BringsBackModesAttributesAndSpecialFiles) {
  Entry set_id = file("setid", "x");
  set_id.mode = 06755;
  Entry closed = folder("closed", {file("x", "x")});
  closed.mode = 01555;
  Entry tagged = file("tagged", "x");
  tagged.xattrs = {{"user.colour", {'r', 'e', 'd'}}};
  Entry dangling = link_to("dangling", std::string("/nowhere/\xff\n", 11));
  Entry sticky_folder = folder("tagged-folder", {});
  sticky_folder.xattrs = {{"user.a", {}}};
  const Entry tree =
      root({set_id, closed, tagged, dangling, sticky_folder, base("fifo", FileType::fifo, 0640),
            base("socket", FileType::socket, 0600)});
  run_well(tree);
  EXPECT_EQ(status("setid").st_mode & 07777u, 06755u);
  EXPECT_EQ(status("closed").st_mode & 07777u, 01555u);
  EXPECT_TRUE(S_ISFIFO(status("fifo").st_mode));
  EXPECT_EQ(status("fifo").st_mode & 07777u, 0640u);
  EXPECT_TRUE(S_ISSOCK(status("socket").st_mode));
  char value[8] = {};
  if (limited_.empty()) {
    EXPECT_EQ(getxattr(at("tagged").c_str(), "user.colour", value, sizeof value), 3);
    EXPECT_EQ(getxattr(at("tagged-folder").c_str(), "user.a", value, sizeof value), 0);
  }
  EXPECT_EQ(stdfs::read_symlink(at("dangling")).native(), std::string("/nowhere/\xff\n", 11));
}

TEST_F(Restore, BringsBackOwnersDevicesAndCapabilitiesForRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Entry owned = file("owned", "x");
  owned.uid = 4294967294u;
  owned.gid = 12345;
  owned.mode = 04711;
  Entry link = link_to("link", "x");
  link.uid = 77;
  Entry device = base("null", FileType::char_device, 0666);
  device.device = makedev(1, 3);
  Entry disk = base("disk", FileType::block_device, 0660);
  disk.device = makedev(7, 200);
  Entry capable = file("capable", "x");
  capable.xattrs = {
      {"security.capability", {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}};
  run_well(root({owned, link, device, disk, capable}));
  EXPECT_EQ(status("owned").st_uid, 4294967294u);
  EXPECT_EQ(status("owned").st_gid, 12345u);
  EXPECT_EQ(status("owned").st_mode & 07777u, 04711u);
  EXPECT_EQ(status("link").st_uid, 77u);
  EXPECT_TRUE(S_ISCHR(status("null").st_mode));
  EXPECT_EQ(status("null").st_rdev, makedev(1, 3));
  EXPECT_TRUE(S_ISBLK(status("disk").st_mode));
  EXPECT_EQ(getxattr(at("capable").c_str(), "security.capability", nullptr, 0), 20);
}

TEST_F(Restore, ReplacesLinksInTheTargetAndFollowsNone) {
  const std::string outside = base_ + "/outside";
  stdfs::create_directories(outside);
  std::ofstream(outside + "/file") << "untouched";
  stdfs::create_directories(target_);
  stdfs::create_symlink(outside, at("folder"));
  stdfs::create_symlink(outside + "/file", at("file"));
  const Entry tree = root({folder("folder", {file("file", "new")}), file("file", "new")});
  run_well(tree);
  std::ifstream in(outside + "/file");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "untouched");
  EXPECT_TRUE(S_ISDIR(status("folder").st_mode));
  EXPECT_TRUE(S_ISREG(status("file").st_mode));
  EXPECT_EQ(read("folder/file"), "new");
}

TEST_F(Restore, OverwritesAsTold) {
  struct Case {
    const char* name;
    Overwrite overwrite;
    std::int64_t standing_mtime;
    const char* wanted;
  };
  const std::int64_t same = 1'700'000'000;
  const Case cases[] = {
      {"always", Overwrite::always, same + 100, "new"},
      {"never", Overwrite::never, same - 100, "old"},
      {"if newer and it is", Overwrite::if_newer, same - 100, "new"},
      {"if newer and it is not", Overwrite::if_newer, same + 100, "old"},
      {"if changed and it did", Overwrite::if_changed, same - 100, "new"},
      {"if changed and it did not", Overwrite::if_changed, same, "old"},
  };
  const Entry tree = root({file("file", "new"), file("other", "other")});
  for (const Case& c : cases) {
    put("file", "old");
    const timespec times[2] = {{0, UTIME_OMIT}, {c.standing_mtime, 123'456'789}};
    ASSERT_EQ(utimensat(AT_FDCWD, at("file").c_str(), times, 0), 0);
    run_well(tree, {.overwrite = c.overwrite, .verify = c.wanted[0] == 'n'});
    EXPECT_EQ(read("file"), c.wanted) << c.name;
    EXPECT_EQ(read("other"), "other") << c.name;
    stdfs::remove_all(target_);
  }
}

TEST_F(Restore, LeavesNoTemporaryNamesBehind) {
  const Entry good = file("good", pattern(200, 1)), bad = file("bad", pattern(200, 2));
  const Entry tree = root({good, bad});
  store_.lose(chunk(pattern(200, 2)));
  put("good", "old");
  put("bad", "old");
  const auto summary = run({{"", tree}});
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->failed, 1u);
  EXPECT_EQ(failures_.count("bad"), 1u);
  EXPECT_EQ(read("bad"), "old");
  EXPECT_EQ(read("good"), pattern(200, 1));
  EXPECT_EQ(std::distance(stdfs::directory_iterator(target_), stdfs::directory_iterator()), 2);
  EXPECT_EQ(progress_->bytes_done.load(), progress_->bytes_total.load());
}

TEST_F(Restore, RefusesAFullFolderInTheWayOfAFileUnlessToldToDelete) {
  const Entry tree = root({file("x", "new")});
  put("x/inside", "precious");
  ASSERT_TRUE(run({{"", tree}}).ok());
  EXPECT_NE(failures_.at("x").find("--delete"), std::string::npos);
  EXPECT_EQ(read("x/inside"), "precious");
  run_well(tree, {.delete_extra = true});
  EXPECT_EQ(read("x"), "new");
}

TEST_F(Restore, DeletesOnlyWhatTheSnapshotLacks) {
  Entry unreadable = folder("unreadable", {});
  unreadable.flags = store::kUnreadable;
  Entry not_crossed = folder("mounted", {});
  not_crossed.flags = store::kNotCrossed;
  const Entry tree = root({file("b", "b"), folder("d", {file("k", "k")}), unreadable, not_crossed});
  stdfs::create_directories(base_ + "/outside");
  std::ofstream(base_ + "/outside/file") << "x";
  put("a", "extra");
  put("c/deep/er", "extra");
  put("d/extra", "extra");
  put("z", "extra");
  put("unreadable/kept", "kept");
  put("mounted/kept", "kept");
  stdfs::create_directory_symlink(base_ + "/outside", at("link"));
  const auto dry = run({{"", tree}}, {.delete_extra = true, .dry_run = true});
  ASSERT_TRUE(dry.ok());
  EXPECT_EQ(dry->removed, 5u);
  EXPECT_TRUE(exists("c/deep/er"));
  EXPECT_FALSE(exists("b"));
  const auto summary = run({{"", tree}}, {.delete_extra = true});
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->removed, 5u);
  for (const char* gone : {"a", "c", "d/extra", "z", "link"}) EXPECT_FALSE(exists(gone)) << gone;
  for (const char* there : {"b", "d/k", "unreadable/kept", "mounted/kept"}) {
    EXPECT_TRUE(exists(there)) << there;
  }
  EXPECT_TRUE(stdfs::exists(base_ + "/outside/file"));
  EXPECT_EQ(failures_.count("unreadable"), 1u);
}

TEST_F(Restore, DryRunTouchesNothing) {
  const Entry tree = root({folder("d", {file("x", "x")}), file("y", "y")});
  run_well(tree, {.dry_run = true});
  EXPECT_FALSE(stdfs::exists(target_));
  EXPECT_EQ(actions_.at("d/x"), RestoreAction::created);
  put("y", "old");
  run_well(tree, {.dry_run = true});
  EXPECT_EQ(actions_.at("y"), RestoreAction::replaced);
  EXPECT_EQ(read("y"), "old");
}

TEST_F(Restore, VerifyNamesAFileThatTheDiskChanged) {
  const Entry tree = root({file("kept", pattern(100, 1)), file("fine", pattern(100, 2))});
  put("kept", pattern(100, 9));
  const timespec times[2] = {{0, UTIME_OMIT}, {1'700'000'000, 123'456'789}};
  ASSERT_EQ(utimensat(AT_FDCWD, at("kept").c_str(), times, 0), 0);
  const auto summary = run({{"", tree}}, {.overwrite = Overwrite::if_changed, .verify = true});
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->verified, 1u);
  EXPECT_NE(failures_.at("kept").find("differs"), std::string::npos);
}

TEST_F(Restore, TakesInheritedAclsOff) {
  // user::rwx, user:1234:rwx, group::r-x, mask::rwx, other::r-x as a default ACL.
  const std::uint8_t acl[] = {2,    0, 0, 0,                          //
                              1,    0, 7, 0, 0xff, 0xff, 0xff, 0xff,  //
                              2,    0, 7, 0, 0xd2, 4,    0,    0,     //
                              4,    0, 5, 0, 0xff, 0xff, 0xff, 0xff,  //
                              0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,  //
                              0x20, 0, 5, 0, 0xff, 0xff, 0xff, 0xff};
  const char* const kDefault = "system.posix_acl_default";
  if (setxattr(base_.c_str(), kDefault, acl, sizeof acl, 0) != 0) GTEST_SKIP() << "no ACLs here";
  stdfs::create_directories(target_ + "/old");
  const Entry tree = root({folder("new", {file("x", "x")}), folder("old", {file("y", "y")})});
  Entry volume = tree;
  ASSERT_TRUE(run({{"volume", volume}}).ok());
  run_well(tree);
  for (const char* path : {"volume", "volume/new/x", "new", "new/x", "old", "old/y"}) {
    EXPECT_LT(getxattr(at(path).c_str(), kDefault, nullptr, 0), 0) << path;
    EXPECT_LT(getxattr(at(path).c_str(), "system.posix_acl_access", nullptr, 0), 0) << path;
  }
}

TEST_F(Restore, RefusesTargetsThatMeetTheRepository) {
  const Entry tree = root({file("x", "x")});
  stdfs::create_directories(base_ + "/repository/packs");
  RestoreOptions options{.repository_path = base_ + "/repository"};
  for (const char* place : {"/repository", "/repository/packs", "/repository/new/../packs/x"}) {
    target_ = base_ + place;
    const auto result = run({{"", tree}}, options);
    ASSERT_FALSE(result.ok()) << place;
    EXPECT_EQ(result.error().code, Code::invalid) << place;
  }
  target_ = base_;
  options.delete_extra = true;
  EXPECT_FALSE(run({{"", tree}}, options).ok());
  EXPECT_TRUE(stdfs::exists(base_ + "/repository/packs"));
  options.delete_extra = false;
  EXPECT_TRUE(run({{"", tree}}, options).ok());
}

TEST_F(Restore, StopsWhenCancelled) {
  const Entry tree = root({file("x", pattern(100, 1))});
  cancel_ = true;
  const auto result = run({{"", tree}});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::cancelled);
  EXPECT_FALSE(exists("x"));
}

TEST_F(Restore, RestoresASingleFileIntoAFolderThatIsNotItsOwn) {
  Entry tree = root({file("x", pattern(100, 1))});
  const auto found = trees_->lookup(tree, "x");
  ASSERT_TRUE(found.ok() && found->has_value());
  put("other", "stays");
  const struct stat before = status(".");
  ASSERT_TRUE(run({{"x", **found}}).ok());
  EXPECT_EQ(read("x"), pattern(100, 1));
  EXPECT_EQ(read("other"), "stays");
  EXPECT_EQ(status(".").st_mode, before.st_mode);
}

}  // namespace
}  // namespace bygone::fs
