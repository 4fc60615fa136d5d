// SPDX-License-Identifier: Apache-2.0
//
// What is said when the data of a container that vanishes can be neither held nor captured, and
// that it is tried again. tests/e2e/ephemeral.sh holds and captures with a real engine.
#include "ingest/ephemeral.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "ingest/docker/parse.h"
#include "tests/support/bare_engine.h"
#include "tests/support/expect.h"
#include "tests/support/temp_folder.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;

const std::string kId(64, 'c');
const std::string kVolume(64, 'a');
const std::string kCreated = "2024-03-16T05:57:00Z";
const std::string kStarting(64, 's');

// As the engine tells of `docker run --rm --name once -v /data`.
std::string once_json(const std::string& hold = "auto", const std::string& id = kId,
                      const std::string& created = kCreated) {
  return R"({"Created":")" + created + R"(","Id":")" + id +
         R"(","Name":"/once","Image":"sha256:01","Config":{"Image":"i","Labels":{"bygone.hold":")" +
         hold + R"("}},)" +
         R"("State":{"Status":"running","Running":true},"HostConfig":{"AutoRemove":true},)" +
         R"("Mounts":[{"Type":"volume","Name":")" + kVolume +
         R"(","Source":"/v","Destination":"/data","Driver":"local","RW":true}]})";
}

struct Quiet final : docker::EventStream {
  Result<std::optional<docker::Event>> next(milliseconds wait) override {
    std::this_thread::sleep_for(std::min(wait, milliseconds(5)));
    return std::optional<docker::Event>();
  }
};

docker::ContainerSummary holder_of(const std::string& id, const std::string& created) {
  return {"holder of " + id,
          "bygone-holder-" + id,
          {{kHolderLabel, id}, {"bygone.held", once_json("auto", id, created)}},
          docker::Status::created,
          {},
          "",
          ""};
}

// One container with --rm, or what a holder kept of it.
struct World {
  const test::TempFolder state;
  std::mutex mutex;                               // guards all below
  std::vector<docker::ContainerSummary> holders;  // of others, as the engine lists them
  std::vector<std::string> captured_ids;
  std::optional<Error> release_fails;
  bool runs = true, held = false, has_volume = true;
  docker::Status status = docker::Status::running;
  std::string hold = "auto";
  std::optional<Error> inspect_fails, hold_fails, capture_fails;
  HeldCapture captured = HeldCapture::whole;
  std::vector<std::string> failed, warned;
  std::size_t tries = 0, releases = 0;
  std::size_t starting = 0;  // other containers, which the engine tells nothing about meanwhile

  template <class T>
  T with(const std::function<T(World&)>& change) {
    const std::lock_guard lock(mutex);
    return change(*this);
  }
};

class OneEngine final : public test::BareEngine {
 public:
  explicit OneEngine(World& world) : world_(world) {}

  Result<std::vector<docker::ContainerSummary>> containers() override {
    const std::lock_guard lock(world_.mutex);
    std::vector<docker::ContainerSummary> list;
    for (std::size_t i = 0; i < world_.starting; ++i) {
      list.push_back({kStarting, "starting", {}, docker::Status::created, {}, "i", ""});
    }
    if (world_.runs)
      list.push_back({kId, "once", {{"bygone.hold", world_.hold}}, world_.status, {}, "i", ""});
    if (world_.held) list.push_back(holder_of(kId, kCreated));
    list.insert(list.end(), world_.holders.begin(), world_.holders.end());
    return list;
  }
  Result<docker::Container> container(const std::string& id) override {
    while (id == kStarting && world_.with<bool>([](World& w) { return w.starting != 0; })) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    const std::lock_guard lock(world_.mutex);
    if (id == kStarting) return Error{Code::not_found, 0, "no such container"};
    ++world_.tries;
    if (world_.inspect_fails) return *world_.inspect_fails;
    if (!world_.runs) return Error{Code::not_found, 0, "no such container"};
    return docker::parse_container(once_json(world_.hold));
  }
  Result<std::string> create_container(const std::string&, const std::string&) override {
    const std::lock_guard lock(world_.mutex);
    if (world_.hold_fails) return *world_.hold_fails;
    world_.held = true;
    return std::string("holder");
  }
  Result<void> remove_container(const std::string& id, docker::RemoveVolumes,
                                docker::Force) override {
    const std::lock_guard lock(world_.mutex);
    ++world_.releases;
    if (world_.release_fails) return *world_.release_fails;
    if (id == "holder of " + kId) world_.held = false;
    std::erase_if(world_.holders, [&](const auto& holder) { return holder.id == id; });
    return {};
  }
  Result<docker::Image> image(const std::string&) override { return docker::Image(); }
  Result<void> remove_image(const std::string&) override { return {}; }
  Result<docker::Volume> volume(const std::string&) override {
    const std::lock_guard lock(world_.mutex);
    if (!world_.has_volume) return Error{Code::not_found, 0, "no such volume"};
    return docker::Volume();
  }
  Result<std::unique_ptr<docker::EventStream>> events(const std::vector<std::string>&,
                                                      const std::vector<std::string>&,
                                                      std::int64_t) override {
    return std::unique_ptr<docker::EventStream>(std::make_unique<Quiet>());
  }

 private:
  World& world_;
};

EphemeralWork work_in(World& world) {
  return {.connect = [&]() -> Result<std::unique_ptr<docker::Engine>> {
            return std::unique_ptr<docker::Engine>(std::make_unique<OneEngine>(world));
          },
          .wanted = [](const docker::Container&) { return true; },
          .capture = [&](docker::Engine&, const docker::Container& container,
                         const std::atomic<bool>&) -> Result<HeldCapture> {
            const std::lock_guard lock(world.mutex);
            ++world.tries;
            if (world.capture_fails) return *world.capture_fails;
            world.captured_ids.push_back(container.id);
            return world.captured;
          },
          .failed =
              [&](const std::string& container, const std::string& why) {
                const std::lock_guard lock(world.mutex);
                world.failed.push_back(container + ": " + why);
              },
          .warn =
              [&](const std::string& line) {
                const std::lock_guard lock(world.mutex);
                world.warned.push_back(line);
              },
          .state_folder = world.state.path(),
          .retry_after = milliseconds(20)};
}

bool settles(const Ephemeral& ephemeral) {
  for (int i = 0; i < 2000 && !ephemeral.is_settled(); ++i) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  return ephemeral.is_settled();
}

bool comes_true(World& world, const std::function<bool(World&)>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (world.with<bool>(condition)) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return false;
}

TEST(Ephemeral, TellsOnceOfWhatIsNotHeldAndTriesAgain) {
  World world;
  world.hold_fails = Error{Code::io, 0, "no space left"};
  const Ephemeral ephemeral(work_in(world));
  ASSERT_TRUE(comes_true(world, [](World& w) { return w.tries >= 4; }));
  world.with<void>([](World& w) {
    ASSERT_EQ(w.failed.size(), 1U);
    EXPECT_EQ(w.failed[0], "once: its data is not held, and lost when it ends: no space left");
    w.hold_fails.reset();
  });
  EXPECT_TRUE(comes_true(world, [](World& w) { return w.held; }));
}

// A burst: what has begun to run must not wait for those that are yet to.
TEST(Ephemeral, HoldsOneWhileTheEngineStartsManyOthers) {
  World world;
  world.starting = 25;
  const Ephemeral ephemeral(work_in(world));
  EXPECT_TRUE(comes_true(world, [](World& w) { return w.held; }));
  world.with<void>([](World& w) { w.starting = 0; });
}

TEST(Ephemeral, AsksAgainWhenTheEngineDidNotTell) {
  World world;
  world.inspect_fails = Error{Code::unavailable, 0, "500"};
  const Ephemeral ephemeral(work_in(world));
  ASSERT_TRUE(comes_true(world, [](World& w) { return w.tries >= 2; }));
  world.with<void>([](World& w) { w.inspect_fails.reset(); });
  EXPECT_TRUE(comes_true(world, [](World& w) { return w.held; }));
}

TEST(Ephemeral, HoldsWhatHasEndedWhenItIsToBeHeldAlways) {
  World world;
  world.status = docker::Status::exited;
  world.hold = "always";
  const Ephemeral ephemeral(work_in(world));
  EXPECT_TRUE(comes_true(world, [](World& w) { return w.held; }));
}

TEST(Ephemeral, AsksNothingOfWhatHasEndedAndStays) {
  World world;
  world.status = docker::Status::exited;
  const Ephemeral ephemeral(work_in(world));
  EXPECT_TRUE(settles(ephemeral));
  EXPECT_EQ(world.with<std::size_t>([](World& w) { return w.tries; }), 0U);
}

TEST(Ephemeral, TellsOfWhatEndedBeforeItWasHeld) {
  World world;
  world.hold_fails = Error{Code::not_found, 0, "no such container"};
  const Ephemeral ephemeral(work_in(world));
  ASSERT_TRUE(comes_true(world, [](World& w) { return !w.failed.empty(); }));
  world.with<void>([](World& w) {
    EXPECT_EQ(w.failed[0],
              "once: it ended before its data could be held, which is lost: no such "
              "container");
  });
}

TEST(Ephemeral, TellsOnceOfWhatIsNotCapturedAndKeepsItUntilItIs) {
  World world;
  world.runs = false;
  world.held = true;
  // As of a repository that is not mounted: the data is there all the same.
  world.capture_fails = Error{Code::not_found, 0, "no repository"};
  const Ephemeral ephemeral(work_in(world));
  ASSERT_TRUE(comes_true(world, [](World& w) { return w.tries >= 4; }));
  world.with<void>([](World& w) {
    ASSERT_EQ(w.failed.size(), 1U);
    EXPECT_EQ(w.failed[0],
              "once: it has ended and is not saved yet, its data is held: no repository");
    EXPECT_TRUE(w.held);
    w.capture_fails.reset();
  });
  EXPECT_TRUE(comes_true(world, [](World& w) { return !w.held; }));
}

// The only copy of what could not be read is what is held.
TEST(Ephemeral, KeepsWhatWasCapturedPartly) {
  World world;
  world.runs = false;
  world.held = true;
  world.captured = HeldCapture::partly;
  {
    const Ephemeral ephemeral(work_in(world));
    ASSERT_TRUE(comes_true(world, [](World& w) { return !w.failed.empty(); }));
    std::this_thread::sleep_for(milliseconds(100));
  }
  world.with<void>([](World& w) {
    ASSERT_EQ(w.failed.size(), 1U);
    EXPECT_NE(w.failed[0].find("not all of it could be read"), std::string::npos) << w.failed[0];
    EXPECT_EQ(w.tries, 1U);
    EXPECT_TRUE(w.held);
    w.captured = HeldCapture::whole;
  });
  // The next daemon does not take it for newer than what ended since.
  {
    const Ephemeral next_start(work_in(world));
    EXPECT_TRUE(settles(next_start));
    std::this_thread::sleep_for(milliseconds(100));
  }
  world.with<void>([](World& w) {
    EXPECT_EQ(w.tries, 1U);
    EXPECT_EQ(w.failed.size(), 1U);
    ASSERT_EQ(w.warned.size(), 1U);
    EXPECT_NE(w.warned[0].find("is held still"), std::string::npos) << w.warned[0];
    EXPECT_TRUE(w.held);
    w.held = false;  // somebody removed the holder
  });
  {
    const Ephemeral next_start(work_in(world));
    EXPECT_TRUE(settles(next_start));
  }
  CaptureRecord record(world.state.path());
  EXPECT_OK(record.read());
  EXPECT_FALSE(record.find(kId)) << "what is gone is forgotten";
}

TEST(Ephemeral, ReleasesWhatWasCapturedBeforeAndCapturesItNotAgain) {
  World world;
  world.runs = false;
  world.held = true;
  world.release_fails = Error{Code::io, 0, "the engine is busy"};
  {
    const Ephemeral ephemeral(work_in(world));
    ASSERT_TRUE(comes_true(world, [](World& w) { return w.releases >= 3; }));
  }
  world.with<void>([](World& w) {
    EXPECT_EQ(w.tries, 1U);
    w.release_fails.reset();
  });
  const Ephemeral next_start(work_in(world));
  EXPECT_TRUE(comes_true(world, [](World& w) { return !w.held; }));
  EXPECT_EQ(world.with<std::size_t>([](World& w) { return w.tries; }), 1U);
}

// What ended last is `latest` then. The engine lists the newest first, others as they like.
TEST(Ephemeral, CapturesTheOldestFirst) {
  const auto id = [](char digit) { return std::string(64, digit); };
  World world;
  world.runs = false;
  world.holders = {
      holder_of(id('5'), "2024-03-16T06:00:00.51Z"), holder_of(id('3'), "2024-03-16T06:00:00Z"),
      holder_of(id('2'), "2024-03-16T06:00:00Z"), holder_of(id('1'), "2024-03-16T05:57:00.6Z"),
      holder_of(id('4'), "2024-03-16T06:00:00.5Z")};
  const Ephemeral ephemeral(work_in(world));
  ASSERT_TRUE(comes_true(world, [](World& w) { return w.holders.empty(); }));
  world.with<void>([&](World& w) {
    EXPECT_EQ(w.captured_ids,
              (std::vector<std::string>{id('1'), id('2'), id('3'), id('4'), id('5')}));
  });
}

TEST(Ephemeral, SaysWhenItDoesNotKnowWhatWasCaptured) {
  World world;
  world.runs = false;
  world.held = true;
  std::filesystem::create_directory(world.state / "held");
  std::ofstream(world.state / "held/captured.json") << "{";
  {
    const Ephemeral ephemeral(work_in(world));
    EXPECT_TRUE(comes_true(world, [](World& w) { return !w.held; }));
  }
  ASSERT_EQ(world.warned.size(), 1U);
  EXPECT_NE(world.warned[0].find("is not known, and captured again: reading "), std::string::npos)
      << world.warned[0];
}

TEST(Ephemeral, SaysOnceThatWhatWasCapturedCannotBeKept) {
  World world;
  world.runs = false;
  world.held = true;
  world.captured = HeldCapture::partly;
  std::filesystem::create_symlink("nowhere", world.state / "held");
  {
    const Ephemeral ephemeral(work_in(world));
    ASSERT_TRUE(comes_true(world, [](World& w) { return !w.warned.empty(); }));
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_EQ(world.with<std::size_t>([](World& w) { return w.tries; }), 1U);
    std::filesystem::remove(world.state / "held");
    CaptureRecord record(world.state.path());
    EXPECT_TRUE(comes_true(world, [&](World&) { return record.read().ok() && record.find(kId); }))
        << "it is written when that can be done again";
  }
  ASSERT_EQ(world.warned.size(), 1U);
  EXPECT_NE(world.warned[0].find("is forgotten by the next start"), std::string::npos)
      << world.warned[0];
}

TEST(Ephemeral, TellsOfWhatWasCapturedPartlyWhenItFailedBefore) {
  World world;
  world.runs = false;
  world.held = true;
  world.capture_fails = Error{Code::not_found, 0, "no repository"};
  const Ephemeral ephemeral(work_in(world));
  ASSERT_TRUE(comes_true(world, [](World& w) { return w.failed.size() == 1; }));
  world.with<void>([](World& w) {
    w.capture_fails.reset();
    w.captured = HeldCapture::partly;
  });
  ASSERT_TRUE(comes_true(world, [](World& w) { return w.failed.size() == 2; }));
  world.with<void>([](World& w) {
    EXPECT_NE(w.failed[1].find("what it left stays held"), std::string::npos) << w.failed[1];
  });
}

TEST(Ephemeral, SaysWhenTheDataIsGone) {
  World world;
  world.runs = false;
  world.held = true;
  world.has_volume = false;
  world.capture_fails = Error{Code::not_found, 0, "no such volume"};
  const Ephemeral ephemeral(work_in(world));
  EXPECT_TRUE(comes_true(world, [](World& w) { return !w.held; }));
  world.with<void>([](World& w) {
    ASSERT_EQ(w.failed.size(), 1U);
    EXPECT_EQ(w.failed[0],
              "once: it has ended, and its data is gone and not saved: no such volume");
  });
}

// What is in binds and named volumes is there after the holder.
TEST(Holder, LosesByReleaseOnlyWhatIsInAnonymousVolumes) {
  const std::string bound(64, 'b');  // looks anonymous, and was given by name
  const std::string twice(64, 'd');
  const auto container = test::value_of(docker::parse_container(
      R"({"Id":")" + kId + R"(","Name":"/once","Image":"sha256:01","Config":{"Image":"i"},)" +
      R"("State":{"Status":"running"},"HostConfig":{"AutoRemove":true,"Binds":["/srv:/srv",)" +
      R"("kept:/kept",")" + bound + R"(:/bound"]},"Mounts":[)" + R"({"Type":"volume","Name":")" +
      kVolume + R"(","Source":"/v","Destination":"/data"},)" + R"({"Type":"volume","Name":")" +
      twice + R"(","Source":"/w","Destination":"/w"},)" +
      R"({"Type":"volume","Name":"kept","Source":"/k","Destination":"/kept"},)" +
      R"({"Type":"volume","Name":")" + bound + R"(","Source":"/b","Destination":"/bound"},)" +
      R"({"Type":"bind","Source":"/w","Destination":"/bind-of-w"},)" +
      R"({"Type":"bind","Source":"/srv","Destination":"/srv"}]})"));
  Source source;
  const auto add = [&](const char* name, const std::string& origin, const char* host_path) {
    VolumeSource volume;
    volume.name = name;
    volume.origin = origin;
    volume.host_path = host_path;
    source.volumes.push_back(volume);
  };
  add("bind-of-w", "/w", "/w");
  add("bound", bound, "/b");
  add("data", kVolume, "/v");
  add("kept", "kept", "/k");
  add("srv", "/srv", "/srv");
  const auto loses = [&](const std::vector<std::string>& paths) {
    std::vector<Unreadable> unreadable;
    for (const std::string& path : paths) unreadable.push_back({path, "Permission denied"});
    return is_lost_by_release(container, source, unreadable);
  };
  EXPECT_FALSE(loses({}));
  EXPECT_FALSE(loses({"srv/root-squash/x", "kept/x", "bound/x"}));
  EXPECT_TRUE(loses({"data/x"}));
  EXPECT_TRUE(loses({"srv/x", "data/a/b"}));
  EXPECT_TRUE(loses({"bind-of-w/x"})) << "the same folder as an anonymous volume's";
  EXPECT_TRUE(loses({"unknown/x"}));
}

}  // namespace
}  // namespace bygone::ingest
