// SPDX-License-Identifier: Apache-2.0
#include "cli/select.h"

#include <gtest/gtest.h>

#include "tests/support/memory_repository.h"

namespace bygone::cli {
namespace {

using store::Entry;
using store::SourceKind;

class Select : public ::testing::Test {
 protected:
  // A container with two volumes, one mounted inside the other, and what bygone adds.
  store::Snapshot container() {
    test::MemoryRepository& r = repository_;
    const Entry data =
        r.write(r.folder("", {r.folder("base", {r.file("1", "one")}), r.link("current", "base"),
                              r.file("PG_VERSION", "16")}));
    const Entry archive = r.write(r.folder("", {r.file("wal", "log")}));
    store::Snapshot snapshot =
        r.snapshot(SourceKind::container, "db", kSecond, {{"archive", archive}, {"pgdata", data}});
    snapshot.volumes[0].destination = "/var/lib/data/archive";
    snapshot.volumes[1].destination = "/var/lib/data";
    snapshot.extra = r.write(r.folder("", {r.file("container.json", "{}")}));
    return snapshot;
  }
  std::string content(const store::Snapshot& snapshot, const std::string& path) {
    const auto entry = find_entry(repository_.trees(), snapshot, path);
    if (!entry.ok()) return "error: " + entry.error().message;
    if (!*entry) return "the snapshot";
    if ((*entry)->is_directory()) return "a folder";
    return std::string(as_text((*entry)->inline_bytes));
  }

  test::MemoryRepository repository_;
};

TEST_F(Select, FindsPathsByVolumeAndAsTheContainerSeesThem) {
  const store::Snapshot db = container();
  const std::pair<const char*, const char*> cases[] = {
      {"", "the snapshot"},
      {"pgdata", "a folder"},
      {"pgdata/base/1", "one"},
      {"./pgdata//base/./1", "one"},
      {"var/lib/data/base/1", "one"},
      {"var/lib/data", "a folder"},
      {"var/lib/data/archive/wal", "log"},
      {".bygone", "a folder"},
      {".bygone/container.json", "{}"},
  };
  for (const auto& [path, wanted] : cases) EXPECT_EQ(content(db, path), wanted) << path;
  EXPECT_NE(content(db, ".bygone/snapshot.json").find("\"source\": \"db\""), std::string::npos);
}

TEST_F(Select, SaysWhichPartOfAPathIsMissing) {
  const store::Snapshot db = container();
  const std::pair<const char*, const char*> cases[] = {
      {"pgdate/base", "no pgdate in the snapshot; it holds .bygone, archive, pgdata"},
      {"var/lib", "no var in the snapshot"},
      {"pgdata/bas/1", "no bas in pgdata"},
      {"pgdata/base/1/x", "pgdata/base/1 is not a folder"},
      {"pgdata/current/1", "pgdata/current is a symbolic link to base"},
      {"pgdata/../etc", ".."},
  };
  for (const auto& [path, says] : cases) {
    EXPECT_NE(content(db, path).find(says), std::string::npos) << path << content(db, path);
  }
}

TEST_F(Select, AFolderSourceHasItsTreeAtOnce) {
  test::MemoryRepository& r = repository_;
  const Entry tree = r.write(r.folder("", {r.file("file", "text"), r.folder(".bygone", {})}));
  const store::Snapshot etc = r.snapshot(SourceKind::folder, "etc", kSecond, {{"", tree}});
  EXPECT_EQ(content(etc, "file"), "text");
  EXPECT_EQ(content(etc, ""), "a folder");
  EXPECT_EQ(content(etc, ".bygone"), "a folder");  // its own
  EXPECT_TRUE(top_entries(etc).empty());
}

TEST_F(Select, ListsVolumesAndItsOwnFolder) {
  std::vector<std::string> names;
  for (const Entry& entry : top_entries(container())) names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{".bygone", "archive", "pgdata"}));
}

}  // namespace
}  // namespace bygone::cli
