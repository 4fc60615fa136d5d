// SPDX-License-Identifier: Apache-2.0
#include "ingest/daemon/notify.h"

#include <fstream>

#include <gtest/gtest.h>

#include "ingest/daemon/report.h"
#include "tests/support/fake_server.h"

namespace bygone::ingest {
namespace {

using std::chrono::milliseconds;

const std::atomic<bool> kGoOn{false};

Notice notice(Notice::Event event) {
  return {.event = event,
          .source = "db",
          .host = "here",
          .message = "a \"reason\"\nwith \xff",
          .snapshot = "abcd",
          .time = Nanoseconds{1'710'547'200} * kSecond};
}

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Notifier ping(const std::string& url) {
  return {.kind = Notifier::Kind::ping, .url = url, .command = {}};
}

TEST(Notify, PingsTheUrlForSuccessAndItsFailElse) {
  const struct {
    const char* url;
    Notice::Event event;
    const char* visited;
  } cases[] = {
      {"https://hc/uuid", Notice::Event::success, "https://hc/uuid"},
      {"https://hc/uuid", Notice::Event::failure, "https://hc/uuid/fail"},
      {"https://hc/uuid", Notice::Event::partial, "https://hc/uuid/fail"},
      {"https://hc/uuid/", Notice::Event::overdue, "https://hc/uuid/fail"},
      {"https://hc/uuid?create=1", Notice::Event::failure, "https://hc/uuid/fail?create=1"},
  };
  for (const auto& one : cases) {
    std::vector<std::string> urls;
    {
      Notify notify([&](const Visit& visit) -> Result<void> {
        urls.push_back(visit.url + visit.json);
        return {};
      });
      notify.tell({ping(one.url)}, notice(one.event));
    }
    EXPECT_EQ(urls, std::vector<std::string>{one.visited});
  }
}

TEST(Notify, TellsOnlyWhatSomebodyWantsToKnow) {
  const std::pair<bool Notifier::*, Notice::Event> cases[] = {
      {&Notifier::on_success, Notice::Event::success},
      {&Notifier::on_partial, Notice::Event::partial},
      {&Notifier::on_failure, Notice::Event::failure},
      {&Notifier::on_overdue, Notice::Event::overdue}};
  for (const auto& [unwanted, its_event] : cases) {
    Notifier one = ping("http://x");
    one.*unwanted = false;
    std::size_t told = 0;
    {
      Notify notify([&](const Visit&) -> Result<void> {
        ++told;
        return {};
      });
      notify.tell({one}, notice(its_event));
      EXPECT_EQ(told, 0U);
      for (const auto& [wanted, event] : cases) notify.tell({one}, notice(event));
    }
    EXPECT_EQ(told, 3U);
  }
}

// Tells webhooks and pings of notices; `told` says who heard: h and p.
class RepeatedNotices : public testing::Test {
 protected:
  void tell(Nanoseconds seconds_later) {
    one_.time += seconds_later * kSecond;
    std::unique_lock lock(mutex_);
    notify_.tell({{.kind = Notifier::Kind::webhook, .url = "hook", .command = {}}, ping("ping")},
                 one_);
    // The ping comes last, and each time.
    const auto pings = [this] { return std::count(told_.begin(), told_.end(), 'p'); };
    const auto before = pings();
    changed_.wait(lock, [&] { return pings() > before; });
  }

  Notice one_ = notice(Notice::Event::failure);
  std::string told_;  // guarded by mutex_
  bool is_down_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  Notify notify_{[this](const Visit& visit) -> Result<void> {
    const std::lock_guard lock(mutex_);
    const bool is_hook = visit.url == "hook";
    told_ += is_hook ? 'h' : 'p';
    changed_.notify_all();
    if (is_hook && is_down_) return Error{Code::unavailable, 0, "down"};
    return {};
  }};
};

TEST_F(RepeatedNotices, ComeOnceADayAndPingsEachTime) {
  tell(0);
  tell(300);
  tell(86'370 - 300);  // the next night, half a minute early
  tell(300);
  EXPECT_EQ(told_, "hpphpp");
  told_.clear();
  one_.time -= 2 * 86'400 * kSecond;  // a clock that was set back hides nothing
  tell(0);
  EXPECT_EQ(told_, "hp");
}

TEST_F(RepeatedNotices, AreTheSameByEventAndCause) {
  tell(0);
  one_.message = "another reason";
  tell(300);
  one_.cause = one_.message;
  one_.message += ", said another way";
  tell(300);
  one_.event = Notice::Event::partial;
  tell(300);
  one_.event = Notice::Event::failure;  // two that take turns are still the same two
  tell(300);
  EXPECT_EQ(told_, "hphpphpp");
  told_.clear();
  one_.source = "another";
  tell(0);
  EXPECT_EQ(told_, "hp");
}

// The daemon says it again and again; it is heard once a day, by pings as well, for it is no run.
TEST(Notify, TellsThatASourceIsOverdueOnceADayOnceItWasHeard) {
  std::mutex mutex;
  std::condition_variable changed;
  std::string told;
  bool is_down = true;
  Notify notify([&](const Visit& visit) -> Result<void> {
    const std::lock_guard lock(mutex);
    const bool is_hook = visit.url == "hook";
    told += is_hook ? 'h' : 'p';
    changed.notify_all();
    if (is_hook && is_down) return Error{Code::unavailable, 0, "down"};
    return {};
  });
  Notice one = notice(Notice::Event::overdue);
  const auto tell = [&](const Notice& what, const std::string& then) {
    notify.tell({{.kind = Notifier::Kind::webhook, .url = "hook", .command = {}}, ping("ping")},
                what);
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60),
                                 [&] { return told.size() >= then.size(); }));
    EXPECT_EQ(told, then);
  };
  tell(one, "hp");
  {
    const std::lock_guard lock(mutex);
    is_down = false;
  }
  tell(one, "hph");  // who has heard it does not hear it again for the other's sake
  tell(one, "hph");
  one.time += 86'400 * kSecond;
  tell(one, "hphhp");
  Notice other = notice(Notice::Event::success);
  tell(other, "hphhphp");  // and nothing of the first came in between
}

TEST(Notify, TellsAFailureAgainToNobodyButWhoDidNotHearIt) {
  std::mutex mutex;
  std::condition_variable changed;
  std::string told;
  Notify notify([&](const Visit& visit) -> Result<void> {
    const std::lock_guard lock(mutex);
    told += visit.url.front();  // of the ping it is p/fail
    changed.notify_all();
    if (visit.url == "b") return Error{Code::unavailable, 0, "down"};
    return {};
  });
  const auto hook = [](const char* url) {
    return Notifier{.kind = Notifier::Kind::webhook, .url = url, .command = {}};
  };
  const auto tell = [&](Notice::Event event, const std::string& then) {
    notify.tell({hook("a"), hook("b"), ping("p")}, notice(event));
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60),
                                 [&] { return told.size() >= then.size(); }));
    EXPECT_EQ(told, then);
  };
  tell(Notice::Event::failure, "abp");
  tell(Notice::Event::failure, "abpbp");
  tell(Notice::Event::partial, "abpbpabp");
  tell(Notice::Event::partial, "abpbpabpbp");
}

TEST_F(RepeatedNotices, ComeAgainAfterASuccess) {
  tell(0);
  one_.event = Notice::Event::success;
  tell(300);
  tell(300);
  one_.event = Notice::Event::failure;
  tell(300);
  EXPECT_EQ(told_, "hphphphp");
}

TEST_F(RepeatedNotices, ComeUntilSomebodyHasHeard) {
  is_down_ = true;
  tell(0);
  tell(300);
  is_down_ = false;
  tell(300);
  tell(300);
  EXPECT_EQ(told_, "hphphpp");
}

// What a backup that made a snapshot is told as.
Notice told_of(std::vector<Unreadable> unreadable, std::vector<std::string> failed) {
  BackupReport report;
  report.snapshot.listed_name = "2024-03-16T05:57";
  report.unreadable = std::move(unreadable);
  report.failed = std::move(failed);
  return notice_of("db", report);
}

TEST(Notify, WhatLacksFilesIsNoSuccess) {
  const std::vector<Unreadable> four(4, {.path = "data/x", .reason = "denied"});
  EXPECT_EQ(told_of({}, {}).event, Notice::Event::success);
  EXPECT_EQ(told_of({}, {}).message, "saved as db@2024-03-16T05:57");
  const Notice partial = told_of(four, {});
  EXPECT_EQ(partial.event, Notice::Event::partial);
  EXPECT_EQ(partial.message,
            "saved as db@2024-03-16T05:57, but 4 files could not be read: data/x: denied; "
            "data/x: denied; data/x: denied; ...");
  EXPECT_EQ(partial.cause, told_of({four[0]}, {}).cause) << "whichever and how many they are";
  EXPECT_EQ(partial.snapshot.size(), 32U);
  EXPECT_NE(to_json(partial).find("\"event\":\"partial\""), std::string::npos);
  const Notice failure = told_of({four[0]}, {"dump app.sql: it ended with 1"});
  EXPECT_EQ(failure.event, Notice::Event::failure);
  EXPECT_EQ(failure.message,
            "dump app.sql: it ended with 1; saved as db@2024-03-16T05:57, but a file could not be "
            "read: data/x: denied");
  EXPECT_EQ(failure.cause.find("saved as"), std::string::npos) << "the next one is another";
}

TEST(Notify, DelaysNobodyWhoTells) {
  Notify notify([&](const Visit&) -> Result<void> {
    std::this_thread::sleep_for(milliseconds(300));
    return Error{Code::unavailable, 0, "nobody"};
  });
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) notify.tell({ping("http://x")}, notice(Notice::Event::failure));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(250));
}

TEST(Notify, WritesJsonThatIsJson) {
  EXPECT_EQ(
      to_json(notice(Notice::Event::overdue)),
      "{\"event\":\"overdue\",\"source\":\"db\",\"host\":\"here\","
      "\"time\":\"2024-03-16T00:00:00+00:00\",\"message\":\"a \\\"reason\\\"\\\\nwith \\\\xff\","
      "\"snapshot_id\":\"abcd\"}");
}

TEST(Notify, RunsACommandWithTheNoticeInItsEnvironment) {
  test::TempFolder folder;
  const std::string out = folder / "out";
  const auto done = run_command(
      {"sh", "-c", "echo \"$BYGONE_EVENT $BYGONE_SOURCE $BYGONE_SNAPSHOT\" >\"$0\"", out},
      notice(Notice::Event::failure), milliseconds(5000), kGoOn);
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(content(out), "failure db abcd\n");
}

TEST(Notify, SaysHowACommandFailed) {
  const Notice one = notice(Notice::Event::failure);
  EXPECT_EQ(run_command({"sh", "-c", "exit 3"}, one, milliseconds(5000), kGoOn).error().code,
            Code::io);
  EXPECT_EQ(run_command({"/no/such/program"}, one, milliseconds(5000), kGoOn).error().code,
            Code::not_found);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(run_command({"sleep", "60"}, one, milliseconds(50), kGoOn).error().code,
            Code::unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, milliseconds(5000));
}

TEST(Visit, AsksAndJudgesTheAnswer) {
  test::FakeServer server;
  server.answer("GET /good", {.body = "OK"});
  server.answer("POST /hook", {.status = 204});
  server.answer("GET /bad", {.status = 500});
  server.answer("GET /slow", {.delay = milliseconds(2000)});
  Visit one{.url = "http://x/good", .json = {}, .socket_path = server.socket_path()};
  EXPECT_TRUE(visit(one).ok());
  one.url = "http://x/bad";
  EXPECT_EQ(visit(one).error().code, Code::unavailable);
  one.url = "http://x/hook";
  one.json = "{}";
  EXPECT_TRUE(visit(one).ok());
  one.json.clear();
  one.url = "http://x/slow";
  one.deadline = milliseconds(100);
  EXPECT_EQ(visit(one).error().code, Code::unavailable);
  one.url = "file:///etc/passwd";
  EXPECT_EQ(visit(one).error().code, Code::invalid);
}

}  // namespace
}  // namespace bygone::ingest
