// SPDX-License-Identifier: Apache-2.0
#include "ingest/writers.h"

#include <algorithm>

#include <unistd.h>

#include "ingest/newcomers.h"
#include "tests/ingest/discover_fixture.h"

namespace bygone::ingest {
namespace {

using docker::Status;

class Writers : public DiscoverFixture {};

TEST_F(Writers, FindsEveryWriter) {
  docker::Volume& volume = add_volume("v");
  const std::string srv = make_folder("srv");
  docker::Container& db = add("db");
  db.mounts = {volume_at(volume, "/data"), bind_at(make_folder("srv/db"), "/conf")};
  add("reader").mounts = {volume_at(volume, "/data", false)};
  add("shares-volume").mounts = {volume_at(volume, "/elsewhere")};
  add("paused", Status::paused).mounts = {volume_at(volume, "/data")};
  add("exited", Status::exited).mounts = {volume_at(volume, "/data")};
  add("created", Status::created).mounts = {volume_at(volume, "/data")};
  add("above").mounts = {bind_at(srv, "/srv")};
  add("below").mounts = {bind_at(make_folder("srv/db/deep/er"), "/x")};
  add("beside").mounts = {bind_at(make_folder("srv/db2"), "/x")};
  add("by-path").mounts = {bind_at(root_ + "/docker/volumes", "/x")};
  add("root").mounts = {bind_at("/", "/host")};
  add("root-reader").mounts = {bind_at("/", "/host", false)};
  docker::Container& loop = add("loop", Status::restarting);
  loop.state.running = true;  // as engines say between two runs
  loop.mounts = {volume_at(volume, "/data")};

  const Source source = one("db");
  EXPECT_FALSE(source.error);
  EXPECT_EQ(writers_of(source.writers),
            (Names{"above", "below", "by-path", "db", "paused", "root", "shares-volume"}));
  EXPECT_EQ(writers_of(source.restarting), Names{"loop"});
  EXPECT_TRUE(source.writers[4].paused);
  EXPECT_FALSE(source.writers[3].paused);
  EXPECT_EQ(source.writers[3].id, db.id);
  EXPECT_EQ(source.writers[3].started_at, "2024-01-01T00:00:00Z");
  EXPECT_EQ(writers_of(one("volume:v").writers),
            (Names{"by-path", "db", "paused", "root", "shares-volume"}));
}

TEST_F(Writers, FindsAWriterBehindAVolumeThatIsABind) {
  const std::string data = make_folder("srv");
  docker::Volume& bound = add_volume("bound");
  bound.options = {{"type", "none"}, {"o", "bind"}, {"device", data}};
  add("by-volume").mounts = {volume_at(bound, "/x")};
  add("by-path", Status::exited).mounts = {bind_at(data, "/x")};
  EXPECT_EQ(writers_of(one("by-path").writers), Names{"by-volume"});
}

TEST_F(Writers, SeesThroughSymbolicLinksToWriters) {
  const std::string real = make_folder("real");
  ASSERT_EQ(::symlink(real.c_str(), (root_ + "/link").c_str()), 0);
  add("one", Status::exited).mounts = {bind_at(real, "/x")};
  add("two").mounts = {bind_at(root_ + "/link", "/x")};
  EXPECT_EQ(writers_of(one("one").writers), Names{"two"});
}

TEST_F(Writers, AreInspectedOnlyWhereTheListSaysTooLittle) {
  add("selected", Status::exited);
  add("stopped", Status::exited);
  add("running");
  add("odd", Status::other);
  one("selected");
  EXPECT_EQ(engine_.inspected.size(), 2U);
  engine_.inspected.clear();
  engine_.identity.id = "";  // Podman
  one("selected");
  EXPECT_EQ(engine_.inspected.size(), 3U);
}

TEST_F(Writers, AreInspectedWhereNobodyTellsWhereTheirVolumeIs) {
  const docker::Volume& volume = add_volume("v");
  add("db").mounts = {volume_at(volume, "/d")};
  docker::Mount unlisted = volume_at(volume, "/d");
  unlisted.source.clear();
  docker::Container& other = add("other");
  other.mounts = {unlisted};
  one("db");
  EXPECT_EQ(engine_.inspected.size(), 1U) << "the volume is listed, and is there";
  engine_.inspected.clear();
  other.mounts[0].name = "of-a-plugin";
  one("db");
  EXPECT_EQ(engine_.inspected, (Names{engine_.all[0].id, other.id}));
}

TEST_F(Writers, WriteTheirLayersUnderTheEnginesRoot) {
  make_folder("beside");
  add("all", Status::exited).mounts = {bind_at(root_, "/x")};
  add("beside", Status::exited).mounts = {bind_at(root_ + "/beside", "/x")};
  add("running");
  const Source all = one("all");
  ASSERT_EQ(all.volumes.size(), 1U);
  EXPECT_EQ(writers_of(all.writers), Names{"running"});
  const Source beside = one("beside");
  ASSERT_EQ(beside.volumes.size(), 1U);
  EXPECT_TRUE(beside.writers.empty());
}

// By volume, whatever its place, by path, and a layer by its container alone.
TEST_F(Writers, ThatHaveComeSinceAreFoundAlike) {
  docker::Volume& volume = add_volume("v");
  const std::string data = make_folder("srv");
  add("db", Status::exited).mounts = {volume_at(volume, "/data"), bind_at(data, "/conf")};
  Source source = one("db");
  EXPECT_TRUE(source.writers.empty());
  VolumeSource layer;
  layer.kind = store::VolumeKind::layer;
  layer.host_path = "/@layer/" + source.container_id;
  source.volumes.push_back(layer);
  RunningNow::Volumes volumes;
  const std::size_t lists = engine_.volume_lists;
  const auto find = [&](const std::set<std::string>& known) {
    Newcomers found = test::value_of(RunningNow::look(engine_, source.host_view.get(), volumes))
                          .beyond(source, known);
    std::sort(found.writers.begin(), found.writers.end(),
              [](const Writer& a, const Writer& b) { return a.name < b.name; });
    return found;
  };
  EXPECT_TRUE(find({}).writers.empty());
  EXPECT_EQ(engine_.volume_lists, lists) << "no volume is mounted that it had to ask for";
  docker::Volume& bound = add_volume("bound");
  bound.options = {{"type", "none"}, {"o", "bind"}, {"device", data}};
  add("by-path").mounts = {bind_at(root_, "/x")};
  add("by-bound-volume").mounts = {volume_at(bound, "/x")};
  add("by-volume", Status::paused).mounts = {volume_at(volume, "/x")};
  add("ended", Status::exited).mounts = {volume_at(volume, "/x")};
  add("reader").mounts = {volume_at(volume, "/x", false)};
  const Newcomers found = find({});
  EXPECT_EQ(writers_of(found.writers), (Names{"by-bound-volume", "by-path", "by-volume"}));
  EXPECT_EQ(found.volumes, (std::set<std::size_t>{0, 1}));
  std::set<std::string> known;
  for (const Writer& writer : found.writers) known.insert(writer.id);
  EXPECT_TRUE(find(known).writers.empty());
  EXPECT_EQ(engine_.volume_lists, lists + 1) << "asked once";
  engine_.all.front().state.status = Status::running;
  EXPECT_EQ(find(known).volumes, (std::set<std::size_t>{0, 1, 2}));
  EXPECT_EQ(find(known).writers.at(0).id, source.container_id);
}

}  // namespace
}  // namespace bygone::ingest
