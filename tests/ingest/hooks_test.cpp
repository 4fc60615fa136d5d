// SPDX-License-Identifier: Apache-2.0
//
// Hooks in whole backups of a container.
#include "ingest/owed_hooks.h"
#include "tests/ingest/container_fixture.h"

namespace bygone::ingest {
namespace {

class Hooks : public ContainerBackup {
 protected:
  // As an engine does it.
  void refuse_while_paused() {
    engine_.on_exec =
        [this, inner = engine_.on_exec](
            const docker::ExecRequest& request) -> Result<std::unique_ptr<docker::Exec>> {
      const auto state = engine_.state("c1");
      if (!state->running || state->paused) {
        return Error{Code::busy, 0, "container c1 is paused, or does not run"};
      }
      return inner(request);
    };
  }
};

TEST_F(Hooks, RunAroundTheFreezeAlone) {
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  options.pre->user = "app";
  programs_["pre"] = programs_["post"] = {};
  const BackupReport report = must_back_up(options);
  EXPECT_EQ(order_, (Words{"exec pre", "pause c1", "unpause c1", "exec post"}));
  EXPECT_EQ(requests_[0].user, "app");
  EXPECT_TRUE(report.failed.empty() && report.warnings.empty());
}

TEST_F(Hooks, RunAroundTheReadWithoutAFreeze) {
  BackupOptions options;
  options.wish = Wish::live;
  options.pre = hook("pre");
  options.post = hook("post");
  programs_["pre"] = {.midway = {}};
  programs_["post"] = {};
  say_ = [this](const docker::ExecRequest& request) {
    if (request.command.front() == "pre") write_file(source_dir() / "marker", "x");
    return say(request);
  };
  const BackupReport report = must_back_up(options);
  EXPECT_EQ(content(report.snapshot, "marker"), "x");
  EXPECT_EQ(order_, (Words{"exec pre", "exec post"}));
}

TEST_F(Hooks, ThatFailBeforeMakeNoSnapshot) {
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  programs_["pre"] = {.error = "cannot flush\n", .exit_code = 3};
  programs_["post"] = {};
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::hook);
  EXPECT_EQ(report.error().message, "pre hook pre: exit code 3: cannot flush");
  EXPECT_EQ(order_, (Words{"exec pre", "exec post"}));  // what it began is ended
  EXPECT_TRUE(repository_->snapshots()->empty());
}

TEST_F(Hooks, MayFailWhenTheyAreToldTo) {
  BackupOptions options;
  options.pre = hook("pre");
  options.pre->on_error = Hook::OnError::go_on;
  programs_["pre"] = {.output = "busy\n", .exit_code = 3};
  const BackupReport report = must_back_up(options);
  EXPECT_EQ(report.warnings, (Words{"pre hook pre: exit code 3: busy"}));
  EXPECT_TRUE(report.failed.empty());
}

TEST_F(Hooks, ThatFailAfterAreRecorded) {
  BackupOptions options;
  options.post = hook("missing");
  const BackupReport report = must_back_up(options);
  ASSERT_EQ(report.failed.size(), 1u);
  EXPECT_NE(report.failed[0].find("exit code 127, it could not be started"), std::string::npos);
  EXPECT_EQ(report.snapshot.failed, report.failed);
}

TEST_F(Hooks, AreEndedAfterTheirTime) {
  BackupOptions options;
  options.pre = hook("pre");
  options.pre->timeout = std::chrono::milliseconds(50);
  options.post = hook("post");
  programs_["pre"] = {.hangs = true};
  programs_["post"] = {};
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::hook);
  EXPECT_EQ(report.error().message, "pre hook pre: not done within 50 ms, and ended");
  EXPECT_EQ(order_.back(), "exec post");
}

TEST_F(Hooks, RunAfterACancel) {
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  programs_["pre"] = programs_["post"] = {};
  act_ = [this] { cancel_ = true; };
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_EQ(order_, (Words{"exec pre", "pause c1", "unpause c1", "exec post"}));
}

TEST_F(Hooks, RunAfterAFreezeThatFailed) {
  BackupOptions options;
  options.wish = Wish::freeze;
  options.post = hook("post");
  programs_["post"] = {.exit_code = 5};
  engine_.fail("pause c1", {Code::io, 0, "unable to freeze"}, 10);
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(order_.back(), "exec post");
  EXPECT_NE(report.error().message.find("post hook post: exit code 5"), std::string::npos);
}

TEST_F(Hooks, AreLeftOutWhereNothingRuns) {
  engine_.set_status("c1", docker::Status::exited);
  writers_.clear();
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  const BackupReport report = must_back_up(options);
  EXPECT_TRUE(requests_.empty());
  EXPECT_EQ(report.warnings, (Words{"its hooks were left out: the container does not run"}));
}

// Whoever is killed in between leaves it to whoever comes next.
TEST_F(Hooks, HaveAJournalFromBeforeTheFirstUntilAfterTheSecond) {
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  options.post->user = "app";
  std::vector<std::size_t> journals;
  const auto note = [&] { journals.push_back(hook_journals().size()); };
  say_ = [&](const docker::ExecRequest&) {
    note();
    const auto text = read_file(system_files(), hook_journals().at(0), 1 << 20);
    const auto record = decode_hook_record(as_text(*text));
    EXPECT_TRUE(record.ok());
    EXPECT_EQ(record->container, "c1");
    EXPECT_EQ(record->name, "data");
    EXPECT_EQ(record->started_at, "2024-01-01T00:00:00Z");
    EXPECT_EQ(record->hook.command, Words{"post"});
    EXPECT_EQ(record->hook.user, "app");
    EXPECT_FALSE(has_owed_hooks(state())) << "its writer lives";
    return Said{};
  };
  act_ = note;
  must_back_up(options);
  EXPECT_EQ(journals, (std::vector<std::size_t>{1, 1, 1}));
  EXPECT_EQ(order_, (Words{"exec pre", "pause c1", "unpause c1", "exec post"}));
  EXPECT_TRUE(hook_journals().empty());
}

TEST_F(Hooks, DoNotBeginWithoutAJournal) {
  stdfs::create_directories(state());
  write_file(hook_folder(state()), "no folder");
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_TRUE(report.error().message.starts_with("writing the journal of a hook"))
      << report.error().message;
  EXPECT_EQ(order_, Words{});
  stdfs::remove(hook_folder(state()));
}

TEST_F(Hooks, StayOwedWhenTheEngineGoesAway) {
  BackupOptions options;
  options.post = hook("post");
  programs_["post"] = {.breaks = Error{Code::unavailable, 0, "reset"}};
  const BackupReport report = must_back_up(options);
  ASSERT_EQ(report.failed.size(), 1u);
  EXPECT_NE(report.failed[0].find("when Docker answers again"), std::string::npos);
  EXPECT_TRUE(has_owed_hooks(state()));
  programs_["post"] = {};
  order_.clear();
  EXPECT_EQ(run_owed_hooks(engine_, state(), cancel_).at(0).fate, OwedHook::Fate::ran);
  EXPECT_EQ(order_, Words{"exec post"});
}

// An engine that cannot thaw, however often it is asked: nothing runs in what stands still.
TEST_F(Hooks, StayOwedWhileTheirContainerStandsStill) {
  refuse_while_paused();
  BackupOptions options;
  options.post = hook("post");
  programs_["post"] = {};
  engine_.fail("unpause c1", {Code::io, 0, "unable to thaw"}, 10);
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("may be frozen still"), std::string::npos);
  EXPECT_NE(report.error().message.find("it is run once its container goes on"), std::string::npos)
      << report.error().message;
  EXPECT_EQ(run_owed_hooks(engine_, state(), cancel_).at(0).fate, OwedHook::Fate::owed_still);
  ASSERT_TRUE(thaw_dead_journals(engine_, state()).ok());
  order_.clear();
  EXPECT_EQ(run_owed_hooks(engine_, state(), cancel_).at(0).fate, OwedHook::Fate::ran);
  EXPECT_EQ(order_, Words{"exec post"});
  EXPECT_FALSE(has_owed_hooks(state()));
}

TEST_F(Hooks, RunAfterTheThawThatComesLater) {
  refuse_while_paused();
  BackupOptions options;
  options.post = hook("post");
  programs_["post"] = {};
  engine_.fail("unpause c1", {Code::io, 0, "unable to thaw"}, 5);
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message.find("post"), std::string::npos) << report.error().message;
  EXPECT_EQ(order_.back(), "exec post");
  EXPECT_FALSE(has_owed_hooks(state()));
}

// One that its own backup has stopped, and that does not start.
TEST_F(Hooks, StayOwedUntilTheirContainerIsStarted) {
  engine_.stop_timeouts["c1"] = std::chrono::seconds(1);
  BackupOptions options;
  options.wish = Wish::stop;
  options.pre = hook("pre");
  options.post = hook("post");
  programs_["pre"] = programs_["post"] = {};
  refuse_while_paused();
  engine_.fail("start c1", {Code::io, 0, "its port is taken"}, 10);
  ASSERT_FALSE(back_up(options).ok());
  EXPECT_EQ(run_owed_hooks(engine_, state(), cancel_).at(0).fate, OwedHook::Fate::owed_still);
  ASSERT_TRUE(thaw_dead_journals(engine_, state()).ok());
  EXPECT_EQ(run_owed_hooks(engine_, state(), cancel_).at(0).fate, OwedHook::Fate::ran);
  EXPECT_EQ(order_.back(), "exec post");
}

TEST_F(Hooks, BeginAfterWhatAnEarlierBackupOwed) {
  HookRecord record{.engine = engine_.address(),
                    .container = "c1",
                    .name = "data",
                    .started_at = "2024-01-01T00:00:00Z",
                    .is_stopped = false,
                    .hook = hook("owed"),
                    .failures = 1};
  ASSERT_TRUE(IntentJournal::create(hook_folder(state()), encode(record)).ok());
  programs_["owed"] = {.exit_code = 4};
  programs_["pre"] = programs_["post"] = {};
  BackupOptions options;
  options.pre = hook("pre");
  options.post = hook("post");
  const BackupReport report = must_back_up(options);
  EXPECT_EQ(order_, (Words{"exec owed", "exec pre", "pause c1", "unpause c1", "exec post"}));
  ASSERT_EQ(report.failed.size(), 1u) << "that it failed is told";
  EXPECT_NE(report.failed[0].find("failed twice"), std::string::npos) << report.failed[0];
  EXPECT_TRUE(hook_journals().empty());
}

TEST_F(Hooks, ShowTheEndOfWhatTheySaidAlone) {
  BackupOptions options;
  options.pre = hook("pre");
  programs_["pre"] = {
      .output = std::string(100'000, 'x') + "the end\n", .exit_code = 1, .times = 50};
  const auto report = back_up(options);
  ASSERT_FALSE(report.ok());
  EXPECT_LT(report.error().message.size(), 2200u);
  EXPECT_TRUE(report.error().message.ends_with("the end"));
}

}  // namespace
}  // namespace bygone::ingest
