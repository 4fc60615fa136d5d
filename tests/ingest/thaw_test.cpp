// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/ingest/freeze_fixture.h"

namespace bygone::ingest {
namespace {

using Thaw = Freeze;

TEST_F(Thaw, FindsNothingWhereNothingWas) {
  EXPECT_FALSE(has_dead_journals(state_));
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_TRUE(thawed.ok());
  EXPECT_TRUE(thawed->empty());
}

TEST_F(Thaw, ResumesWhatAKilledProcessFroze) {
  leave_journal({"db", "web", "gone"});
  engine_.set_status("db", Status::paused);
  EXPECT_TRUE(has_dead_journals(state_));
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_TRUE(thawed.ok()) << thawed.error().message;
  ASSERT_EQ(thawed->size(), 3U);
  EXPECT_EQ(thawed->at(0).container, "db-name");
  EXPECT_TRUE(thawed->at(0).was_paused);
  EXPECT_FALSE(thawed->at(1).was_paused);
  EXPECT_FALSE(thawed->at(2).was_paused);
  EXPECT_FALSE(engine_.is_paused("db"));
  EXPECT_FALSE(has_dead_journals(state_));
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Thaw, LeavesTheLivingAlone) {
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db")}).ok());
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_TRUE(thawed.ok());
  EXPECT_TRUE(thawed->empty());
  EXPECT_TRUE(engine_.is_paused("db"));
  EXPECT_TRUE(*f->thaw());
}

TEST_F(Thaw, TellsADeadProcessByItsLock) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto journal =
        FreezeJournal::create(state_, {engine_.address(), 1, {{"db", "db-name", kStarted}}});
    const char byte = journal.ok() ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  ::close(ready[0]);
  ::close(ready[1]);
  engine_.set_status("db", Status::paused);
  EXPECT_FALSE(has_dead_journals(state_));
  EXPECT_TRUE(thaw_dead_journals(engine_, state_)->empty());
  EXPECT_TRUE(engine_.is_paused("db"));

  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(has_dead_journals(state_));
  EXPECT_EQ(thaw_dead_journals(engine_, state_)->size(), 1U);
  EXPECT_FALSE(engine_.is_paused("db"));
}

TEST_F(Thaw, LeavesPausedWhatWasStartedAnewAndPausedBySomebodyElse) {
  leave_journal({"db"});
  engine_.restart("db", "later");
  engine_.set_status("db", Status::paused);
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_TRUE(thawed.ok());
  EXPECT_FALSE(thawed->at(0).was_paused);
  EXPECT_TRUE(engine_.is_paused("db"));
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Thaw, CatchesAPauseThatTakesHoldLate) {
  leave_journal({"db"});
  std::atomic<int> looks{0};
  engine_.before = [&](const std::string& call) {
    if (call == "state db" && ++looks == 2) engine_.set_status("db", Status::paused);
  };
  EXPECT_TRUE(thaw_dead_journals(engine_, state_)->at(0).was_paused);
  EXPECT_FALSE(engine_.is_paused("db"));
}

TEST_F(Thaw, KeepsTheJournalWhenTheEngineIsGone) {
  leave_journal({"db", "web"});
  engine_.set_status("db", Status::paused);
  engine_.set_status("web", Status::paused);
  engine_.fail("state db", kGone);
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_FALSE(thawed.ok());
  EXPECT_EQ(thawed.error().code, Code::unavailable);
  EXPECT_NE(thawed.error().message.find("resumed web-name"), std::string::npos);
  EXPECT_TRUE(has_dead_journals(state_)) << "and its lock is free again";
  EXPECT_EQ(thaw_dead_journals(engine_, state_)->size(), 2U);
  EXPECT_FALSE(engine_.is_paused("db"));
}

// /var/run is a link to /run, and whoever froze may have taken the other way.
TEST_F(Thaw, KnowsAnEngineByItsSocketWhateverThePathToIt) {
  std::filesystem::create_directories(root_ + "/run");
  std::filesystem::create_directory_symlink("run", root_ + "/link");
  std::ofstream(root_ + "/run/docker.sock") << "";
  FakeEngine engine("unix://" + root_ + "/run/docker.sock");
  engine.add("db", Status::paused);
  leave_journal({"db"}, "unix://" + root_ + "/link/docker.sock");
  const auto thawed = thaw_dead_journals(engine, state_);
  ASSERT_TRUE(thawed.ok()) << thawed.error().message;
  EXPECT_FALSE(engine.is_paused("db"));
}

TEST_F(Thaw, LeavesTheJournalOfAnotherEngine) {
  leave_journal({"db"}, "tcp://far.example:2376");
  leave_journal({"web"});
  engine_.set_status("db", Status::paused);
  engine_.set_status("web", Status::paused);
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_FALSE(thawed.ok());
  EXPECT_EQ(thawed.error().code, Code::unavailable);
  EXPECT_NE(thawed.error().message.find("DOCKER_HOST=tcp://far.example:2376 bygone thaw"),
            std::string::npos)
      << thawed.error().message;
  EXPECT_TRUE(engine_.is_paused("db"));
  EXPECT_FALSE(engine_.is_paused("web")) << "one bad journal does not hold up another";
  EXPECT_EQ(journals().size(), 1U);
  FakeEngine far("tcp://far.example:2376");
  EXPECT_TRUE(thaw_dead_journals(far, state_).ok());
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Thaw, LeavesAJournalThatItCannotRead) {
  const std::vector<std::pair<std::string, Code>> cases = {
      {"", Code::corrupt},
      {"something else\n", Code::corrupt},
      {"bygone freeze journal 3\nanything\n", Code::unsupported}};
  for (const auto& [text, code] : cases) {
    leave_journal({"db"});
    const std::string path = journals().at(0);
    std::ofstream(path, std::ios::trunc) << text;
    EXPECT_TRUE(has_dead_journals(state_));
    const auto thawed = thaw_dead_journals(engine_, state_);
    ASSERT_FALSE(thawed.ok());
    EXPECT_EQ(thawed.error().code, code);
    EXPECT_NE(thawed.error().message.find(path), std::string::npos);
    EXPECT_EQ(journals(), Strings{path}) << "never removed in silence";
    std::filesystem::remove(path);
  }
}

TEST_F(Thaw, RemovesWhatWasNeverFinished) {
  leave_journal({});
  const std::string unfinished = state_ + "/freeze/0123.journal.tmp";
  std::ofstream(unfinished) << "bygone fre";
  ASSERT_TRUE(thaw_dead_journals(engine_, state_).ok());
  EXPECT_TRUE(std::filesystem::is_empty(state_ + "/freeze"));
}

TEST_F(Thaw, MayRunSeveralTimesAtOnce) {
  for (int round = 0; round < 5; ++round) {
    leave_journal({"db", "web"});
    engine_.set_status("db", Status::paused);
    engine_.set_status("web", Status::paused);
    std::vector<std::thread> threads;
    std::atomic<std::size_t> resumed{0};
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const auto thawed = thaw_dead_journals(engine_, state_);
        EXPECT_TRUE(thawed.ok());
        for (const Thawed& one : *thawed) resumed += one.was_paused ? 1 : 0;
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(resumed, 2U);
    EXPECT_FALSE(engine_.is_paused("db"));
    EXPECT_EQ(journals(), Strings{});
  }
}

}  // namespace
}  // namespace bygone::ingest
