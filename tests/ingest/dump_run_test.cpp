// SPDX-License-Identifier: Apache-2.0
//
// Dumps and hooks in whole backups of a container, with an engine whose commands say what a test
// wants.
#include <algorithm>

#include "tests/ingest/backup_fixture.h"
#include "tests/support/fake_exec.h"

namespace bygone::ingest {
namespace {

using Kind = DumpWish::Kind;
using test::Said;
using Words = std::vector<std::string>;

const std::string kEnd = "\n--\n-- PostgreSQL database dump complete\n--\n\n";
const std::string kGlobals = "--\n-- PostgreSQL database cluster dump complete\n--\n\n";
const std::string kMysqlEnd = "\n-- Dump completed\n";

class ContainerBackup : public BackupTest {
 protected:
  ContainerBackup() {
    add_writer();
    docker::Container container;
    container.id = "c1";
    container.state.running = true;
    container.image = "postgres:15";
    engine_.shown["c1"] = container;
    engine_.processes["c1"] = {"postgres", "postgres: checkpointer "};
    engine_.on_exec =
        [this](const docker::ExecRequest& request) -> Result<std::unique_ptr<docker::Exec>> {
      requests_.push_back(request);
      order_.push_back("exec " + request.command.front());
      return std::unique_ptr<docker::Exec>(std::make_unique<test::FakeExec>(say_(request)));
    };
    engine_.before = [this](const std::string& call) {
      if (call.starts_with("state") || call == "list" || call == "events") return;
      order_.push_back(call);
      if (call.starts_with("pause") && act_) act_();
    };
    programs_["psql"] = {.output = std::string("app\0", 4)};
    programs_["pg_dumpall"] = {.output = kGlobals};
    programs_["pg_dump"] = {.output = "rows" + kEnd};
  }

  Source source() {
    auto found = folder_source("data", source_dir());
    EXPECT_TRUE(found.ok());
    found->kind = store::SourceKind::container;
    found->container_id = "c1";
    found->writers = writers_;
    return std::move(*found);
  }
  Result<BackupReport> back_up(BackupOptions options) {
    if (options.wish == Wish::automatic) options.wish = Wish::freeze;
    return run(source(), std::move(options));
  }
  BackupReport must_back_up(BackupOptions options) {
    auto report = back_up(std::move(options));
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  static BackupOptions dumping(Kind kind) {
    BackupOptions options;
    options.dump.kind = kind;
    return options;
  }
  static Hook hook(const std::string& program) {
    Hook hook;
    hook.command = {program};
    return hook;
  }

  std::optional<Entry> extra(const store::Snapshot& snapshot, const std::string& path) {
    std::optional<Entry> at = snapshot.extra;
    for (const auto& part : stdfs::path(path)) {
      if (!at) return std::nullopt;
      auto next = repository_->trees().lookup(*at, part.string());
      EXPECT_TRUE(next.ok());
      at = next.ok() ? *next : std::nullopt;
    }
    return at;
  }
  // Of a file below `.bygone/dumps`; "absent" without one.
  std::string dumped(const store::Snapshot& snapshot, const std::string& name) {
    const auto entry = extra(snapshot, "dumps/" + name);
    return entry ? content(*entry) : "absent";
  }
  Said say(const docker::ExecRequest& request) {
    const auto found = programs_.find(request.command.front());
    if (found != programs_.end()) return found->second;
    return Said{.output = "OCI runtime exec failed: not found", .exit_code = 127};
  }

  std::map<std::string, Said> programs_;
  std::vector<docker::ExecRequest> requests_;
  // Programs that ran, and what happened to the containers.
  Words order_;
  std::function<Said(const docker::ExecRequest&)> say_ = [this](const auto& r) { return say(r); };
  std::function<void()> act_;  // before a pause
};

using Dumps = ContainerBackup;
using Hooks = ContainerBackup;

TEST_F(Dumps, AreMadeBesideTheVolumes) {
  write_file(source_dir() / "file", "x");
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  EXPECT_TRUE(report.failed.empty());
  EXPECT_TRUE(report.snapshot.failed.empty());
  EXPECT_EQ(dumped(report.snapshot, "globals.sql"), kGlobals);
  EXPECT_EQ(dumped(report.snapshot, "app.sql"), "rows" + kEnd);
  EXPECT_EQ(content(report.snapshot, "file"), "x");
}

TEST_F(Dumps, ArePacedLikeAllReads) {
  std::chrono::nanoseconds now{0}, slept{0};
  Surroundings surroundings;
  surroundings.now = [&] { return now; };
  surroundings.sleep = [&](std::chrono::nanoseconds time) {
    now += time;
    slept += time;
  };
  surroundings.pressure = [] { return std::nullopt; };
  surroundings.our_own_waits = [] { return std::chrono::nanoseconds(0); };
  surroundings.processors = [] { return std::nullopt; };
  Limiter limiter(*parse_read_limit("1M"), surroundings);
  programs_["pg_dump"] = {.output = std::string(1 << 18, 'x') + kEnd, .times = 5};
  BackupOptions options = dumping(Kind::postgres);
  options.limiter = &limiter;
  EXPECT_TRUE(must_back_up(options).failed.empty());
  EXPECT_GT(slept, std::chrono::milliseconds(900));
  EXPECT_LT(slept, std::chrono::milliseconds(1500));
}

TEST_F(Dumps, AreNotMadeUnlessAskedFor) {
  const BackupReport report = must_back_up({});
  EXPECT_TRUE(requests_.empty());
  EXPECT_FALSE(report.snapshot.extra.has_value());
}

// An engine refuses to run commands in a paused container.
TEST_F(Dumps, EndBeforeTheFreeze) {
  ASSERT_TRUE(must_back_up(dumping(Kind::postgres)).failed.empty());
  EXPECT_EQ(order_,
            (Words{"exec psql", "exec pg_dumpall", "exec pg_dump", "pause c1", "unpause c1"}));
}

TEST_F(Dumps, ThatFailAreSaidAndLeaveNoFile) {
  struct Case {
    const char* name;
    Said said;
    const char* reason;
  };
  const Case cases[] = {
      {"exit code 1 after good output",
       {.output = "rows" + kEnd, .error = "pg_dump: error: lost it", .exit_code = 1},
       "exit code 1: pg_dump: error: lost it"},
      {"cut off, with a good end", {.output = "rows and ro"}, "cut off"},
      {"cut off, broken",
       {.output = "rows" + kEnd, .breaks = Error{Code::unavailable, 0, "reset"}},
       "reset"},
      {"nothing said", {}, "cut off"},
      {"an error and a good end",
       {.output = "rows" + kEnd, .error = "pg_dump: error: one table is damaged"},
       "one table is damaged"},
      {"no program",
       {.output = "OCI runtime exec failed: pg_dump not found", .exit_code = 127},
       "pg_dump not found"},
      {"no right to run it", {.output = "permission denied", .exit_code = 126}, "126"},
  };
  write_file(source_dir() / "file", "x");
  for (const Case& c : cases) {
    programs_["pg_dump"] = c.said;
    const BackupReport report = must_back_up(dumping(Kind::postgres));
    ASSERT_EQ(report.failed.size(), 1u) << c.name;
    EXPECT_NE(report.failed[0].find(c.reason), std::string::npos) << c.name << report.failed[0];
    EXPECT_EQ(report.snapshot.failed, report.failed) << c.name;
    EXPECT_EQ(dumped(report.snapshot, "app.sql"), "absent") << c.name;
    EXPECT_NE(dumped(report.snapshot, "app.sql.failed").find(c.reason), std::string::npos);
    EXPECT_EQ(dumped(report.snapshot, "globals.sql"), kGlobals) << c.name;
    EXPECT_EQ(content(report.snapshot, "file"), "x") << c.name;
  }
}

TEST_F(Dumps, OfOneDatabaseThatFailLeaveTheOthers) {
  programs_["psql"].output = std::string("app\0bad\0", 8);
  say_ = [this](const docker::ExecRequest& request) {
    const auto& given = request.environment;
    if (std::find(given.begin(), given.end(), "PGDATABASE=bad") != given.end()) {
      return Said{.error = "pg_dump: error: no", .exit_code = 1};
    }
    return say(request);
  };
  const BackupReport report = must_back_up(dumping(Kind::postgres));
  EXPECT_EQ(report.failed.size(), 1u);
  EXPECT_EQ(dumped(report.snapshot, "app.sql"), "rows" + kEnd);
  EXPECT_EQ(dumped(report.snapshot, "bad.sql"), "absent");
}

TEST_F(Dumps, FailWhenTheListOfDatabasesDoes) {
  programs_["psql"] = {.error = "psql: error: password authentication failed", .exit_code = 2};
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  ASSERT_EQ(report.failed.size(), 1u);
  EXPECT_NE(dumped(report.snapshot, "postgres.failed").find("password"), std::string::npos);
}

TEST_F(Dumps, EndWithACancelAndCommitNothing) {
  programs_["pg_dump"] = {.output = "rows", .midway = [this] { cancel_ = true; }, .hangs = true};
  programs_["pg_dump"].times = 3;
  const auto report = back_up(dumping(Kind::postgres));
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_TRUE(repository_->snapshots()->empty());
  EXPECT_FALSE(engine_.is_paused("c1"));
}

TEST_F(Dumps, TakeWhatTheOtherProgramIsCalled) {
  programs_["mysqldump"] = {.output = "rows" + kMysqlEnd};
  const BackupReport report = must_back_up(dumping(Kind::mariadb));
  EXPECT_TRUE(report.failed.empty());
  EXPECT_EQ(dumped(report.snapshot, "mariadb.sql"), "rows" + kMysqlEnd);
}

TEST_F(Dumps, AreDeltasOfTheDumpBefore) {
  const std::string rows = random_text(4 << 20, 7);
  programs_["mysqldump"] = {.output = rows + kMysqlEnd};
  const BackupReport first = must_back_up(dumping(Kind::mysql));
  EXPECT_GT(first.snapshot.added_bytes, rows.size());
  must_back_up({});  // a snapshot without a dump, as most are
  std::string changed = rows;
  changed.replace(1'000'000, 10, "a new row, longer than before");
  programs_["mysqldump"] = {.output = changed + kMysqlEnd};
  const BackupReport second = must_back_up(dumping(Kind::mysql));
  EXPECT_LT(second.snapshot.added_bytes, 60'000u);
  EXPECT_TRUE(dumped(second.snapshot, "mysql.sql") == changed + kMysqlEnd);
}

TEST_F(Dumps, MayBeLargerThanMemory) {
  programs_["mysqldump"] = {.output = std::string(1 << 20, 'r'), .times = 300};
  programs_["mysqldump"].error = "warning: slow";
  const BackupReport cut = must_back_up(dumping(Kind::mysql));
  EXPECT_EQ(cut.failed.size(), 1u);  // without its end
  DumpWish wish{.kind = Kind::command, .command = {"mysqldump", "-x"}, .file = "big/one"};
  BackupOptions options;
  options.dump = wish;
  const BackupReport report = must_back_up(options);
  EXPECT_TRUE(report.failed.empty());
  const auto entry = extra(report.snapshot, "dumps/big%2Fone");
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->size, 300u << 20);
}

TEST_F(Dumps, OfAContainerThatDoesNotRunFailOnlyWhenInsistedOn) {
  engine_.shown["c1"].state.running = false;
  EXPECT_TRUE(must_back_up(dumping(Kind::automatic)).failed.empty());
  EXPECT_EQ(must_back_up(dumping(Kind::postgres)).failed.size(), 1u);
  EXPECT_TRUE(requests_.empty());
}

TEST_F(Dumps, OfSqliteAreLeftOutWithoutItsProgram) {
  engine_.processes["c1"] = {"app"};
  write_file(source_dir() / "x.db", std::string("SQLite format 3\0", 16));
  const BackupReport report = must_back_up(dumping(Kind::automatic));
  EXPECT_TRUE(report.failed.empty());
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_NE(report.skipped[0].find("sqlite3"), std::string::npos);
  EXPECT_EQ(must_back_up(dumping(Kind::sqlite)).failed.size(), 1u);
}

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
