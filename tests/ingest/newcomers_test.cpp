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
    BackupOptions options;
    options.wish = wish;
    options.post = std::move(post);
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

TEST_F(NewcomersTest, AreNoneWhereNothingIsWritten) {
  const BackupReport report = must(run_container());
  EXPECT_EQ(report.snapshot.consistency, Consistency::idle);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_TRUE(engine_.calls().empty());
}

}  // namespace
}  // namespace bygone::ingest
