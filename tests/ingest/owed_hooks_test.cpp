// SPDX-License-Identifier: Apache-2.0
#include "ingest/owed_hooks.h"

#include <fstream>
#include <mutex>
#include <thread>

#include "ingest/hook_journal.h"
#include "ingest/intent_journal.h"
#include "tests/ingest/freeze_fixture.h"
#include "tests/support/fake_exec.h"

namespace bygone::ingest {
namespace {

using Fate = OwedHook::Fate;
using Fates = std::vector<Fate>;
using test::Said;

// Hooks of processes that died, by the id of the container that they are owed to.
class OwedHooks : public Freeze {
 protected:
  OwedHooks() {
    engine_.on_exec =
        [this](const docker::ExecRequest& request) -> Result<std::unique_ptr<docker::Exec>> {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      return std::unique_ptr<docker::Exec>(
          std::make_unique<test::FakeExec>(says_[request.container]));
    };
  }

  HookRecord owed_to(const std::string& id) {
    HookRecord record{.engine = engine_.address(),
                      .container = id,
                      .name = id + "-name",
                      .started_at = kStarted,
                      .is_stopped = false,
                      .hook = {},
                      .failures = 0};
    record.hook.command = {"rm", "/data/a mark"};
    record.hook.user = "app";
    record.hook.timeout = std::chrono::milliseconds(50);
    return record;
  }
  // The journal of a process that was killed: its lock is gone, its file is not.
  void leave_hook(const HookRecord& record) {
    ASSERT_TRUE(IntentJournal::create(hook_folder(state_), encode(record)).ok());
  }
  std::vector<OwedHook> run_all() { return run_owed_hooks(engine_, state_, cancel_); }
  Fates fates() {
    Fates fates;
    for (const OwedHook& owed : run_all()) fates.push_back(owed.fate);
    return fates;
  }
  Strings hook_journals() {
    auto paths = intent_journals(hook_folder(state_));
    return paths.ok() ? *paths : Strings{};
  }
  std::size_t execs() {
    const std::lock_guard lock(mutex_);
    return requests_.size();
  }

  std::mutex mutex_;
  std::map<std::string, Said> says_;  // by container
  std::vector<docker::ExecRequest> requests_;
  std::atomic<bool> cancel_{false};
};

TEST_F(OwedHooks, AreNoneWhereNothingWas) {
  EXPECT_FALSE(has_owed_hooks(state_));
  EXPECT_TRUE(run_all().empty());
}

TEST_F(OwedHooks, Run) {
  leave_hook(owed_to("db"));
  EXPECT_TRUE(has_owed_hooks(state_));
  const auto owed = run_all();
  ASSERT_EQ(owed.size(), 1U);
  EXPECT_EQ(owed[0].fate, Fate::ran);
  EXPECT_EQ(text_of(owed[0]),
            "db-name: the post hook rm, which a backup that died did not come to, has run");
  ASSERT_EQ(requests_.size(), 1U);
  EXPECT_EQ(requests_[0].container, "db");
  EXPECT_EQ(requests_[0].user, "app");
  EXPECT_EQ(requests_[0].command, (Strings{"rm", "/data/a mark"}));
  EXPECT_EQ(hook_journals(), Strings{});
  EXPECT_TRUE(run_all().empty()) << "once";
}

TEST_F(OwedHooks, AreOwedToTheRunOfTheContainerThatThePreHookRanIn) {
  leave_hook(owed_to("gone"));
  EXPECT_EQ(fates(), Fates{Fate::not_owed});
  leave_hook(owed_to("db"));
  engine_.set_status("db", Status::exited);
  EXPECT_EQ(fates(), Fates{Fate::not_owed});
  leave_hook(owed_to("db"));
  engine_.restart("db", "later");
  const auto owed = run_all();
  EXPECT_EQ(owed.at(0).fate, Fate::not_owed);
  EXPECT_NE(owed[0].line.find("started anew"), std::string::npos) << owed[0].line;
  EXPECT_EQ(execs(), 0U);
  EXPECT_EQ(hook_journals(), Strings{});
}

// Who is stopped for a backup and started again has the post hook run in its next run.
TEST_F(OwedHooks, AreOwedToTheNextRunOfWhatBygoneStops) {
  HookRecord record = owed_to("db");
  record.is_stopped = true;
  leave_hook(record);
  leave_journal({"db"});  // its stop is not undone yet
  engine_.set_status("db", Status::exited);
  EXPECT_EQ(fates(), Fates{Fate::owed_still});
  engine_.restart("db", "later");
  EXPECT_EQ(fates(), Fates{Fate::ran});
  EXPECT_EQ(execs(), 1U);
}

TEST_F(OwedHooks, WaitForWhatIsPaused) {
  leave_hook(owed_to("db"));
  engine_.set_status("db", Status::paused);
  EXPECT_EQ(fates(), Fates{Fate::owed_still});
  EXPECT_TRUE(has_owed_hooks(state_)) << "and the lock is free again";
  engine_.set_status("db", Status::running);
  EXPECT_EQ(fates(), Fates{Fate::ran});
}

TEST_F(OwedHooks, WaitForAnEngineThatDoesNotAnswer) {
  leave_hook(owed_to("db"));
  engine_.fail("state db", kGone);
  EXPECT_EQ(fates(), Fates{Fate::owed_still});
  EXPECT_EQ(fates(), Fates{Fate::ran});
}

TEST_F(OwedHooks, ThatFailAreTriedOnceMoreAndSaidThen) {
  leave_hook(owed_to("db"));
  says_["db"] = {.error = "no such mark", .exit_code = 3};
  const auto owed = run_all();
  ASSERT_EQ(owed.size(), 1U);
  EXPECT_EQ(owed[0].fate, Fate::failed);
  EXPECT_NE(owed[0].line.find("exit code 3: no such mark"), std::string::npos) << owed[0].line;
  EXPECT_NE(owed[0].line.find("docker exec -u app db rm '/data/a mark'"), std::string::npos)
      << owed[0].line;
  EXPECT_EQ(execs(), 2U);
  EXPECT_EQ(hook_journals(), Strings{}) << "not for ever";
}

// Whoever is killed between the two goes on counting.
TEST_F(OwedHooks, RememberThatTheyHaveFailed) {
  leave_hook(owed_to("db"));
  says_["db"] = {.exit_code = 3};
  std::string kept;
  engine_.before = [&](const std::string& call) {
    if (call != "state db" || execs() != 1) return;
    kept = std::string(as_text(*read_file(system_files(), hook_journals().at(0), 1 << 20)));
  };
  EXPECT_EQ(fates(), Fates{Fate::failed});
  const auto record = decode_hook_record(kept);
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->failures, 1U);
  leave_hook(*record);
  EXPECT_EQ(fates(), Fates{Fate::failed});
  EXPECT_EQ(execs(), 3U);
}

TEST_F(OwedHooks, ThatHangAreEndedAndHoldUpNobody) {
  leave_hook(owed_to("db"));
  leave_hook(owed_to("web"));
  says_["db"] = {.hangs = true};
  for (const OwedHook& owed : run_all()) {
    EXPECT_EQ(owed.fate, owed.container == "db-name" ? Fate::failed : Fate::ran) << owed.line;
  }
  EXPECT_EQ(execs(), 3U);
}

TEST_F(OwedHooks, AreOwedStillAfterACancel) {
  HookRecord record = owed_to("db");
  record.hook.timeout = std::chrono::minutes(5);
  leave_hook(record);
  says_["db"] = {.hangs = true};
  std::thread signal([&] {
    while (execs() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    cancel_ = true;
  });
  EXPECT_EQ(fates(), Fates{Fate::owed_still});
  signal.join();
  cancel_ = false;
  says_["db"] = {};
  EXPECT_EQ(fates(), Fates{Fate::ran});
}

TEST_F(OwedHooks, OfTheLivingAreLeftAlone) {
  auto living = IntentJournal::create(hook_folder(state_), encode(owed_to("db")));
  ASSERT_TRUE(living.ok());
  EXPECT_FALSE(has_owed_hooks(state_));
  EXPECT_TRUE(run_all().empty());
  EXPECT_EQ(execs(), 0U);
  ASSERT_TRUE(living->remove().ok());
}

TEST_F(OwedHooks, OfAnotherEngineOrAnotherTimeStay) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "it is no hook journal"},
      {"bygone hook journal 2\nanything\n", "version '2'"},
      {"bygone hook journal 1\nanything\n", "damaged"}};
  for (const auto& [text, why] : cases) {
    leave_hook(owed_to("db"));
    const std::string path = hook_journals().at(0);
    std::ofstream(path, std::ios::trunc) << text;
    leave_hook(owed_to("web"));
    bool said = false;
    for (const OwedHook& owed : run_all()) {
      if (owed.container == "web-name") {
        EXPECT_EQ(owed.fate, Fate::ran) << "one bad journal does not hold up another";
        continue;
      }
      EXPECT_EQ(owed.fate, Fate::owed_still);
      EXPECT_NE(owed.line.find(why), std::string::npos) << owed.line;
      said = owed.line.find(path) != std::string::npos;
    }
    EXPECT_TRUE(said);
    EXPECT_EQ(hook_journals(), Strings{path}) << "never removed in silence";
    std::filesystem::remove(path);
  }
  HookRecord far = owed_to("db");
  far.engine = "tcp://far.example:2376";
  leave_hook(far);
  const auto owed = run_all();
  ASSERT_EQ(owed.size(), 1U);
  EXPECT_EQ(owed[0].fate, Fate::owed_still);
  EXPECT_NE(owed[0].line.find("DOCKER_HOST=tcp://far.example:2376 bygone thaw"), std::string::npos)
      << owed[0].line;
  EXPECT_EQ(hook_journals().size(), 1U);
}

TEST_F(OwedHooks, RunOnceWhoeverTries) {
  for (int round = 1; round <= 5; ++round) {
    leave_hook(owed_to("db"));
    std::vector<std::thread> threads;
    std::atomic<std::size_t> ran{0};
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (const OwedHook& owed : run_all()) ran += owed.fate == Fate::ran ? 1 : 0;
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(ran, 1U);
    EXPECT_EQ(execs(), static_cast<std::size_t>(round));
  }
}

// The next backup of a container does not begin in the middle of one.
TEST_F(OwedHooks, OfOneContainerAreWaitedFor) {
  leave_hook(owed_to("web"));
  for (const bool holder_dies : {true, false}) {
    auto held = IntentJournal::create(hook_folder(state_), encode(owed_to("db")));
    ASSERT_TRUE(held.ok());
    std::atomic<bool> is_let_go{false};
    std::thread holder([&, journal = std::move(*held)]() mutable {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      is_let_go = true;
      if (!holder_dies) {
        EXPECT_TRUE(journal.remove().ok());
      }
      journal = IntentJournal();
    });
    const auto owed = settle_owed_hooks(engine_, state_, "db", cancel_);
    EXPECT_TRUE(is_let_go);
    EXPECT_EQ(owed.size(), holder_dies ? 1U : 0U);
    holder.join();
  }
  EXPECT_EQ(execs(), 1U);
  EXPECT_EQ(hook_journals().size(), 1U) << "that of somebody else";
}

}  // namespace
}  // namespace bygone::ingest
