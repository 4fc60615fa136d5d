// SPDX-License-Identifier: Apache-2.0
#include "ingest/freeze.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <thread>

#include <sys/stat.h>

#include "ingest/container_claims.h"
#include "tests/ingest/freeze_fixture.h"

namespace bygone::ingest {
namespace {

bool holds(const std::vector<std::string>& calls, const std::string& call) {
  return std::find(calls.begin(), calls.end(), call) != calls.end();
}

TEST_F(Freeze, PausesAllAndResumesAll) {
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  EXPECT_TRUE(engine_.is_paused("db"));
  EXPECT_TRUE(engine_.is_paused("web"));
  EXPECT_EQ(listed(), (Strings{"db", "web"}));
  EXPECT_FALSE(has_dead_journals(state_)) << "its writer lives";
  const auto lasted = f->thaw();
  ASSERT_TRUE(lasted.ok());
  EXPECT_TRUE(*lasted);
  EXPECT_FALSE(engine_.is_paused("db"));
  EXPECT_FALSE(engine_.is_paused("web"));
  EXPECT_EQ(journals(), Strings{});
  EXPECT_EQ(f->skew(), kSecond);
  EXPECT_EQ(f->window(), 2 * kSecond);
  EXPECT_EQ(f->frozen_at(), 1003 * kSecond) << "the journal took one look at the clock, too";
}

// Whoever ends this process waits for what it holds itself, and for nothing that others hold or
// left.
TEST_F(Freeze, IsKnownToHoldAContainerFromItsPauseToItsEnd) {
  leave_journal({"db"});
  EXPECT_FALSE(container_claims().any());
  std::vector<bool> any;
  engine_.before = [&](const std::string& call) {
    if (holds({"pause web", "unpause web"}, call)) any.push_back(container_claims().any());
  };
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("web")}).ok());
  EXPECT_TRUE(container_claims().any());
  ASSERT_TRUE(f->thaw().ok());
  EXPECT_EQ(any, (std::vector<bool>{true, true}));
  EXPECT_FALSE(container_claims().any());
}

TEST_F(Freeze, WritesTheJournalBeforeTheFirstPause) {
  std::atomic<int> seen{0};
  engine_.before = [&](const std::string& call) {
    if (call.substr(0, 6) == "pause ") {
      EXPECT_EQ(journals().size(), 1U);
      ++seen;
    }
    if (call.substr(0, 8) == "unpause ") {
      EXPECT_EQ(journals().size(), 1U);
      ++seen;
    }
  };
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  ASSERT_TRUE(f->thaw().ok());
  EXPECT_EQ(seen, 4);
}

TEST_F(Freeze, KeepsItsFoldersToItself) {
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db")}).ok());
  struct stat st {};
  ASSERT_EQ(::stat((state_ + "/freeze").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0700U);
  ASSERT_EQ(::stat(journals().at(0).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
}

TEST_F(Freeze, PausesNothingWithoutAJournal) {
  std::ofstream(root_ + "/file") << "in the way";
  Freezer f(engine_, root_ + "/file", system_now);
  EXPECT_FALSE(f.freeze({writer("db")}).ok());
  EXPECT_EQ(engine_.calls(), Strings{});
}

TEST_F(Freeze, OfNothingNeedsNothing) {
  auto f = freezer();
  ASSERT_TRUE(f->freeze({}).ok());
  EXPECT_EQ(journals(), Strings{});
  EXPECT_TRUE(*f->thaw());
  EXPECT_EQ(f->window(), 0);
}

TEST_F(Freeze, TriesAgainWhenTheEngineIsUnableToFreeze) {
  engine_.fail("pause db", kUnableToFreeze, 2);
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  EXPECT_TRUE(engine_.is_paused("db"));
  EXPECT_TRUE(*f->thaw());
}

TEST_F(Freeze, ResumesTheOthersWhenOneCannotBePaused) {
  engine_.fail("pause db", kUnableToFreeze, 100);
  auto f = freezer();
  const auto frozen = f->freeze({writer("db"), writer("web")});
  ASSERT_FALSE(frozen.ok());
  EXPECT_NE(frozen.error().message.find("db-name"), std::string::npos);
  EXPECT_NE(frozen.error().message.find("unable to freeze"), std::string::npos);
  EXPECT_FALSE(engine_.is_paused("web"));
  EXPECT_EQ(journals(), Strings{});
  EXPECT_TRUE(holds(engine_.calls(), "unpause db")) << "a pause that failed may hold all the same";
  ASSERT_TRUE(f->freeze({writer("web")}).ok()) << "it can be used again";
}

TEST_F(Freeze, UndoesAPauseThatTakesHoldLate) {
  engine_.fail("pause db", kGone, 100);
  std::atomic<int> unpauses{0};
  engine_.before = [&](const std::string& call) {
    if (call != "unpause db") return;
    if (++unpauses == 2) engine_.set_status("db", Status::paused);
  };
  auto f = freezer();
  EXPECT_FALSE(f->freeze({writer("db")}).ok());
  EXPECT_EQ(unpauses, 2);
  EXPECT_FALSE(engine_.is_paused("db"));
}

TEST_F(Freeze, CountsAPauseAsItsOwnThatHeldThoughTheCallFailed) {
  engine_.before = [&](const std::string& call) {
    if (call == "pause db" && engine_.calls().empty()) engine_.fail("pause db", kGone);
    if (call == "pause db" && !engine_.calls().empty()) {
      engine_.set_status("db", Status::paused);
    }
  };
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db")}).ok());
  EXPECT_EQ(engine_.calls(), (Strings{"pause db", "pause db"}));
  EXPECT_TRUE(*f->thaw());
  EXPECT_FALSE(engine_.is_paused("db"));
}

TEST_F(Freeze, EndsAtItsDeadline) {
  engine_.fail("pause db", kUnableToFreeze, 100);
  auto f = freezer();
  const auto frozen = f->freeze({writer("db"), writer("web")}, std::chrono::milliseconds(0));
  ASSERT_FALSE(frozen.ok());
  EXPECT_EQ(frozen.error().code, Code::cancelled);
  EXPECT_FALSE(engine_.is_paused("web"));
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Freeze, FailsWithoutAnEngine) {
  engine_.fail("state db", kGone, 100);
  auto f = freezer();
  const auto frozen = f->freeze({writer("db")});
  ASSERT_FALSE(frozen.ok());
  EXPECT_EQ(frozen.error().code, Code::unavailable);
  EXPECT_EQ(engine_.calls(), Strings{});
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Freeze, LeavesAloneWhatSomebodyElsePaused) {
  engine_.set_status("web", Status::paused);
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  EXPECT_EQ(listed(), Strings{"db"}) << "a crash now must not resume it";
  EXPECT_TRUE(*f->thaw());
  EXPECT_TRUE(engine_.is_paused("web"));
  EXPECT_FALSE(holds(engine_.calls(), "unpause web"));
}

TEST_F(Freeze, UnlistsWhatSomebodyElsePausedInTheLastMoment) {
  engine_.before = [&](const std::string& call) {
    if (call == "pause web") engine_.set_status("web", Status::paused);
  };
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  EXPECT_EQ(listed(), Strings{"db"});
  EXPECT_FALSE(has_dead_journals(state_)) << "the new journal is locked as the old one was";
  EXPECT_TRUE(*f->thaw());
  EXPECT_TRUE(engine_.is_paused("web"));
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Freeze, NeedsNoJournalWhenAllAreSomebodyElses) {
  engine_.before = [&](const std::string& call) {
    if (call == "pause web") engine_.set_status("web", Status::paused);
  };
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("web")}).ok());
  EXPECT_EQ(journals(), Strings{});
  EXPECT_TRUE(*f->thaw());
  EXPECT_TRUE(engine_.is_paused("web"));
}

TEST_F(Freeze, IsEnoughWhenAMemberEnded) {
  const std::vector<std::pair<const char*, Status>> cases = {{"exited", Status::exited},
                                                             {"created", Status::created},
                                                             {"dead", Status::dead},
                                                             {"restarting", Status::restarting}};
  for (const auto& [name, status] : cases) {
    engine_.set_status("web", status);
    auto f = freezer();
    ASSERT_TRUE(f->freeze({writer("db"), writer("web"), writer("unknown")}).ok()) << name;
    EXPECT_EQ(listed(), Strings{"db"}) << name;
    EXPECT_TRUE(*f->thaw()) << name;
  }
}

TEST_F(Freeze, IsEnoughWhenAMemberEndsInTheLastMoment) {
  engine_.before = [&](const std::string& call) {
    if (call == "pause web") engine_.set_status("web", Status::exited);
    if (call == "pause db") engine_.remove("db");
  };
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  EXPECT_TRUE(*f->thaw());
}

struct Disturbance {
  const char* name;
  Status before;  // of "web"
  std::function<void(FakeEngine&)> act;
};

TEST_F(Freeze, SaysWhenItDidNotLast) {
  const std::vector<Disturbance> cases = {
      {"resumed", Status::running, [](auto& e) { e.set_status("web", Status::running); }},
      {"killed", Status::running, [](auto& e) { e.set_status("web", Status::exited); }},
      {"removed", Status::running, [](auto& e) { e.remove("web"); }},
      {"ended, then started", Status::exited, [](auto& e) { e.restart("web", "later"); }},
      {"crashed, then started", Status::restarting, [](auto& e) { e.restart("web", "later"); }},
      {"started and ended again", Status::exited,
       [](auto& e) {
         e.restart("web", "later");
         e.set_status("web", Status::exited);
       }},
      {"somebody else's, resumed", Status::paused,
       [](auto& e) { e.set_status("web", Status::running); }},
      {"somebody else's, removed", Status::paused, [](auto& e) { e.remove("web"); }},
      {"somebody else's, restarted and paused", Status::paused,
       [](auto& e) {
         e.restart("web", "later");
         e.set_status("web", Status::paused);
       }},
  };
  for (const Disturbance& c : cases) {
    FakeEngine engine;
    engine.add("db");
    engine.add("web", c.before);
    Freezer f(engine, state_, system_now);
    ASSERT_TRUE(f.freeze({writer("db"), writer("web")}).ok()) << c.name;
    c.act(engine);
    const auto lasted = f.thaw();
    ASSERT_TRUE(lasted.ok()) << c.name;
    EXPECT_FALSE(*lasted) << c.name;
    EXPECT_FALSE(engine.is_paused("db")) << c.name;
    EXPECT_EQ(journals(), Strings{}) << c.name;
  }
}

TEST_F(Freeze, ResumesInSpiteOfAnEngineThatFailsNowAndThen) {
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  engine_.fail("unpause db", kGone, 3);
  EXPECT_TRUE(*f->thaw());
  EXPECT_FALSE(engine_.is_paused("db"));
}

TEST_F(Freeze, KeepsTheJournalWhileOneIsFrozen) {
  auto f = freezer();
  ASSERT_TRUE(f->freeze({writer("db"), writer("web")}).ok());
  engine_.fail("unpause db", kGone, 5);
  const auto thawed = f->thaw();
  ASSERT_FALSE(thawed.ok());
  EXPECT_NE(thawed.error().message.find("hint: run `bygone thaw`"), std::string::npos);
  EXPECT_FALSE(engine_.is_paused("web"));
  EXPECT_EQ(journals().size(), 1U);
  EXPECT_EQ(f->freeze({writer("web")}).error().code, Code::busy);
  const auto again = f->thaw();
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(*again);
  EXPECT_FALSE(engine_.is_paused("db"));
  EXPECT_EQ(journals(), Strings{});
}

TEST_F(Freeze, SaysWhenItCouldNotBeUndone) {
  engine_.fail("pause db", kUnableToFreeze, 100);
  engine_.fail("unpause web", kGone, 5);
  engine_.before = [&](const std::string& call) {
    // Lets web be paused for sure before db is given up.
    while (call == "pause db" && !engine_.is_paused("web")) std::this_thread::yield();
  };
  {
    auto f = freezer();
    const auto frozen = f->freeze({writer("db"), writer("web")});
    ASSERT_FALSE(frozen.ok());
    EXPECT_NE(frozen.error().message.find("unable to freeze"), std::string::npos);
    EXPECT_NE(frozen.error().message.find("'web-name' may be frozen still"), std::string::npos);
    EXPECT_TRUE(engine_.is_paused("web"));
    EXPECT_EQ(journals().size(), 1U);
  }
  EXPECT_FALSE(engine_.is_paused("web")) << "the destructor tries once more";
  EXPECT_EQ(journals(), Strings{});
}

// Of two sources that share a container, the second would take the pause for somebody else's.
TEST_F(Freeze, WaitsForAnotherOfThisProcessThatHoldsTheSame) {
  auto first = freezer();
  ASSERT_TRUE(first->freeze({writer("db")}).ok());
  const auto late = freezer()->freeze({writer("web"), writer("db")}, std::chrono::milliseconds(50));
  ASSERT_FALSE(late.ok());
  EXPECT_NE(late.error().message.find("another backup holds"), std::string::npos);
  EXPECT_FALSE(engine_.is_paused("web"));
  EXPECT_TRUE(engine_.is_paused("db"));
  std::thread second([&] {
    auto other = freezer();
    EXPECT_TRUE(other->freeze({writer("web"), writer("db")}).ok());
    EXPECT_EQ(other->held().size(), 2U) << "its own pauses, both of them";
    const auto lasted = other->thaw();
    EXPECT_TRUE(lasted.ok() && *lasted);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(engine_.is_paused("web"));
  const auto lasted = first->thaw();
  EXPECT_TRUE(lasted.ok() && *lasted);
  second.join();
  EXPECT_FALSE(engine_.is_paused("db"));
}

TEST_F(Freeze, ThawsWhenItGoesOutOfScope) {
  { ASSERT_TRUE(freezer()->freeze({writer("db")}).ok()); }
  EXPECT_FALSE(engine_.is_paused("db"));
  EXPECT_EQ(journals(), Strings{});
}

}  // namespace
}  // namespace bygone::ingest
