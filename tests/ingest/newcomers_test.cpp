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
