// SPDX-License-Identifier: Apache-2.0
#include "ingest/discover.h"

#include <cerrno>

#include <unistd.h>

#include "ingest/host_view.h"
#include "tests/ingest/discover_fixture.h"

namespace bygone::ingest {
namespace {

using docker::Status;
using store::SourceKind;
using store::VolumeKind;

class Discover : public DiscoverFixture {};

// ---- what is selected ---------------------------------------------------------------------------

TEST_F(Discover, FillsInASource) {
  docker::Volume& volume = add_volume("pgdata");
  docker::Container& db = add("db");
  db.labels["com.docker.compose.project"] = "shop";
  db.mounts = {volume_at(volume, "/var/lib/postgresql/data")};
  const Source source = one("db");
  EXPECT_EQ(source.kind, SourceKind::container);
  EXPECT_EQ(source.name, "db");
  EXPECT_EQ(source.host_id, "ENGINE");
  EXPECT_EQ(source.host, "hostname");
  EXPECT_EQ(source.project, "shop");
  EXPECT_EQ(source.image, "image:1");
  EXPECT_EQ(source.image_id, "sha256:01");
  EXPECT_EQ(source.container_json, db.json);
  EXPECT_FALSE(source.error);
  EXPECT_TRUE(source.skipped.empty());
  ASSERT_EQ(source.volumes.size(), 1U);
  EXPECT_EQ(source.volumes[0].name, "pgdata");
  EXPECT_EQ(source.volumes[0].origin, "pgdata");
  EXPECT_EQ(source.volumes[0].destination, "/var/lib/postgresql/data");
  EXPECT_EQ(source.volumes[0].kind, VolumeKind::named);
  EXPECT_EQ(source.volumes[0].host_path, volume.mountpoint);
}

TEST_F(Discover, TakesAllButWhatIsDisabled) {
  docker::Volume& used = add_volume("used");
  add_volume("unused");
  add_volume("no-unused").labels["bygone.enable"] = "false";
  add_volume(std::string(64, 'a'));
  docker::Volume& used_by_disabled = add_volume("of-disabled");
  add("web").mounts = {volume_at(used, "/d")};
  add("stopped", Status::exited);
  docker::Container& off = add("off");
  off.labels["bygone.enable"] = "False";
  off.mounts = {volume_at(used_by_disabled, "/d")};
  EXPECT_EQ(names_of(all()),
            (Names{"stopped", "web", "volume:" + std::string(64, 'a'), "volume:unused"}));
}

TEST_F(Discover, TakesWhatIsNamedEvenIfDisabled) {
  docker::Volume& used = add_volume("used");
  add_volume("unused").labels["bygone.enable"] = "false";
  docker::Container& off = add("off");
  off.labels = {{"bygone.enable", "false"}, {"bygone.name", "label"}};
  off.mounts = {volume_at(used, "/d")};
  add("other");
  EXPECT_EQ(names_of(named({"/off"})), Names{"label"});
  EXPECT_EQ(names_of(named({"label", "off", "label"})), Names{"label"});
  EXPECT_EQ(names_of(named({"volume:unused", "volume:used", "other"})),
            (Names{"other", "volume:unused", "volume:used"}));
}

TEST_F(Discover, TakesAProject) {
  docker::Volume& used = add_volume("used");
  for (const char* name : {"left", "not-left"}) {
    add_volume(name).labels["com.docker.compose.project"] = "shop";
  }
  engine_.listed_volumes.back().labels["bygone.enable"] = "false";
  docker::Container& db = add("shop-db-1");
  db.labels["com.docker.compose.project"] = "shop";
  db.mounts = {volume_at(used, "/d")};
  docker::Container& off = add("shop-off-1");
  off.labels = {{"com.docker.compose.project", "shop"}, {"bygone.enable", "false"}};
  add("elsewhere").labels["com.docker.compose.project"] = "blog";
  EXPECT_EQ(names_of(named({"@shop"})), (Names{"shop-db-1", "volume:left"}));
}

TEST_F(Discover, ListsWhatExistsWhenANameDoesNot) {
  add_volume("v");
  add("web").labels = {{"bygone.name", "front"}, {"com.docker.compose.project", "shop"}};
  add("db");
  for (const char* name : {"nope", "volume:nope", "@nope", "", "@", "/", "volume:", "web\x1b"}) {
    const auto result = try_discover({.names = {"db", name}});
    EXPECT_CODE(Code::not_found, result);
    EXPECT_NE(result.error().message.find("there are: db, front, @shop, volume:v"),
              std::string::npos)
        << result.error().message;
  }
  const auto two = try_discover({.names = {"x", "y"}});
  ASSERT_FALSE(two.ok());
  EXPECT_NE(two.error().message.find("'x', 'y'"), std::string::npos) << two.error().message;
}

TEST_F(Discover, GivesEachNameToOneContainer) {
  docker::Container& blue = add("app-blue");
  docker::Container& green = add("app-green");
  blue.labels["bygone.name"] = green.labels["bygone.name"] = "app";
  std::vector<Source> sources = all();
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_FALSE(sources[0].error);
  EXPECT_TRUE(fails(sources[1], Code::exists, "container app-green: the name 'app' belongs to"));
  EXPECT_EQ(sources[1].name, "app-green") << "or it would be taken for the other one";
  // Who is named Docker's own name comes first, who is disabled last.
  add("app");
  EXPECT_TRUE(fails(one("app-blue"), Code::exists, "belongs to container app already"));
  EXPECT_FALSE(one("app").error);
  engine_.all.back().labels["bygone.enable"] = "false";
  EXPECT_FALSE(one("app-blue").error);
}

TEST_F(Discover, NamesAContainerByItsIdWhereNothingElseIsLeft) {
  docker::Container& blue = add("blue");
  docker::Container& green = add("green");
  blue.labels["bygone.name"] = green.labels["bygone.name"] = "app";
  add("other").labels["bygone.name"] = "green";
  const std::string id = engine_.all[1].id;
  EXPECT_EQ(names_of(all()), (Names{id, "app", "green"}));
  EXPECT_EQ(one(id).error->code, Code::exists);
  EXPECT_FALSE(one("green").error);
}

TEST_F(Discover, FallsBackFromALabelThatIsNoName) {
  for (const char* bad : {"", "a/b", "../x", "@x", ".x", "a b", "x\n"}) {
    engine_.all.clear();
    add("web").labels["bygone.name"] = bad;
    const Source source = one("web");
    EXPECT_EQ(source.name, "web");
    EXPECT_FALSE(source.error);
    EXPECT_TRUE(source.skipped.empty());
  }
}

// ---- bare volumes -------------------------------------------------------------------------------

TEST_F(Discover, MakesASourceOfABareVolume) {
  docker::Volume& volume = add_volume("v");
  volume.labels["com.docker.compose.project"] = "shop";
  const Source source = one("volume:v");
  EXPECT_EQ(source.kind, SourceKind::volume);
  EXPECT_EQ(source.name, "v");
  EXPECT_EQ(source.host_id, "ENGINE");
  EXPECT_EQ(source.project, "shop");
  ASSERT_EQ(source.volumes.size(), 1U);
  EXPECT_EQ(source.volumes[0].name, "");
  EXPECT_EQ(source.volumes[0].destination, "");
  EXPECT_EQ(source.volumes[0].origin, "v");
  EXPECT_EQ(source.volumes[0].kind, VolumeKind::named);
  EXPECT_TRUE(source.writers.empty());
}

TEST_F(Discover, SaysWhyABareVolumeHasNothing) {
  add_volume("memory").options = {{"type", "tmpfs"}};
  EXPECT_TRUE(all().empty());
  EXPECT_TRUE(fails(one("volume:memory"), Code::unsupported, "tmpfs"));
}

// ---- what goes wrong meanwhile ------------------------------------------------------------------

TEST_F(Discover, LeavesOutWhatVanishes) {
  docker::Volume& volume = add_volume("v");
  docker::Container& gone = add("gone");
  add("db").mounts = {volume_at(volume, "/d")};
  engine_.inspect_errors[gone.id] = {Code::not_found, 0, "No such container"};
  EXPECT_EQ(names_of(all()), Names{"db"});
  EXPECT_TRUE(fails(one("gone"), Code::not_found, "No such container"));
}

TEST_F(Discover, CountsAWriterThatCannotBeInspected) {
  docker::Volume& volume = add_volume("v");
  docker::Container& slow = add("slow");
  slow.mounts = {volume_at(volume, "/d")};
  add("db").mounts = {volume_at(volume, "/d")};
  engine_.inspect_errors[slow.id] = {Code::unavailable, ETIMEDOUT, "no answer"};
  EXPECT_EQ(writers_of(one("db").writers), (Names{"db", "slow"}));
  EXPECT_TRUE(fails(one("slow"), Code::unavailable, "no answer"));
}

TEST_F(Discover, EndsWithTheEngine) {
  docker::Container& db = add("db");
  engine_.inspect_errors[db.id] = {Code::unavailable, ECONNREFUSED, "nobody listens"};
  EXPECT_CODE(Code::unavailable, try_discover({.all = true}));
}

TEST_F(Discover, NeedsAnEngineThatItCanIdentify) {
  add("db");
  engine_.identity.id = "";
  EXPECT_EQ(one("db").host_id, machine_id());  // Podman
  engine_.socket = "";
  EXPECT_CODE(Code::unsupported, try_discover({.all = true}));
  engine_.identity = {.id = "E", .os_type = "windows"};
  EXPECT_CODE(Code::unsupported, try_discover({.all = true}));
}

TEST_F(Discover, RefusesHostileNamesOfAnEngine) {
  add("../../etc");
  add_volume("safe").name = "a/b";
  const std::vector<Source> sources = all();
  ASSERT_EQ(sources.size(), 2U);
  for (const Source& source : sources) EXPECT_TRUE(source.error) << source.name;
}

TEST_F(Discover, CopesWithThousandsOfContainers) {
  engine_.all.reserve(10'000);
  const std::string shared = make_folder("shared");
  for (int i = 0; i < 5'000; ++i) {
    docker::Container container;
    container.id = fmt::format("{:064x}", i);
    container.name = fmt::format("c{}", i);
    container.state.status = Status::running;
    container.mounts = {bind_at(shared, "/d")};
    if (i >= 10) container.mounts[0].writable = false;
    engine_.all.push_back(std::move(container));
  }
  const std::vector<Source> sources = all();
  ASSERT_EQ(sources.size(), 5'000U);
  EXPECT_EQ(sources.back().writers.size(), 10U);
}

// ---- folders ------------------------------------------------------------------------------------

TEST_F(Discover, MakesASourceOfAFolder) {
  make_folder("data");
  ASSERT_EQ(::symlink((root_ + "/data").c_str(), (root_ + "/link").c_str()), 0);
  const Source source = test::value_of(folder_source("photos", root_ + "/./link/"));
  EXPECT_EQ(source.kind, SourceKind::folder);
  EXPECT_EQ(source.name, "photos");
  EXPECT_EQ(source.host_id, machine_id());
  EXPECT_FALSE(source.host.empty());
  ASSERT_EQ(source.volumes.size(), 1U);
  EXPECT_EQ(source.volumes[0].name, "");
  EXPECT_EQ(source.volumes[0].host_path, root_ + "/data");
  EXPECT_EQ(source.volumes[0].kind, VolumeKind::folder);
}

TEST_F(Discover, RefusesWhatIsNoFolder) {
  EXPECT_TRUE(valid_name(std::string(255, 'x')));
  EXPECT_FALSE(valid_name(std::string(256, 'x')));
  EXPECT_CODE(Code::not_found, folder_source("a", root_ + "/none"));
  EXPECT_CODE(Code::invalid, folder_source("a", make_file("file")));
  EXPECT_CODE(Code::not_found, folder_source("a", ""));
  for (const char* name : {"", "-a", ".a", "a/b", "a b", "@a", "\xc3\xa9", "a\n"}) {
    EXPECT_CODE(Code::invalid, folder_source(name, root_));
  }
}

// ---- the host -----------------------------------------------------------------------------------

TEST(HostView, ReadsMountinfo) {
  const std::string id(64, 'd');
  const MountTable table = parse_mountinfo(
      "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
      "23 22 0:5 / /with\\040space\\134\\012 rw shared:1 - nfs h:/x rw\n"
      "24 22 8:1 /var/lib/docker/containers/" +
      id +
      "/hostname /etc/hostname rw - ext4 x rw\n"
      "nonsense\n\n25 22 8:1 / /end\\04");
  EXPECT_EQ(table.mount_points,
            (std::set<std::string>{"/", "/with space\\\n", "/etc/hostname", "/end\\04"}));
  EXPECT_EQ(table.own_container, id);
  EXPECT_EQ(parse_mountinfo("24 22 8:1 /var/lib/docker/containers/" + id +
                            "/mounts/shm /var/lib/docker/containers/" + id + "/mounts/shm rw\n")
                .own_container,
            "");
}

TEST(HostView, ComparesPathsByComponent) {
  EXPECT_TRUE(is_at_or_below("/a/b", "/a"));
  EXPECT_TRUE(is_at_or_below("/a", "/a"));
  EXPECT_TRUE(is_at_or_below("/a", "/"));
  EXPECT_FALSE(is_at_or_below("/ab", "/a"));
  EXPECT_FALSE(is_at_or_below("/", "/a"));
}

}  // namespace
}  // namespace bygone::ingest
