// SPDX-License-Identifier: Apache-2.0
#include "fs/namespace.h"

#include <cerrno>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/memory_repository.h"

namespace bygone::fs {
namespace {

using store::SourceKind;
using test::Item;
using test::MemoryRepository;

constexpr Nanoseconds kFirst = 1710565032 * kSecond;  // 2024-03-16T04:57:12Z
constexpr Nanoseconds kSecondOne = kFirst + 3600 * kSecond;

class NamespaceTest : public testing::Test {
 protected:
  void SetUp() override {
    db1_ = repository_.commit(container(kFirst, "one"));
    db2_ = repository_.commit(container(kSecondOne, "two!"));
    etc_ = repository_.commit(repository_.snapshot(
        SourceKind::folder, "etc", kFirst,
        {{"", repository_.write(repository_.folder("", {repository_.file("hosts", "h")}))}}));
    data_ = repository_.commit(repository_.snapshot(
        SourceKind::volume, "data", kFirst,
        {{"", repository_.write(repository_.folder("", {repository_.file("v", "v")}))}}));
    open();
  }

  store::Snapshot container(Nanoseconds instant, std::string_view text) {
    Item linked = repository_.file("linked", "same");
    linked.entry.links = 2;
    Item again = linked;
    again.entry.name = "also";
    Item root =
        repository_.folder("", {repository_.folder("base", {repository_.file("1", text)}), linked,
                                again, repository_.link("to", "base/1"), unchanged_});
    store::Snapshot out = repository_.snapshot(SourceKind::container, "db", instant,
                                               {{"pgdata", repository_.write(std::move(root))}});
    Item extra = repository_.folder("", {repository_.file("container.json", "{}"),
                                         repository_.file("snapshot.json", "hidden")});
    extra.children[0].entry.inode = extra.children[1].entry.inode = 0;
    out.extra = repository_.write(std::move(extra));
    return out;
  }

  void open() {
    NamespaceOptions options;
    options.uid = 7;
    options.clock = [this] { return now_; };
    auto opened = Namespace::open(repository_, repository_.trees(), repository_.keys(), options);
    ASSERT_TRUE(opened.ok());
    names_ = *std::move(opened);
  }

  // The node at a path, looked up part by part without following links; 0 when there is none.
  Found walk(const std::string& path) {
    Found at;
    at.node = kRootNode;
    std::size_t from = 0;
    while (from < path.size()) {
      const std::size_t end = std::min(path.find('/', from), path.size());
      const auto next = names_->lookup(at.node, path.substr(from, end - from));
      if (!next.ok() || !next->found) return {};
      at = *next->found;
      from = end + 1;
    }
    return at;
  }
  std::string link(const std::string& path) {
    const auto target = names_->read_link(walk(path).node);
    return target.ok() ? *target : "no link";
  }
  std::vector<std::string> list(const std::string& path) {
    std::vector<std::string> out;
    const auto folder = names_->open_folder(walk(path).node);
    if (!folder.ok()) return {"error: " + folder.error().message};
    const auto listed =
        names_->list(*folder, 0, [&](const std::string& name, const Found& found, std::uint64_t) {
          out.push_back(name);
          names_->forget(found.node, 1);
          return true;
        });
    EXPECT_TRUE(listed.ok());
    return out;
  }
  std::string content(const std::string& path) {
    const auto file = names_->file(walk(path).node);
    if (!file.ok()) return "error: " + file.error().message;
    return std::string(as_text(file->entry->inline_bytes));
  }

  MemoryRepository repository_;
  Item unchanged_ = repository_.file("unchanged", "for ever");
  Nanoseconds now_ = kSecondOne + kDay;
  SnapshotPtr db1_, db2_, etc_, data_;
  std::unique_ptr<Namespace> names_;
};

using Names = std::vector<std::string>;

TEST_F(NamespaceTest, ListsSourcesInstantsVolumesAndEntries) {
  EXPECT_EQ(list(""), (Names{"db", "etc"}));
  EXPECT_EQ(list("db"), (Names{"2024-03-16T04:57", "2024-03-16T05:57", "latest"}));
  EXPECT_EQ(list("db/2024-03-16T04:57"), (Names{".bygone", "pgdata"}));
  EXPECT_EQ(list("db/2024-03-16T04:57/pgdata"),
            (Names{"also", "base", "linked", "to", "unchanged"}));
  EXPECT_EQ(list("etc/2024-03-16T04:57"), (Names{"hosts"}));
  EXPECT_EQ(content("db/2024-03-16T05:57/pgdata/base/1"), "two!");
}

TEST_F(NamespaceTest, FindsWhatIsNeverListed) {
  EXPECT_EQ(list("@volumes"), (Names{"data"}));
  EXPECT_EQ(list("@volumes/data"), (Names{"2024-03-16T04:57", "latest"}));
  EXPECT_EQ(content("@volumes/data/2024-03-16T04:57/v"), "v");
  EXPECT_EQ(list("@snapshots").size(), 4u);
  EXPECT_EQ(link("@snapshots/" + db1_->id.hex()), "../db/2024-03-16T04:57");
  EXPECT_EQ(link("@snapshots/" + data_->id.hex()), "../@volumes/data/2024-03-16T04:57");
  EXPECT_EQ(link("db+nas"), "db");
  EXPECT_EQ(link("@volumes/data+nas"), "data");
  EXPECT_EQ(walk("@snapshots/nonsense").node, 0u);
  EXPECT_EQ(walk("volume:data").node, 0u);
}

TEST_F(NamespaceTest, LeadsAnyInstantToItsSnapshot) {
  EXPECT_EQ(link("db/latest"), "2024-03-16T05:57");
  EXPECT_EQ(link("db/2024-03-16T05-57"), "2024-03-16T05:57");
  EXPECT_EQ(link("db/2024-03-16T05:30"), "2024-03-16T04:57");
  EXPECT_EQ(link("db/yesterday"), "2024-03-16T05:57");
  EXPECT_EQ(link("db/1d-ago"), "2024-03-16T05:57");
  EXPECT_EQ(link("db/id:" + db1_->id.hex().substr(0, 12)), "2024-03-16T04:57");
  EXPECT_EQ(walk("db/2023-01-01").node, 0u);
  EXPECT_EQ(walk("db/.hg").node, 0u);
}

class GroupsTest : public NamespaceTest {
 protected:
  // The snapshot of a member of `group`, whose runs are told apart by a number.
  SnapshotPtr member(const std::string& source, std::uint8_t run, Nanoseconds instant,
                     const std::string& host = "nas") {
    store::Snapshot out = repository_.snapshot(
        SourceKind::container, source, instant,
        {{"data", repository_.write(repository_.folder("", {repository_.file("of", source)}))}});
    out.group = "shop";
    out.run.bytes[0] = run;
    out.members = {"web", "queue"};
    out.host = host;
    out.host_id = "id of " + host;
    return repository_.commit(std::move(out));
  }
  void refresh() { ASSERT_TRUE(names_->refresh().ok()); }
};

TEST_F(GroupsTest, LeadTheMembersOfAnInstantToTheirSnapshots) {
  EXPECT_EQ(list("@groups"), Names{});
  for (const std::string source : {"web", "queue"}) {
    member(source, 1, kFirst);
    member(source, 2, kSecondOne);
  }
  refresh();
  EXPECT_EQ(list("@groups"), (Names{"shop"}));
  EXPECT_EQ(list("@groups/shop"), (Names{"2024-03-16T04:57", "2024-03-16T05:57", "latest"}));
  EXPECT_EQ(list("@groups/shop/2024-03-16T05:57"), (Names{"queue", "web"}));
  EXPECT_EQ(link("@groups/shop/2024-03-16T04:57/web"), "../../../web/2024-03-16T04:57");
  EXPECT_EQ(content("web/2024-03-16T04:57/data/of"), "web");
  EXPECT_EQ(link("@groups/shop/latest"), "2024-03-16T05:57");
  EXPECT_EQ(link("@groups/shop/2024-03-16T05:30"), "2024-03-16T04:57");
  EXPECT_EQ(walk("@groups/shop/2023-01-01").node, 0u);
  EXPECT_EQ(walk("@groups/shop/2024-03-16T05:57/db").node, 0u);
  EXPECT_EQ(walk("@groups/else").node, 0u);
  EXPECT_EQ(names_->path(walk("@groups/shop/2024-03-16T05:57/web").node),
            "/@groups/shop/2024-03-16T05:57/web");
  EXPECT_EQ(names_->path(walk("@groups/shop/latest").node), "/@groups/shop/latest");
  EXPECT_EQ(walk("@groups/shop/latest").name, Lifetime::moment);
  EXPECT_EQ(walk("@groups/shop/2024-03-16T05:57/web").name, Lifetime::brief);
  EXPECT_EQ(walk("@groups/shop/2024-03-16T04:57").attributes.mtime.seconds, kFirst / kSecond);
}

TEST_F(GroupsTest, ShowOnlyInstantsThatAreComplete) {
  member("web", 1, kFirst);
  refresh();
  EXPECT_EQ(list("@groups"), Names{});
  member("queue", 1, kFirst);
  const NodeId root = walk("@groups").node;
  const auto changes = names_->refresh();
  ASSERT_TRUE(changes.ok());
  EXPECT_TRUE(std::any_of(changes->begin(), changes->end(), [&](const Change& change) {
    return change.folder == root && change.name == "shop";
  }));
  const NodeId shop = walk("@groups/shop").node;
  const SnapshotPtr web = member("web", 2, kSecondOne);
  refresh();
  EXPECT_EQ(list("@groups/shop"), (Names{"2024-03-16T04:57", "latest"}));
  member("queue", 2, kSecondOne);
  const auto more = names_->refresh();
  ASSERT_TRUE(more.ok());
  EXPECT_TRUE(std::any_of(more->begin(), more->end(), [&](const Change& change) {
    return change.folder == shop && change.name == "2024-03-16T05:57";
  }));
  EXPECT_EQ(link("@groups/shop/latest"), "2024-03-16T05:57");
  // A member's snapshot is forgotten: the others of that instant are no group any more.
  repository_.remove(web->id);
  refresh();
  EXPECT_EQ(list("@groups/shop"), (Names{"2024-03-16T04:57", "latest"}));
  EXPECT_EQ(walk("@groups/shop").attributes.mtime.seconds, now_ / kSecond);
}

TEST_F(GroupsTest, OfOneNameOnTwoHostsAreTwo) {
  for (const std::string source : {"web", "queue"}) {
    member(source, 1, kFirst);
    member(source, 2, kSecondOne, "cloud");
  }
  refresh();
  EXPECT_EQ(list("@groups"), (Names{"shop", "shop+cloud"}));
  EXPECT_EQ(list("@groups/shop+cloud"), (Names{"2024-03-16T05:57", "latest"}));
}

TEST_F(NamespaceTest, TellsHowLongAnAnswerHolds) {
  const auto expect = [&](const std::string& path, Lifetime name, Lifetime content) {
    EXPECT_EQ(walk(path).name, name) << path;
    EXPECT_EQ(walk(path).content, content) << path;
  };
  expect("db", Lifetime::brief, Lifetime::brief);
  expect("db/latest", Lifetime::moment, Lifetime::moment);
  expect("db/2024-03-16T05-57", Lifetime::moment, Lifetime::moment);
  expect("db/2024-03-16T05:57", Lifetime::brief, Lifetime::forever);
  expect("etc/2024-03-16T04:57", Lifetime::brief, Lifetime::forever);
  expect("db/2024-03-16T05:57/pgdata", Lifetime::forever, Lifetime::forever);
  expect("db/2024-03-16T05:57/pgdata/base/1", Lifetime::forever, Lifetime::forever);

  EXPECT_FALSE(names_->lookup(kRootNode, "later")->absent_for_ever);
  EXPECT_FALSE(names_->lookup(walk("db").node, "2023")->absent_for_ever);
  EXPECT_TRUE(names_->lookup(walk("db/2024-03-16T05:57").node, "none")->absent_for_ever);
  EXPECT_TRUE(names_->lookup(walk("db/2024-03-16T05:57/pgdata").node, "none")->absent_for_ever);
}

TEST_F(NamespaceTest, GivesAMovingLinkANewNodeForEachTarget) {
  const NodeId before = walk("db/latest").node;
  EXPECT_EQ(walk("db/latest").node, before);
  repository_.commit(container(kSecondOne + 60 * kSecond, "three"));
  ASSERT_TRUE(names_->refresh().ok());
  EXPECT_EQ(link("db/latest"), "2024-03-16T05:58");
  EXPECT_NE(walk("db/latest").node, before);
}

TEST_F(NamespaceTest, ShowsTheSnapshotItselfInDotBygone) {
  const std::string about = "db/2024-03-16T05:57/.bygone";
  EXPECT_EQ(list(about), (Names{"snapshot.json", "container.json"}));
  EXPECT_EQ(walk(about).attributes.mode, 0700u);
  EXPECT_EQ(walk(about).attributes.uid, 7u) << "who mounts";
  EXPECT_EQ(content(about + "/container.json"), "{}");
  const std::string text = content(about + "/snapshot.json");
  EXPECT_EQ(walk(about + "/snapshot.json").attributes.size, text.size());
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["id"], db2_->id.hex());
  EXPECT_EQ(json["time"], "2024-03-16T05:57:12+00:00");
  EXPECT_EQ(json["volumes"][0]["name"], "pgdata");
  EXPECT_EQ(walk("db/2024-03-16T05:57/pgdata/.bygone").node, 0u) << "it stands beside the volumes";
}

TEST_F(NamespaceTest, FindsDotBygoneOfAFolderUnlessTheFolderHasItsOwn) {
  EXPECT_EQ(list("etc/2024-03-16T04:57"), (Names{"hosts"})) << "found, never listed";
  EXPECT_EQ(list("etc/2024-03-16T04:57/.bygone"), (Names{"snapshot.json"}));
  repository_.commit(repository_.snapshot(
      SourceKind::folder, "own", kFirst,
      {{"", repository_.write(repository_.folder("", {repository_.file(".bygone", "mine")}))}}));
  ASSERT_TRUE(names_->refresh().ok());
  EXPECT_EQ(content("own/2024-03-16T04:57/.bygone"), "mine");
  EXPECT_EQ(list("own/2024-03-16T04:57"), (Names{".bygone"}));
}

TEST_F(NamespaceTest, NumbersInodesByContent) {
  const auto ino = [&](const std::string& path) { return walk(path).attributes.ino; };
  const std::string first = "db/2024-03-16T04:57/", second = "db/2024-03-16T05:57/";
  EXPECT_EQ(ino(first + "pgdata/unchanged"), ino(second + "pgdata/unchanged"));
  EXPECT_NE(ino(first + "pgdata/base/1"), ino(second + "pgdata/base/1"));
  EXPECT_EQ(ino(first + "pgdata/linked"), ino(first + "pgdata/also")) << "hard links";
  EXPECT_NE(ino(first + "pgdata/linked"), ino(second + "pgdata/linked")) << "of one snapshot";

  std::set<std::uint64_t> seen;
  for (const std::string& path :
       {std::string("db"), std::string("etc"), std::string("@volumes"), std::string("@snapshots"),
        std::string("db/latest"), std::string("db/2024-03-16T04:57"), first + "pgdata",
        first + "pgdata/base", first + ".bygone", first + ".bygone/snapshot.json",
        first + ".bygone/container.json", second + ".bygone/container.json", second + "pgdata",
        second + "pgdata/base", std::string("etc/2024-03-16T04:57")}) {
    const std::uint64_t number = ino(path);
    EXPECT_TRUE(seen.insert(number).second) << path;
    EXPECT_NE(number, 0u) << path;
    EXPECT_EQ(number >> 62, 0u) << path << ": overlayfs needs two bits";
  }
  const auto before = ino(first + "pgdata/base/1");
  open();
  EXPECT_EQ(ino(first + "pgdata/base/1"), before) << "the same after a remount";
}

TEST_F(NamespaceTest, TellsTheKernelWhatAppearedAndVanished) {
  const NodeId db = walk("db").node;
  ASSERT_TRUE(names_->refresh().ok());
  EXPECT_TRUE(names_->refresh()->empty()) << "nothing happened";

  repository_.commit(container(kSecondOne + 60 * kSecond, "three"));
  repository_.remove(db1_->id);
  repository_.commit(repository_.snapshot(SourceKind::folder, "new", kFirst,
                                          {{"", repository_.write(repository_.folder(""))}}));
  const auto changes = names_->refresh();
  ASSERT_TRUE(changes.ok());
  std::set<std::pair<NodeId, std::string>> seen;
  for (const Change& change : *changes) seen.insert({change.folder, change.name});
  const std::set<std::pair<NodeId, std::string>> expected = {{kRootNode, "new"},
                                                             {kRootNode, ""},
                                                             {db, "2024-03-16T04:57"},
                                                             {db, "2024-03-16T05:58"},
                                                             {db, ""}};
  EXPECT_EQ(seen, expected) << "etc and @snapshots are not known to the kernel, or as before";
  EXPECT_EQ(list("db"), (Names{"2024-03-16T05:57", "2024-03-16T05:58", "latest"}));
}

TEST_F(NamespaceTest, MovesTheTimeOfAFolderThatChanged) {
  EXPECT_EQ(walk("db").attributes.mtime.seconds, kSecondOne / kSecond);
  const auto etc = walk("etc").attributes.mtime;
  repository_.remove(db1_->id);
  ASSERT_TRUE(names_->refresh().ok());
  EXPECT_EQ(walk("db").attributes.mtime.seconds, now_ / kSecond);
  EXPECT_EQ(walk("etc").attributes.mtime, etc);
}

TEST_F(NamespaceTest, LetsASourceGoWithItsLastSnapshot) {
  const NodeId etc = walk("etc").node;
  repository_.remove(etc_->id);
  ASSERT_TRUE(names_->refresh().ok());
  EXPECT_EQ(list(""), (Names{"db"}));
  EXPECT_FALSE(names_->lookup(etc, "2024-03-16T04:57")->found);
  EXPECT_TRUE(names_->attributes(etc).ok()) << "who stands in it may still look at it";
}

TEST_F(NamespaceTest, AnswersStaleOnlyWhenTheSnapshotIsGone) {
  const NodeId file = walk("db/2024-03-16T04:57/pgdata/base/1").node;
  const Error lost{Code::not_found, ENOENT, "no pack has the chunk"};
  EXPECT_EQ(names_->error_number(file, lost), EIO);
  repository_.remove(db1_->id);
  EXPECT_EQ(names_->error_number(file, lost), ESTALE);
  EXPECT_EQ(names_->attributes(12345).error().errnum, ESTALE);
}

TEST_F(NamespaceTest, RefusesWhatAFileSystemRefuses) {
  EXPECT_EQ(names_->lookup(kRootNode, std::string(256, 'x')).error().errnum, ENAMETOOLONG);
  EXPECT_TRUE(names_->lookup(kRootNode, std::string(255, 'x')).ok());
  const NodeId file = walk("etc/2024-03-16T04:57/hosts").node;
  EXPECT_EQ(names_->lookup(file, "x").error().errnum, ENOTDIR);
  EXPECT_EQ(names_->open_folder(file).error().errnum, ENOTDIR);
  EXPECT_EQ(names_->read_link(file).error().errnum, EINVAL);
  EXPECT_EQ(names_->file(kRootNode).error().errnum, EISDIR);
}

// An empty listing would make `rsync --delete` empty the folder that a backup could not read.
TEST_F(NamespaceTest, AnswersAnErrorInAFolderThatCouldNotBeListed) {
  const auto unreadable = [&](std::string name, std::vector<Item> children) {
    Item out = repository_.folder(std::move(name), std::move(children));
    out.entry.flags = store::kUnreadable;
    return out;
  };
  Item root = repository_.folder(
      "", {unreadable("lost", {}),
           // its attributes alone could not be read
           unreadable("plain", {repository_.file("x", "kept")}), repository_.folder("empty")});
  repository_.commit(repository_.snapshot(SourceKind::container, "web", kFirst,
                                          {{"data", repository_.write(std::move(root))},
                                           {"gone", repository_.write(unreadable("", {}))}}));
  ASSERT_TRUE(names_->refresh().ok());
  const std::string base = "web/2024-03-16T04:57/";
  EXPECT_EQ(list(base + "data"), (Names{"empty", "lost", "plain"}));
  EXPECT_EQ(list(base + "data/empty"), Names());
  EXPECT_EQ(list(base + "data/plain"), Names{"x"});
  EXPECT_EQ(content(base + "data/plain/x"), "kept");
  for (const std::string& lost : {base + "data/lost", base + "gone"}) {
    const NodeId node = walk(lost).node;
    ASSERT_NE(node, 0u) << lost;
    EXPECT_TRUE(names_->attributes(node).ok()) << lost;
    const auto opened = names_->open_folder(node);
    ASSERT_FALSE(opened.ok()) << lost;
    EXPECT_EQ(names_->error_number(node, opened.error()), EIO) << lost;
    const auto found = names_->lookup(node, "x");
    ASSERT_FALSE(found.ok()) << lost;
    EXPECT_EQ(names_->error_number(node, found.error()), EIO) << lost;
  }
}

TEST_F(NamespaceTest, ForgetsEverythingThatTheKernelForgets) {
  const std::size_t before = names_->inodes().size();
  std::vector<NodeId> nodes;
  for (const char* path : {"", "db", "db/2024-03-16T04:57", "db/2024-03-16T04:57/pgdata",
                           "db/2024-03-16T04:57/pgdata/base"}) {
    list(path);
  }
  // Looked up from the top, forgotten from the top: the kernel promises no order.
  Found at;
  at.node = kRootNode;
  for (const char* part : {"db", "2024-03-16T04:57", "pgdata", "base", "1"}) {
    at = *names_->lookup(at.node, part)->found;
    nodes.push_back(at.node);
  }
  EXPECT_EQ(content("db/2024-03-16T04:57/pgdata/base/1"), "one");
  EXPECT_EQ(names_->path(at.node), "/db/2024-03-16T04:57/pgdata/base/1");
  for (const NodeId node : nodes) names_->forget(node, 1);
  EXPECT_GT(names_->inodes().size(), before) << "walk() above counted too";
  open();
  const std::size_t fresh = names_->inodes().size();
  nodes.clear();
  at.node = kRootNode;
  for (const char* part : {"db", "2024-03-16T04:57", "pgdata", "base", "1"}) {
    at = *names_->lookup(at.node, part)->found;
    nodes.push_back(at.node);
  }
  for (const NodeId node : nodes) names_->forget(node, 1);
  EXPECT_EQ(names_->inodes().size(), fresh);
}

TEST_F(NamespaceTest, GoesOnWithAListingWhereItStopped) {
  std::vector<Item> files;
  files.reserve(5000);
  for (int i = 0; i < 5000; ++i) files.push_back(repository_.file("file" + std::to_string(i), "x"));
  repository_.commit(
      repository_.snapshot(SourceKind::folder, "big", kFirst,
                           {{"", repository_.write(repository_.folder("", std::move(files)))}}));
  ASSERT_TRUE(names_->refresh().ok());
  const auto folder = names_->open_folder(walk("big/2024-03-16T04:57").node);
  ASSERT_TRUE(folder.ok());
  std::set<std::string> seen;
  std::uint64_t at = 0;
  for (bool more = true; more;) {
    more = false;
    int room = 37;
    ASSERT_TRUE(names_
                    ->list(*folder, at,
                           [&](const std::string& name, const Found& found, std::uint64_t next) {
                             if (room-- == 0) return !(more = true);
                             EXPECT_TRUE(seen.insert(name).second) << name;
                             EXPECT_EQ(walk("big/2024-03-16T04:57/" + name).node, found.node);
                             at = next;
                             return true;
                           })
                    .ok());
  }
  EXPECT_EQ(seen.size(), 5000u);
}

TEST_F(NamespaceTest, ShowsOnlyAttributesThatLinuxKnows) {
  Item file = repository_.file("f", "x");
  for (const char* name : {"security.capability", "system.posix_acl_access", "system.nfs4_acl",
                           "trusted.x", "user.x", "weird.x"}) {
    file.entry.xattrs.push_back({name, Bytes{1, 2}});
  }
  repository_.commit(repository_.snapshot(
      SourceKind::folder, "x", kFirst, {{"", repository_.write(repository_.folder("", {file}))}}));
  ASSERT_TRUE(names_->refresh().ok());
  Names shown;
  const auto xattrs = names_->xattrs(walk("x/2024-03-16T04:57/f").node);
  ASSERT_TRUE(xattrs.ok());
  for (const store::Xattr& xattr : *xattrs) shown.push_back(xattr.name);
  EXPECT_EQ(shown,
            (Names{"security.capability", "system.posix_acl_access", "trusted.x", "user.x"}));
}

TEST_F(NamespaceTest, CountsHolesOutOfWhatIsAllocated) {
  const std::string block(65536, 'd');
  std::vector<store::Extent> many;
  for (int i = 0; i < 200; ++i) {
    many.push_back(repository_.chunk(block));
    many.push_back(MemoryRepository::hole(1 << 20));
  }
  repository_.commit(repository_.snapshot(
      SourceKind::folder, "sparse", kFirst,
      {{"",
        repository_.write(repository_.folder(
            "", {repository_.file("few", {MemoryRepository::hole(1 << 20), repository_.chunk(block),
                                          MemoryRepository::zeros(1 << 16)}),
                 repository_.file("many", many)}))}}));
  ASSERT_TRUE(names_->refresh().ok());
  EXPECT_EQ(walk("sparse/2024-03-16T04:57/few").attributes.allocated, 131072u);
  EXPECT_EQ(walk("sparse/2024-03-16T04:57/many").attributes.allocated, 200u * 65536);
}

TEST_F(NamespaceTest, LeavesADamagedRecordOutAndServesTheRest) {
  struct Damaged : SnapshotSource {
    explicit Damaged(MemoryRepository& r) : repository(r) {}
    Result<std::vector<SnapshotId>> ids() override { return repository.ids(); }
    Result<store::Snapshot> get(const SnapshotId& id) override {
      if (id == bad) return Error{Code::corrupt, 0, "does not prove itself"};
      return repository.get(id);
    }
    MemoryRepository& repository;
    SnapshotId bad;
  } source(repository_);
  source.bad = db1_->id;
  auto names = Namespace::open(source, repository_.trees(), repository_.keys(), {});
  ASSERT_TRUE(names.ok());
  names_ = *std::move(names);
  EXPECT_EQ(list("db"), (Names{"2024-03-16T05:57", "latest"}));
}

TEST(Catalog, SaysWhatExistsWhenNothingMatches) {
  MemoryRepository repository;
  const store::Entry root = repository.write(repository.folder(""));
  repository.commit(repository.snapshot(SourceKind::container, "db", kFirst, {{"v", root}}));
  repository.commit(repository.snapshot(SourceKind::volume, "data", kFirst, {{"", root}}));
  const auto catalog = load_catalog(repository, kFirst);
  ASSERT_TRUE(catalog.ok());
  const auto none = (*catalog)->resolve({"web"}, kFirst);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, Code::not_found);
  EXPECT_EQ(none.error().message, "no source is called web; hint: there are db, volume:data");
  const auto early = (*catalog)->resolve({"db", "2020-01-01"}, kFirst);
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().message,
            "db has no snapshot at 2020-01-01; hint: there are 2024-03-16T04:57");
  EXPECT_TRUE((*catalog)->resolve({"volume:data"}, kFirst).ok());
  EXPECT_TRUE((*catalog)->resolve({"db+nas"}, kFirst).ok());
  EXPECT_EQ((*catalog)->resolve({"db", "nonsense"}, kFirst).error().code, Code::invalid);
}

TEST(Catalog, KeepsTwoSnapshotsOfOneListedNameApart) {
  MemoryRepository repository;
  const store::Entry root = repository.write(repository.folder(""));
  auto one = repository.snapshot(SourceKind::folder, "a", kFirst, {{"", root}});
  auto two = one;
  two.sequence = 5;
  repository.commit(one);
  repository.commit(two);
  const auto catalog = load_catalog(repository, kFirst);
  ASSERT_TRUE(catalog.ok());
  const History& history = (*catalog)->sources().at("a");
  EXPECT_EQ(history.points[0].listed_name, "2024-03-16T04:57");
  EXPECT_EQ(history.points[1].listed_name, "2024-03-16T04:57~2");
}

}  // namespace
}  // namespace bygone::fs
