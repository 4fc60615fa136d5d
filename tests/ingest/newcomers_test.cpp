// SPDX-License-Identifier: Apache-2.0
//
// Containers that come to run on a source's volumes while it is backed up.
#include "ingest/newcomers.h"

#include <functional>
#include <string>
#include <utility>

#include "tests/ingest/backup_fixture.h"
#include "tests/support/fake_exec.h"

namespace bygone::ingest {
namespace {

using store::Consistency;

// The source of a container; who runs on its volume is up to each test. The n-th look at what runs
// is the first before the freeze, the second right before it, the third after it.
class NewcomersTest : public BackupTest {
 protected:
  NewcomersTest() {
    write_file(source_dir() / "file", "first");
    engine_.before = [this](const std::string& call) {
      if (call == "list" && ++looks_ == at_look_) act_();
      if (const auto found = at_call_.find(call); found != at_call_.end()) found->second();
    };
  }
  void add(const std::string& id) {
    engine_.binds[id] = {source_dir()};
    engine_.add(id);
  }
  void before_look(int number, std::function<void()> act) {
    at_look_ = number;
    act_ = std::move(act);
  }
  Result<BackupReport> run_container(Wish wish = Wish::automatic,
                                     std::optional<Hook> post = std::nullopt) {
    Source source = TRY(folder_source("data", source_dir()));
    source.kind = store::SourceKind::container;
    source.container_id = "c1";
    source.writers = writers_;
    source.volumes[0].has_writers = !writers_.empty();
    BackupOptions options;
    options.wish = wish;
    options.post = std::move(post);
    options.off_limits = off_limits_;
    return run(source, std::move(options));
  }
  static docker::Event event(const char* action, const char* id) {
    return {.type = "container", .action = action, .id = id, .attributes = {{"name", id}}};
  }
  // A container's bind of the folder.
  Source bound() {
    Source source = *folder_source("data", source_dir());
    source.kind = store::SourceKind::container;
    source.writers = writers_;
    source.volumes[0].kind = store::VolumeKind::bind;
    return source;
  }
  BackupReport must(Result<BackupReport> report) {
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  // A hook that does `act` after what was read without a freeze.
  Hook after_read(std::function<void()> act) {
    docker::Container container;
    container.id = "c1";
    container.state.running = true;
    engine_.shown["c1"] = container;
    engine_.on_exec = [act = std::move(act)](const docker::ExecRequest&) {
      act();
      return Result<std::unique_ptr<docker::Exec>>(
          std::make_unique<test::FakeExec>(test::Said{.exit_code = 0}));
    };
    Hook hook;
    hook.command = {"act"};
    return hook;
  }

  std::map<std::string, std::function<void()>> at_call_;
  std::vector<std::pair<std::string, std::string>> off_limits_;

 private:
  int looks_ = 0;
  int at_look_ = 0;
  std::function<void()> act_;
};

TEST_F(NewcomersTest, StandStillWhenMadeAnewDuringTheHotPass) {
  add_writer();
  before_look(1, [this] {
    engine_.remove("c1");
    add("c2");
  });
  at_call_["pause c2"] = [this] { write_file(source_dir() / "file", "last!"); };
  at_call_["unpause c2"] = [this] { write_file(source_dir() / "file", "late!"); };
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::freeze);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_EQ(content(report.snapshot, "file"), "last!");
  EXPECT_FALSE(engine_.is_paused("c2"));
}

TEST_F(NewcomersTest, StandStillWhenTheyBeginRightBeforeTheFreeze) {
  add_writer();
  before_look(2, [this] { add("c2"); });
  at_call_["unpause c2"] = [this] { write_file(source_dir() / "file", "late!"); };
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::freeze);
  EXPECT_EQ(content(report.snapshot, "file"), "first");
}

TEST_F(NewcomersTest, ThatBeginDuringTheFreezeMakeItLive) {
  add_writer();
  at_call_["unpause c1"] = [this] { add("c2"); };
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::live);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_EQ(report.warnings[0], "container c2 has begun to run on its volumes: captured live");
}

TEST_F(NewcomersTest, ThatBeginDuringTheFreezeFailWhoInsists) {
  add_writer();
  at_call_["unpause c1"] = [this] { add("c2"); };
  const auto report = run_container(Wish::freeze);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("container c2 has begun"), std::string::npos);
  EXPECT_TRUE(repository_->snapshots()->empty());
}

// One that has begun and ended while c1 stood still is on no list.
TEST_F(NewcomersTest, ThatRanForAMomentDuringTheFreezeMakeItLive) {
  add_writer();
  const auto tell = [this](const char* action) { engine_.tell(event(action, "c2")); };
  at_call_["pause c1"] = [&] { tell("start"); };
  at_call_["unpause c1"] = [&] { tell("die"); };
  EXPECT_EQ(must(run_container()).snapshot.consistency, Consistency::freeze)
      << "it had a volume, and this is a folder";
  Source source = bound();
  const BackupReport gone = must(run(source, {}));
  EXPECT_EQ(gone.snapshot.consistency, Consistency::live);
  ASSERT_EQ(gone.warnings.size(), 1u);
  EXPECT_EQ(gone.warnings[0],
            "container c2 ran meanwhile and is gone: it may have written to its volumes: captured "
            "live");
  docker::Container ended;
  ended.id = "c2";
  ended.state.status = docker::Status::exited;
  engine_.shown["c2"] = ended;
  EXPECT_EQ(must(run(source, {})).snapshot.consistency, Consistency::freeze)
      << "it has not mounted anything";
  docker::Mount mount;
  mount.type = docker::MountType::bind;
  mount.source = source_dir();
  mount.writable = true;
  engine_.shown["c2"].mounts = {mount};
  const BackupReport told = must(run(source, {}));
  EXPECT_EQ(told.snapshot.consistency, Consistency::live);
  ASSERT_EQ(told.warnings.size(), 1u);
  EXPECT_EQ(told.warnings[0], "container c2 has begun to run on its volumes: captured live");
}

// Of one that is gone the engine's events tell the volumes.
TEST_F(NewcomersTest, ThatAreGoneHadTheVolumesThatWereMountedForThem) {
  add_writer();
  std::string volume, mode;
  at_call_["pause c1"] = [&] {
    engine_.tell({.type = "volume",
                  .action = "mount",
                  .id = volume,
                  .attributes = {{"container", "c2"}, {"read/write", mode}}});
    engine_.tell(event("start", "c2"));
  };
  at_call_["unpause c1"] = [&] { engine_.tell(event("die", "c2")); };
  Source source = bound();
  source.volumes[0].kind = store::VolumeKind::named;
  source.volumes[0].origin = "data";
  const auto its_class = [&](const char* a_volume, const char* a_mode) {
    volume = a_volume;
    mode = a_mode;
    return must(run(source, {})).snapshot.consistency;
  };
  EXPECT_EQ(its_class("data", "true"), Consistency::live);
  EXPECT_EQ(its_class("other", "true"), Consistency::freeze);
  EXPECT_EQ(its_class("data", "false"), Consistency::freeze);
}

TEST_F(NewcomersTest, ThatEndedBeforeTheFreezeDoNoHarm) {
  add_writer();
  at_call_["state c1"] = [this] {
    engine_.tell(event("start", "c2"));
    engine_.tell(event("die", "c2"));
  };
  EXPECT_EQ(must(run(bound(), {})).snapshot.consistency, Consistency::freeze);
}

// One that the list had shown with all that it mounts, and that is gone since.
TEST_F(NewcomersTest, ThatWereListedBeforeDoNoHarm) {
  add_writer();
  before_look(2, [this] {
    engine_.add("c2");
    engine_.tell(event("start", "c2"));
  });
  at_call_["unpause c1"] = [this] {
    engine_.remove("c2");
    engine_.tell(event("die", "c2"));
  };
  EXPECT_EQ(must(run(bound(), {})).snapshot.consistency, Consistency::freeze);
}

TEST_F(NewcomersTest, OfWhichTheEngineTellsNothingAreNotNoticed) {
  add_writer();
  at_call_["pause c1"] = [this] { engine_.tell(event("start", "c2")); };
  at_call_["unpause c1"] = [this] { engine_.tell(event("die", "c2")); };
  engine_.fail("events", Error{Code::io, 0, "500"}, 9);
  const BackupReport report = must(run(bound(), {}));
  EXPECT_EQ(report.snapshot.consistency, Consistency::freeze);
  EXPECT_TRUE(report.warnings.empty());
}

// A stream that ends early still told of some; nobody listens any more once all run again.
TEST_F(NewcomersTest, AreNoticedAsFarAsTheStreamGoes) {
  add_writer();
  at_call_["pause c1"] = [this] { engine_.tell(event("start", "c2")); };
  at_call_["unpause c1"] = [this] {
    EXPECT_EQ(engine_.listeners(), 1);
    engine_.tell({});  // one that cannot be read
  };
  const auto listeners_in_hook = std::make_shared<std::vector<int>>();
  const Hook hook =
      after_read([this, listeners_in_hook] { listeners_in_hook->push_back(engine_.listeners()); });
  Source source = bound();
  source.container_id = "c1";
  BackupOptions options;
  options.post = hook;
  EXPECT_EQ(must(run(source, std::move(options))).snapshot.consistency, Consistency::live);
  EXPECT_EQ(*listeners_in_hook, std::vector<int>{0});
}

TEST_F(NewcomersTest, MayBeThereAndUntold) {
  add_writer();
  engine_.fail("list", Error{Code::io, 0, "500"}, 3);
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::live);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("the engine does not tell"), std::string::npos);
}

TEST_F(NewcomersTest, FreezeWhatWasIdle) {
  before_look(1, [this] { add("c2"); });
  at_call_["pause c2"] = [this] { write_file(source_dir() / "file", "last!"); };
  at_call_["unpause c2"] = [this] { write_file(source_dir() / "file", "late!"); };
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::freeze);
  EXPECT_EQ(content(report.snapshot, "file"), "last!");
  EXPECT_GT(report.snapshot.window, 0);
}

TEST_F(NewcomersTest, MakeLiveWhatIsIdleAndMayBeLive) {
  before_look(1, [this] { add("c2"); });
  const BackupReport report = must(run_container(Wish::live));
  EXPECT_EQ(report.snapshot.consistency, Consistency::live);
  EXPECT_TRUE(engine_.calls().empty());
}

TEST_F(NewcomersTest, ThatAreGoneAgainLeaveWhatTheyWrote) {
  int times = 0;
  const auto report = must(run_container(Wish::automatic, after_read([this, &times] {
                                           if (++times == 1)
                                             write_file(source_dir() / "file", "other");
                                         })));
  EXPECT_EQ(report.snapshot.consistency, Consistency::idle);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_EQ(content(report.snapshot, "file"), "other");
  EXPECT_EQ(times, 2) << "the hooks run around each capture";
}

TEST_F(NewcomersTest, ThatNobodyKnowsMakeItLive) {
  int times = 0;
  const auto act = [this, &times] { write_file(source_dir() / "file", std::to_string(++times)); };
  const auto report = must(run_container(Wish::automatic, after_read(act)));
  EXPECT_EQ(report.snapshot.consistency, Consistency::live);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("though no container that runs can write to it"),
            std::string::npos);
  const auto insisted = run_container(Wish::freeze, after_read(act));
  ASSERT_FALSE(insisted.ok());
  EXPECT_NE(insisted.error().message.find("though no container"), std::string::npos);
}

// A mount point in it, a fresh link, a file that may not be read: none of them has changed.
TEST_F(NewcomersTest, AreNoneForWhatIsNotEnteredOrFresh) {
  ahead_ = 0;
  stdfs::create_directories(source_dir() / "repository");
  stdfs::create_symlink("file", source_dir() / "link");
  write_file(source_dir() / "empty", "");
  off_limits_ = {{source_dir() / "repository", "the repository"}};
  const auto report = must(run_container(Wish::freeze, after_read([this] { ahead_ = kLater; })));
  EXPECT_EQ(report.snapshot.consistency, Consistency::idle);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_TRUE(engine_.calls().empty());
}

TEST_F(NewcomersTest, LeaveWhatWasReadWhereAllOfItIsGone) {
  const auto report =
      must(run_container(Wish::automatic, after_read([this] { stdfs::remove_all(source_dir()); })));
  EXPECT_EQ(report.snapshot.consistency, Consistency::live);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_EQ(content(report.snapshot, "file"), "first");
}

TEST_F(NewcomersTest, AreNotTheContainerThatBygoneRunsIn) {
  Source source = *folder_source("data", source_dir());
  source.kind = store::SourceKind::container;
  const BackupReport report = must(run(source, BackupOptions()));
  EXPECT_EQ(report.snapshot.consistency, Consistency::live) << "nobody else writes to it";
  EXPECT_TRUE(engine_.calls().empty());
}

// One member of a group is idle and is written to while the other one's hooks run.
TEST_F(NewcomersTest, OfAnIdleMemberOfAGroupStandStillWithIt) {
  add_writer();
  engine_.binds["c1"] = {folder_.path() + "/other"};
  stdfs::create_directories(folder_.path() + "/other");
  Source running = *folder_source("running", folder_.path() + "/other");
  running.kind = store::SourceKind::container;
  running.writers = writers_;
  Source idle = *folder_source("idle", source_dir());
  idle.kind = store::SourceKind::container;
  idle.volumes[0].has_writers = false;
  BackupOptions options;
  options.state_folder = folder_.path() + "/state";
  options.clock = [this] { return system_now() + ahead_; };
  const auto run_group = [&] {
    auto session = store::Session::begin(*repository_, store::Compression::standard);
    EXPECT_TRUE(session.ok());
    return backup_group(**session, {{running, options}, {idle, options}}, "shop", &engine_, {},
                        cancel_);
  };
  before_look(2, [this] { add("c2"); });
  at_call_["pause c2"] = [this] { write_file(source_dir() / "file", "last!"); };
  for (const auto& report : run_group()) {
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->snapshot.consistency, Consistency::freeze);
  }
  engine_.remove("c2");
  at_call_["pause c1"] = [this] { write_file(source_dir() / "file", "later!"); };
  const auto reports = run_group();
  ASSERT_TRUE(reports[0].ok() && reports[1].ok());
  EXPECT_EQ(reports[0]->snapshot.consistency, Consistency::freeze);
  EXPECT_EQ(reports[1]->snapshot.consistency, Consistency::live);
  ASSERT_EQ(reports[1]->warnings.size(), 1u);
  EXPECT_NE(reports[1]->warnings[0].find("before the rest of its group"), std::string::npos);
}

TEST_F(NewcomersTest, AreNoneWhereNothingIsWritten) {
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::idle);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_TRUE(engine_.calls().empty());
}

}  // namespace
}  // namespace bygone::ingest
