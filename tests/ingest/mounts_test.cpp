// SPDX-License-Identifier: Apache-2.0
#include "ingest/mounts.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ingest/holder.h"
#include "store/base/files.h"
#include "tests/ingest/discover_fixture.h"

namespace bygone::ingest {
namespace {

using docker::MountType;
using store::VolumeKind;

class Mounts : public DiscoverFixture {};

// ---- what is captured ---------------------------------------------------------------------------

TEST_F(Mounts, NamesFolders) {
  docker::Volume& anonymous = add_volume(std::string(64, 'b'));
  docker::Volume& labelled = add_volume("looks-named");
  labelled.labels["com.docker.volume.anonymous"] = "";
  docker::Volume& given = add_volume(std::string(64, 'c'));
  docker::Volume& plain = add_volume("srv-data");
  docker::Container& web = add("web");
  web.declared = {given.name};
  web.mounts = {
      volume_at(plain, "/z"),
      bind_at(make_folder("one"), "/srv/data"),
      volume_at(anonymous, "/var/cache"),
      volume_at(labelled, "/var/lib"),
      volume_at(given, "/given"),
      bind_at(make_folder("two"), "/"),
      bind_at(make_file("conf"), "/etc/app.conf"),
      bind_at(make_folder("three"), "/.bygone"),
  };
  const Source source = one("web");
  EXPECT_FALSE(source.error);
  EXPECT_EQ(
      folders_of(source),
      (Names{"/=root", "/.bygone=.bygone~2", "/etc/app.conf=etc-app.conf", "/given=" + given.name,
             "/srv/data=srv-data", "/var/cache=var-cache", "/var/lib=var-lib", "/z=srv-data~2"}));
  EXPECT_EQ(source.volumes[0].kind, VolumeKind::bind);
  EXPECT_EQ(source.volumes[2].host_path, root_ + "/conf");
  EXPECT_EQ(source.volumes[3].kind, VolumeKind::named);
  EXPECT_EQ(source.volumes[5].kind, VolumeKind::anonymous);
  EXPECT_EQ(source.volumes[6].kind, VolumeKind::anonymous);
}

TEST_F(Mounts, KeepsTheParentsFolderNames) {
  docker::Volume& renamed = add_volume("new");
  docker::Container& web = add("web");
  web.mounts = {volume_at(renamed, "/b"), bind_at(make_folder("x"), "/a"),
                bind_at(make_folder("y"), "/c"), bind_at(make_folder("z"), "/d")};
  parent_names_ = {{"/b", "a"}, {"/c", "../evil"}, {"/d", ""}, {"/gone", "c"}};
  EXPECT_EQ(folders_of(one("web")), (Names{"/a=a~2", "/b=a", "/c=c", "/d=d"}));
}

TEST_F(Mounts, CutsFolderNamesThatAreTooLong) {
  docker::Container& web = add("web");
  const std::string deep = "/" + std::string(300, 'x');
  web.mounts = {bind_at(make_folder("x"), deep + "1"), bind_at(make_folder("y"), deep + "2")};
  const Source source = one("web");
  EXPECT_EQ(source.volumes.at(0).name, std::string(240, 'x'));
  EXPECT_EQ(source.volumes.at(1).name, std::string(240, 'x') + "~2");
}

TEST_F(Mounts, CapturesAVolumeOnce) {
  docker::Volume& twice = add_volume("twice");
  docker::Container& web = add("web");
  web.mounts = {volume_at(twice, "/z", false), volume_at(twice, "/a"),
                bind_at(make_folder("x"), "/y"), bind_at(make_folder("x"), "/b")};
  EXPECT_EQ(folders_of(one("web")), (Names{"/a=twice", "/b=b"}));
}

TEST_F(Mounts, NotesWhatIsMountedInside) {
  docker::Volume& outer = add_volume("outer");
  docker::Container& web = add("web");
  web.mounts = {volume_at(outer, "/data"),
                bind_at(make_folder("x"), "/data/in"),
                bind_at(make_folder("y"), "/data/in/deep/er"),
                bind_at(make_folder("z"), "/database"),
                volume_at(outer, "/again"),
                bind_at(make_folder("w"), "/again/here")};
  web.tmpfs = {"/data/tmp"};
  const Source source = one("web");
  ASSERT_EQ(folders_of(source), (Names{"/again=outer", "/again/here=again-here", "/data/in=data-in",
                                       "/data/in/deep/er=data-in-deep-er", "/database=database"}));
  EXPECT_EQ(source.volumes[0].nested, (Names{"here", "in", "tmp"}));
  EXPECT_EQ(source.volumes[2].nested, Names{"deep/er"});
  EXPECT_TRUE(source.volumes[4].nested.empty());
}

TEST_F(Mounts, LeavesOutWhatIsNoData) {
  const std::string socket_path = root_ + "/any.sock";
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::mkfifo((root_ + "/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("/proc", (root_ + "/to-proc").c_str()), 0);
  engine_.socket = socket_path;
  docker::Volume& off = add_volume("off");
  off.labels["bygone.enable"] = "false";
  docker::Volume& memory = add_volume("memory");
  memory.options = {{"type", "tmpfs"}, {"device", "tmpfs"}};

  struct {
    docker::Mount mount;
    const char* reason;
  } const cases[] = {
      {bind_at("/var/run/docker.sock", "/x"), "/x: the engine's socket"},
      {bind_at(socket_path, "/x"), "/x: the engine's socket"},
      {bind_at("/proc", "/x"), "/x: '/proc' belongs to the kernel"},
      {bind_at("/sys/fs/cgroup", "/x"), "/x: '/sys/fs/cgroup' belongs to the kernel"},
      {bind_at("/dev/snd", "/x"), "/x: '/dev/snd' belongs to the kernel"},
      {bind_at("/dev/shm", "/x"), "/x: '/dev/shm' belongs to the kernel"},
      {bind_at(root_ + "/to-proc", "/x"), "belongs to the kernel"},
      {bind_at(root_ + "/fifo", "/x"), "/x: a device or fifo"},
      {bind_at(root_ + "/docker", "/x"), "/x: the engine's own data"},
      {bind_at(root_ + "/docker/volumes", "/x"), "/x: the engine's own data"},
      {bind_at(make_folder("docker/containers"), "/x"), "/x: the engine's own data"},
      {volume_at(off, "/x"), "/x: label bygone.enable of the volume"},
      {volume_at(memory, "/x"), "/x: tmpfs"},
      {{MountType::tmpfs, "tmpfs", "", "", "/x", "", true}, "/x: tmpfs"},
      {{MountType::npipe, "npipe", "", "", "/x", "", true}, "/x: a named pipe"},
      {{MountType::image, "image", "", "", "/x", "", false}, "/x: the content of an image"},
      {{MountType::tmpfs, "tmpfs", "", "", "/\x1b", "", true}, "/\\x1b: tmpfs"},
  };
  for (const auto& c : cases) {
    engine_.all.clear();
    add("web").mounts = {c.mount};
    const Source source = one("web");
    EXPECT_FALSE(source.error) << c.reason;
    EXPECT_TRUE(source.volumes.empty()) << c.reason;
    ASSERT_EQ(source.skipped.size(), 1U) << c.reason;
    EXPECT_NE(source.skipped[0].find(c.reason), std::string::npos) << source.skipped[0];
  }
  engine_.socket = "/elsewhere.sock";
  EXPECT_TRUE(engine_.all.size() == 1);
  engine_.all[0].mounts = {bind_at(socket_path, "/x")};
  EXPECT_EQ(one("web").skipped, Names{"/x: a socket"});
}

TEST_F(Mounts, CapturesAVolumeThatIsBoundByItsPath) {
  docker::Volume& volume = add_volume("v");
  add("web").mounts = {bind_at(volume.mountpoint, "/x")};
  EXPECT_EQ(folders_of(one("web")), Names{"/x=x"});
}

// ---- data that cannot be seen -------------------------------------------------------------------

TEST_F(Mounts, FailsASourceRatherThanSaveAnEmptyFolder) {
  docker::Volume& gone = add_volume("gone");
  std::filesystem::remove_all(gone.mountpoint);
  docker::Volume& plugin = add_volume("plugin");
  plugin.driver = "rexray";
  docker::Volume& nfs = add_volume("nfs");
  nfs.options = {{"type", "nfs"}, {"o", "addr=nas"}, {"device", ":/export"}};
  docker::Volume& bound = add_volume("bound");
  bound.options = {{"type", "none"}, {"o", "bind"}, {"device", "/srv/data"}};
  docker::Volume never_listed;
  never_listed.name = "never";

  struct {
    docker::Mount mount;
    Code code;
    const char* part;
  } const cases[] = {
      {volume_at(gone, "/x"), Code::not_found, "container web: volume gone at /x: its folder"},
      {volume_at(plugin, "/x"), Code::unsupported, "its driver is 'rexray'"},
      {volume_at(nfs, "/x"), Code::not_found, "a mount of ':/export' that is not mounted now"},
      {volume_at(bound, "/x"), Code::not_found, "a mount of '/srv/data' that is not mounted"},
      {volume_at(never_listed, "/x"), Code::not_found, "no such volume"},
      {bind_at(root_ + "/none", "/x"), Code::not_found, "is not on this host"},
      {{MountType::other, "cluster", "c", "", "/x", "", true}, Code::unsupported, "'cluster'"},
  };
  for (const auto& c : cases) {
    engine_.all.clear();
    add("web").mounts = {c.mount};
    add("fine");
    EXPECT_TRUE(fails(one("web"), c.code, c.part)) << c.part;
    EXPECT_FALSE(one("fine").error);
  }
  EXPECT_TRUE(fails(one("volume:nfs"), Code::not_found, "volume nfs: it is a mount of"));
  EXPECT_TRUE(fails(one("volume:plugin"), Code::unsupported, "volume plugin: its driver"));
}

// The container is gone: what else is gone by now is no reason to keep the rest from being saved.
TEST_F(Mounts, OfAHeldContainerMayBeGone) {
  docker::Volume& kept = add_volume(std::string(64, 'a'));
  docker::Volume& hidden = add_volume(std::string(64, 'b'));
  docker::Volume removed;
  removed.name = "removed";
  docker::Container& job = add("job");
  job.mounts = {bind_at(root_ + "/removed", "/bind"), volume_at(removed, "/named"),
                volume_at(kept, "/data")};
  const auto held = [&] {
    return test::value_of(held_source(
        engine_, job,
        [&](store::SourceKind, const std::string&, const std::string&) { return parent_names_; },
        {}));
  };
  const Source saved = held();
  EXPECT_FALSE(saved.error) << saved.error->message;
  EXPECT_EQ(folders_of(saved), Names{"/data=data"});
  ASSERT_EQ(saved.skipped.size(), 2U);
  EXPECT_NE(saved.skipped[0].find("/bind: "), std::string::npos) << saved.skipped[0];
  EXPECT_NE(saved.skipped[1].find("no such volume"), std::string::npos) << saved.skipped[1];
  EXPECT_TRUE(one("job").error) << "of one that runs they are missing";

  // The engine still has it, so it is not gone but cannot be seen, and must not be let go.
  std::filesystem::remove_all(hidden.mountpoint);
  job.mounts.push_back(volume_at(hidden, "/hidden"));
  EXPECT_TRUE(fails(held(), Code::not_found, "its folder"));

  job.mounts = {bind_at(root_ + "/removed", "/bind")};
  EXPECT_TRUE(fails(held(), Code::not_found, "is not on this host")) << "nothing is left";
}

// The layers and volumes of all others are not this container's data.
TEST_F(Mounts, LeavesTheEnginesDataOutOfABindAboveIt) {
  add("monitor").mounts = {bind_at(root_, "/rootfs", false)};
  const Source source = one("monitor");
  ASSERT_EQ(source.volumes.size(), 1U);
  EXPECT_EQ(source.volumes[0].exclude, Names{"/docker"});
  ASSERT_EQ(source.skipped.size(), 1U);
  EXPECT_EQ(source.skipped[0], "/rootfs: the engine's own data in it");
}

TEST_F(Mounts, CapturesAMountedVolumeAndAQuota) {
  docker::Volume& nfs = add_volume("nfs");
  nfs.options = {{"type", "nfs"}, {"device", ":/export"}};
  nfs.mountpoint = "/proc";  // something that is surely mounted
  docker::Volume& quota = add_volume("quota");
  quota.options = {{"size", "10G"}};
  add("web").mounts = {volume_at(nfs, "/x"), volume_at(quota, "/y")};
  const Source source = one("web");
  EXPECT_FALSE(source.error);
  EXPECT_EQ(folders_of(source), (Names{"/x=nfs", "/y=quota"}));
}

TEST_F(Mounts, AsksForAVolumeThatTheListLacked) {
  docker::Volume& late = add_volume("late");
  engine_.unlisted_volumes = {late};
  engine_.listed_volumes.clear();
  add("web").mounts = {volume_at(engine_.unlisted_volumes[0], "/x")};
  EXPECT_EQ(folders_of(one("web")), Names{"/x=late"});
}

TEST_F(Mounts, ReadsThroughTheEngineWhatItHoldsElsewhere) {
  docker::Volume& volume = add_volume("v");
  docker::Volume& plugin = add_volume("p");
  plugin.driver = "plugin";
  plugin.mountpoint = "";
  add("data").mounts = {volume_at(volume, "/x"),         volume_at(volume, "/x2"),
                        volume_at(plugin, "/y"),         bind_at("/srv/there", "/z"),
                        bind_at("/run/some.sock", "/s"), bind_at("/proc", "/p")};
  add("none").mounts = {bind_at("/var/run/docker.sock", "/s")};
  add("writer").mounts = {bind_at("/srv/there/below", "/w")};
  docker::Container& reader = add("bygone-reader-1", docker::Status::created);
  reader.labels = {{"bygone.reader", "1"}};
  reader.mounts = {volume_at(add_volume("bare"), "/v0", false)};
  const auto expect_blind = [&](const char* part) {
    SCOPED_TRACE(part);
    const Source data = one("data");
    EXPECT_FALSE(data.error);
    EXPECT_EQ(folders_of(data), (Names{"/x=v", "/y=p", "/z=z"}));
    for (const VolumeSource& each : data.volumes) EXPECT_EQ(each.access, Access::engine);
    EXPECT_EQ(data.skipped.size(), 2u);
    ASSERT_EQ(data.writers.size(), 2u);
    EXPECT_EQ(data.writers[1].name, "writer");
    EXPECT_FALSE(one("volume:v").error);
    EXPECT_EQ(one("volume:v").volumes[0].access, Access::engine);
    EXPECT_FALSE(one("none").error);
  };
  const auto all = discover(engine_, {.all = true},
                            [](auto&&...) { return std::map<std::string, std::string>(); });
  ASSERT_TRUE(all.ok());
  EXPECT_TRUE(std::any_of(all->begin(), all->end(),
                          [](const Source& source) { return source.name == "bare"; }));
  engine_.socket = "";
  expect_blind("remote");
  engine_.socket = "/run/engine.sock";
  std::ofstream(root_ + "/docker/engine-id") << "ANOTHER\n";
  expect_blind("belongs to another engine");
  std::ofstream(root_ + "/docker/engine-id") << "ENGINE\n";
  EXPECT_EQ(one("volume:v").volumes[0].access, Access::host);
  engine_.identity.root_dir = root_ + "/nowhere";
  expect_blind("is not on this host");
}

TEST_F(Mounts, ReadsALayerThroughTheEngineWhereItIsNotToBeSeen) {
  docker::Container& app = add("app");
  app.mounts = {volume_at(add_volume("v"), "/x")};
  app.tmpfs = {"/memory"};
  const auto layer_of_app = [&] {
    const auto sources = test::value_of(
        try_discover({.names = {"app"}, .wants_layer = [](const Source&) { return true; }}));
    EXPECT_EQ(sources.at(0).skipped, Names{"/memory: tmpfs, gone with the container"});
    EXPECT_EQ(writers_of(sources.at(0).writers), Names{"app"});
    const VolumeSource layer = sources.at(0).volumes.back();
    EXPECT_EQ(layer.name, "@layer");
    EXPECT_EQ(layer.kind, store::VolumeKind::layer);
    EXPECT_TRUE(layer.has_writers);
    EXPECT_EQ(layer.nested, (Names{"x", "memory"}));
    return layer;
  };
  EXPECT_EQ(layer_of_app().access, Access::engine) << "not told";
  app.upper_dir = root_ + "/docker/overlay2/app/diff";
  EXPECT_EQ(layer_of_app().access, Access::engine) << "not there";
  make_folder("docker/overlay2/app/diff");
  EXPECT_EQ(layer_of_app().access, Access::host);
  EXPECT_EQ(layer_of_app().host_path, app.upper_dir);
  engine_.socket = "";
  EXPECT_EQ(layer_of_app().access, Access::engine) << "another host's";
}

TEST_F(Mounts, RefusesABindThatAContainerCanSteer) {
  const std::string shared = make_folder("shared");
  make_folder("shared/real");
  make_folder("secret");
  ASSERT_EQ(::symlink((root_ + "/secret").c_str(), (shared + "/sub").c_str()), 0);
  ASSERT_EQ(::symlink(shared.c_str(), (root_ + "/admins").c_str()), 0);
  add("evil").mounts = {bind_at(shared, "/mine"), bind_at("/", "/host", false)};
  add("web").mounts = {bind_at(shared + "/sub", "/x")};
  add("fine").mounts = {bind_at(root_ + "/admins/real", "/x"), bind_at(shared + "/real", "/y")};
  EXPECT_TRUE(fails(one("web"), Code::denied, "passes through a symbolic link"));
  const Source fine = one("fine");
  EXPECT_FALSE(fine.error);
  EXPECT_EQ(folders_of(fine), Names{"/x=x"});
  EXPECT_EQ(fine.volumes[0].host_path, shared + "/real");
}

TEST_F(Mounts, NamesMissingPermission) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  docker::Volume& volume = add_volume("v");
  add("web").mounts = {volume_at(volume, "/x")};
  ASSERT_EQ(::seteuid(65534), 0);
  const auto sources = try_discover({.names = {"web"}});
  ASSERT_EQ(::seteuid(0), 0);
  ASSERT_OK(sources);
  EXPECT_TRUE(fails(sources->at(0), Code::denied, "; hint: run as root"));
}

}  // namespace
}  // namespace bygone::ingest
