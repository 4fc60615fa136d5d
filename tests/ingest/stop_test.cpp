// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "ingest/container_claims.h"
#include "tests/ingest/freeze_fixture.h"

namespace bygone::ingest {
namespace {

// Containers that are stopped instead of paused.
class Stop : public Freeze {
 protected:
  static constexpr std::chrono::seconds kLimit{10};
  Result<void> stop(Freezer& freezer, const std::set<std::string>& ids) {
    return freezer.freeze({writer("db"), writer("web")}, kLimit, ids);
  }
  bool runs(const std::string& id) { return engine_.state(id)->status == Status::running; }
  void leave_stop(const std::string& id, const std::string& started_at) {
    const FreezeRecord record{
        .engine = engine_.address(), .time = 1, .containers = {{id, id, started_at, true}}};
    ASSERT_TRUE(FreezeJournal::create(state_, record).ok());
  }
};

TEST_F(Stop, StopsBeforeItPausesAndStartsAgain) {
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db"}).ok());
  EXPECT_EQ(engine_.state("db")->status, Status::exited);
  EXPECT_TRUE(engine_.is_paused("web"));
  EXPECT_EQ(listed(), (Strings{"db", "web"}));
  const auto lasted = held->thaw();
  ASSERT_TRUE(lasted.ok());
  EXPECT_TRUE(*lasted);
  EXPECT_TRUE(runs("db"));
  EXPECT_TRUE(runs("web"));
  EXPECT_TRUE(journals().empty());
  EXPECT_EQ(engine_.calls()[0], "stop db");
  EXPECT_EQ(engine_.calls()[1], "pause web");
}

// A daemon that starts has others to look after.
TEST_F(Stop, LeavesWhatMayStopYetToWhoWaits) {
  leave_stop("db", kStarted);
  engine_.stop_timeouts["db"] = std::chrono::seconds(60);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(thaw_dead_journals(engine_, state_, Late::leave)->empty());
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
  EXPECT_TRUE(has_dead_journals(state_));
  engine_.set_status("db", Status::exited);
  const auto thawed = thaw_dead_journals(engine_, state_, Late::leave);
  ASSERT_TRUE(thawed.ok());
  ASSERT_EQ(thawed->size(), 1U);
  EXPECT_TRUE(thawed->at(0).was_stopped);
  EXPECT_TRUE(runs("db"));
  EXPECT_TRUE(journals().empty());
}

// Its journal may be left while a new backup stops the same container.
TEST_F(Stop, IsNotUndoneForTheDeadWhileALivingBackupHoldsIt) {
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db"}).ok());
  leave_stop("db", kStarted);
  EXPECT_TRUE(thaw_dead_journals(engine_, state_, Late::leave)->empty());
  EXPECT_EQ(engine_.state("db")->status, Status::exited);
  EXPECT_TRUE(*held->thaw());
  EXPECT_TRUE(runs("db"));
  const auto thawed = thaw_dead_journals(engine_, state_, Late::leave);
  EXPECT_FALSE(thawed->at(0).was_stopped);
  EXPECT_TRUE(journals().empty());
}

// Who waits for a stop that may come yet waits longer than a stop takes, where a backup holds the
// container still meanwhile.
TEST_F(Stop, IsNotForgottenWhileALivingBackupHoldsIt) {
  engine_.stop_timeouts["db"] = std::chrono::seconds(0);
  leave_stop("db", kStarted);
  ASSERT_TRUE(container_claims().take({"db"}, std::chrono::steady_clock::now()).ok());
  EXPECT_TRUE(thaw_dead_journals(engine_, state_, Late::wait)->empty());
  engine_.set_status("db", Status::exited);  // by whom the dead had asked
  container_claims().give({"db"});
  const auto thawed = thaw_dead_journals(engine_, state_, Late::wait);
  ASSERT_TRUE(thawed.ok());
  EXPECT_EQ(thawed->size(), 1U);
  EXPECT_TRUE(runs("db"));
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, ThatComesLateHoldsUpNoOther) {
  for (const std::string id : {"one", "two", "three", "four"}) {
    engine_.add(id);
    engine_.stop_timeouts[id] = std::chrono::seconds(0);  // and two for the engine
    leave_stop(id, kStarted);
  }
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(thaw_dead_journals(engine_, state_).ok());
  const auto taken = std::chrono::steady_clock::now() - begun;
  EXPECT_GE(taken, std::chrono::seconds(2));
  EXPECT_LT(taken, std::chrono::seconds(6)) << "one after the other";
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, HasItsJournalBeforeTheFirstStop) {
  Strings seen;
  engine_.before = [&](const std::string& call) {
    if (call == "stop db") seen = listed();
  };
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db"}).ok());
  EXPECT_EQ(seen, (Strings{"db", "web"}));
}

TEST_F(Stop, LeavesTheStoppedAndThePausedOfOthers) {
  engine_.set_status("db", Status::exited);
  engine_.set_status("web", Status::paused);
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db", "web"}).ok());
  EXPECT_TRUE(*held->thaw());
  EXPECT_EQ(engine_.state("db")->status, Status::exited);
  EXPECT_TRUE(engine_.is_paused("web"));
  EXPECT_TRUE(engine_.calls().empty());
}

TEST_F(Stop, IsClaimedOnlyOfWhatHasEnded) {
  const struct {
    Status db;
    bool stopped;
  } cases[] = {{Status::running, true},
               {Status::exited, true},
               {Status::paused, false},       // in the middle of what it did
               {Status::restarting, false}};  // it crashed
  for (const auto& one : cases) {
    engine_.set_status("db", one.db);
    const auto held = freezer();
    ASSERT_TRUE(stop(*held, {"db"}).ok());
    EXPECT_EQ(held->all_stopped(), one.stopped) << static_cast<int>(one.db);
    EXPECT_TRUE(held->thaw().ok());
  }
}

TEST_F(Stop, RefusesWhatWouldBeRemoved) {
  engine_.auto_remove = {"db"};
  const auto held = freezer();
  const auto done = stop(*held, {"db", "web"});
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, Code::unsupported);
  EXPECT_TRUE(engine_.calls().empty());
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, GivesEachTheTimeForItsEndThatItWasMadeWith) {
  engine_.stop_timeouts["db"] = std::chrono::seconds(90);
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db", "web"}).ok());
  EXPECT_EQ(engine_.given_to_stop["db"], std::chrono::seconds(90));
  EXPECT_EQ(engine_.given_to_stop["web"], std::chrono::seconds(10));
}

TEST_F(Stop, RefusesWhatMayTakeForever) {
  engine_.stop_timeouts["db"] = std::chrono::seconds(-1);
  const auto held = freezer();
  const auto done = stop(*held, {"db", "web"});
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code, Code::unsupported);
  EXPECT_TRUE(engine_.calls().empty());
}

TEST_F(Stop, StartsTheOthersWhenOneCannotBeStopped) {
  engine_.fail("stop web", kGone);
  engine_.before = [&](const std::string& call) {
    if (call == "stop web") engine_.set_status("web", Status::exited);  // it did all the same
  };
  const auto held = freezer();
  ASSERT_FALSE(stop(*held, {"db", "web"}).ok());
  EXPECT_TRUE(runs("db"));
  EXPECT_TRUE(runs("web"));
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, StartsNobodyWhoEndedByHimself) {
  engine_.before = [&](const std::string& call) {
    if (call == "stop db") engine_.set_status("db", Status::exited);
  };
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db"}).ok());
  EXPECT_EQ(listed(), Strings{"web"});
  EXPECT_TRUE(held->thaw().ok());
  EXPECT_EQ(engine_.state("db")->status, Status::exited);
}

TEST_F(Stop, TellsThatSomebodyStartedOne) {
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db"}).ok());
  engine_.restart("db", "2024-02-02T00:00:00Z");
  const auto lasted = held->thaw();
  ASSERT_TRUE(lasted.ok());
  EXPECT_FALSE(*lasted);
}

TEST_F(Stop, KeepsTheJournalOfWhatCannotBeStarted) {
  const auto held = freezer();
  ASSERT_TRUE(stop(*held, {"db"}).ok());
  engine_.fail("start db", Error{Code::io, 0, "port is already allocated"}, 5);
  const auto lasted = held->thaw();
  ASSERT_FALSE(lasted.ok());
  EXPECT_NE(lasted.error().message.find("port is already allocated"), std::string::npos);
  EXPECT_EQ(journals().size(), 1U);
  EXPECT_TRUE(runs("web"));
  EXPECT_TRUE(held->thaw().ok());
  EXPECT_TRUE(runs("db"));
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, IsPutBackByTheNextProcess) {
  leave_stop("db", kStarted);
  engine_.set_status("db", Status::exited);
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_TRUE(thawed.ok());
  ASSERT_EQ(thawed->size(), 1U);
  EXPECT_TRUE(thawed->at(0).was_stopped);
  EXPECT_FALSE(thawed->at(0).was_paused);
  EXPECT_TRUE(runs("db"));
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, OfAnEarlierRunIsNotUndone) {
  leave_stop("db", "2023-12-31T00:00:00Z");
  engine_.set_status("db", Status::exited);
  const auto thawed = thaw_dead_journals(engine_, state_);
  ASSERT_TRUE(thawed.ok());
  EXPECT_FALSE(thawed->at(0).was_stopped);
  EXPECT_EQ(engine_.state("db")->status, Status::exited) << "somebody else stopped this run";
  EXPECT_TRUE(journals().empty());
}

TEST_F(Stop, ThatIsUnderWayIsWaitedFor) {
  leave_stop("db", kStarted);
  int looks = 0;
  engine_.before = [&](const std::string& call) {
    if (call == "state db" && ++looks == 3) engine_.set_status("db", Status::exited);
  };
  EXPECT_TRUE(thaw_dead_journals(engine_, state_)->at(0).was_stopped);
  EXPECT_TRUE(runs("db"));
}

TEST(StopJournal, HasAVersionOfItsOwn) {
  FreezeRecord record{"unix:///s", 7, {{"a", "b", "c"}}};
  EXPECT_TRUE(encode(record).starts_with("bygone freeze journal 1\n"));
  record.containers.push_back({"d", "e", "f", true});
  const std::string text = encode(record);
  EXPECT_TRUE(text.starts_with("bygone freeze journal 2\n"));
  const auto decoded = decode_freeze_record(text);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(encode(*decoded), text);
  EXPECT_FALSE(decoded->containers[0].stopped);
  EXPECT_TRUE(decoded->containers[1].stopped);
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(decode_freeze_record(text.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace bygone::ingest
