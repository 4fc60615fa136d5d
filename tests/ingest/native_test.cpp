// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <thread>

#include "ingest/native_backup.h"
#include "tests/ingest/backup_fixture.h"
#include "tests/support/fake_postgres.h"

namespace bygone::ingest {
namespace {

using Strings = std::vector<std::string>;

constexpr const char* kData = "/var/lib/postgresql/data";
constexpr std::size_t kSegment = 1 << 20;

std::string segment(int number) { return "00000001000000000000000" + std::to_string(number); }

// A data directory of a cluster whose backup goes from WAL segment 2 to 4.
class Native : public BackupTest {
 protected:
  Native() {
    server_.label =
        "START WAL LOCATION: 0/200028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: x\n";
    server_.stop_lsn = "0/400100";
    engine_.processes["c1"] = {"postgres -D " + std::string(kData), "postgres: checkpointer ",
                               "/usr/bin/psql"};
    engine_.on_exec = [this](const docker::ExecRequest& request) { return server_.exec(request); };
    add_writer();
    make_cluster(source_dir());
    source_ = *folder_source("data", source_dir());
    source_.volumes[0].destination = kData;
    source_.writers = writers_;
  }

  void make_cluster(const stdfs::path& at) {
    for (const char* folder : {"global", "base/1", "pg_replslot/theirs", "pg_wal/archive_status",
                               "pg_wal/summaries", "pg_stat_tmp"}) {
      stdfs::create_directories(at / folder);
    }
    write_file(at / "PG_VERSION", "15\n");
    write_file(at / "postmaster.pid", "1\n");
    write_file(at / "global/pg_control", control());
    write_file(at / "base/1/1259", "pages");
    write_file(at / "pg_replslot/theirs/state", "lsn");
    write_file(at / "pg_stat_tmp/db_0.stat", "much");
    for (int i = 1; i <= 6; ++i) write_file(at / "pg_wal" / segment(i), wal(i));
    write_file(at / "pg_wal/archive_status" / (segment(1) + ".ready"), "");
    write_file(at / "pg_wal/00000001.history", "once");
  }
  std::string control() {
    std::string content = random_text(8192, 1);
    std::memcpy(content.data(), &server_.system_id, sizeof server_.system_id);
    return content;
  }
  static std::string wal(int number) {
    return random_text(kSegment, static_cast<unsigned>(100 + number));
  }

  Strings names(const store::Snapshot& snapshot, const std::string& path) {
    Strings found;
    const auto folder = find(snapshot, path);
    EXPECT_TRUE(folder.has_value()) << path;
    if (!folder) return found;
    EXPECT_TRUE(repository_->trees()
                    .list(*folder, 0,
                          [&](const Entry& entry) {
                            found.push_back(entry.name);
                            return true;
                          })
                    .ok());
    return found;
  }

  Result<BackupReport> run_native(Wish wish = Wish::automatic) {
    BackupOptions options;
    options.wish = wish;
    return run(source_, options);
  }
  BackupReport must(Result<BackupReport> report) {
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  // Frozen instead, everything captured, the reason told; and it fails who insists.
  void expect_frozen_because(const std::string& why) {
    SCOPED_TRACE(why);
    const BackupReport report = must(run_native());
    EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
    ASSERT_EQ(report.warnings.size(), 1u);
    EXPECT_NE(report.warnings[0].find("not captured natively: "), std::string::npos);
    EXPECT_NE(report.warnings[0].find(why), std::string::npos) << report.warnings[0];
    EXPECT_TRUE(report.unreadable.empty());
    expect_equal(report.snapshot);
    EXPECT_FALSE(engine_.is_paused("c1"));
    EXPECT_EQ(server_.open, 0);
    const std::size_t calls = engine_.calls().size();
    const auto insisted = run_native(Wish::native);
    ASSERT_FALSE(insisted.ok());
    EXPECT_NE(insisted.error().message.find(why), std::string::npos) << insisted.error().message;
    EXPECT_EQ(engine_.calls().size(), calls) << "nobody is paused who insists on native";
    EXPECT_EQ(server_.open, 0);
  }

  test::FakePostgres server_;
  Source source_;
};

TEST_F(Native, IsWhatABaseBackupHas) {
  server_.map = "16385 /var/lib/postgresql/data/ts\n";
  server_.on_stop = [&] {
    // After the end a page is ahead of the WAL; the WAL's last segment is whole only then.
    write_file(source_dir() / "base/1/1259", "later");
    write_file(source_dir() / "pg_wal" / segment(4), wal(44));
  };
  const BackupReport report = must(run_native());
  const store::Snapshot& snapshot = report.snapshot;
  EXPECT_EQ(snapshot.consistency, store::Consistency::native);
  EXPECT_EQ(snapshot.window, 0);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_TRUE(engine_.calls().empty()) << "nobody is paused";
  EXPECT_EQ(names(snapshot, ""),
            (Strings{"PG_VERSION", "backup_label", "base", "global", "pg_replslot", "pg_stat_tmp",
                     "pg_wal", "tablespace_map"}));
  EXPECT_EQ(names(snapshot, "pg_wal"), (Strings{"00000001.history", segment(2), segment(3),
                                                segment(4), "archive_status", "summaries"}));
  EXPECT_EQ(names(snapshot, "pg_wal/archive_status"),
            (Strings{segment(2) + ".done", segment(3) + ".done", segment(4) + ".done"}));
  EXPECT_TRUE(names(snapshot, "pg_replslot").empty());
  EXPECT_TRUE(names(snapshot, "pg_stat_tmp").empty());
  EXPECT_EQ(content(snapshot, "base/1/1259"), "pages");
  EXPECT_EQ(content(snapshot, "backup_label"), server_.label);
  EXPECT_EQ(content(snapshot, "tablespace_map"), server_.map);
  EXPECT_TRUE(content(snapshot, "global/pg_control") == control());
  for (const int number : {2, 3}) {
    EXPECT_TRUE(content(snapshot, "pg_wal/" + segment(number)) == wal(number));
  }
  EXPECT_TRUE(content(snapshot, "pg_wal/" + segment(4)) == wal(44));
  const auto label = find(snapshot, "backup_label");
  const auto version = find(snapshot, "PG_VERSION");
  EXPECT_EQ(label->uid, version->uid);
  EXPECT_EQ(label->mode, 0640u) << "as its folder";
  EXPECT_EQ(snapshot.files, 12u);
  EXPECT_EQ(server_.open, 0);
}

TEST_F(Native, KeepsWhatItsParentHad) {
  write_file(source_dir() / "base/1/2600", random_text(300'000, 9));
  ASSERT_TRUE(run_native().ok());
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::native);
  EXPECT_LT(report.bytes_read, 4 * kSegment) << "three segments of WAL, and what it leaves out";
  EXPECT_EQ(content(report.snapshot, "base/1/2600"), random_text(300'000, 9));
  EXPECT_EQ(report.unreadable.size(), 0u);
}

TEST_F(Native, IsNotTriedWithoutPostgres) {
  engine_.processes["c1"] = {"nginx: master process", "postgres: somebody", "postgres_exporter"};
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_TRUE(server_.users.empty());
  EXPECT_NE(run_native(Wish::native).error().message.find("no PostgreSQL runs"), std::string::npos);
  engine_.processes.clear();
  EXPECT_TRUE(must(run_native()).warnings.empty()) << "an engine that cannot list processes";
  source_.writers.clear();
  EXPECT_EQ(must(run_native()).snapshot.consistency, store::Consistency::live);
  EXPECT_NE(run_native(Wish::native).error().message.find("nothing runs"), std::string::npos);
}

TEST_F(Native, IsNotForWhoWantsOtherwise) {
  for (const Wish wish : {Wish::freeze, Wish::live}) {
    ASSERT_TRUE(run_native(wish).ok());
    EXPECT_TRUE(server_.users.empty());
  }
}

TEST_F(Native, FreezesWhenPsqlIsMissing) {
  server_.exit_code = 127;
  server_.last_words = "sh: psql: not found\n";
  expect_frozen_because("psql: not found");
}

TEST_F(Native, FreezesAStandby) {
  server_.in_recovery = true;
  expect_frozen_because("it is a standby");
}

TEST_F(Native, FreezesWhatHasDataElsewhere) {
  server_.tablespaces = {"/srv/fast"};
  expect_frozen_because("/srv/fast is in no volume");
  server_.data_directory = "/var/lib/postgresql/database";
  expect_frozen_because("/var/lib/postgresql/database is in no volume");
}

TEST_F(Native, FreezesAnotherCluster) {
  ++server_.system_id;
  expect_frozen_because("is not the one in the volume");
}

TEST_F(Native, FreezesSeveralServers) {
  engine_.processes["c1"].push_back("/usr/lib/postgresql/15/bin/postgres -D /other");
  expect_frozen_because("several servers");
}

TEST_F(Native, FreezesWhatOthersCanWrite) {
  engine_.add("c2");
  Writer other;
  other.id = "c2";
  other.name = "tool";
  source_.writers.push_back(other);
  expect_frozen_because("container tool can write to its volumes, too");
}

TEST_F(Native, FreezesWhenTheServerRefuses) {
  server_.complaints["pg_backup_start"] = "ERROR:  permission denied for function pg_backup_start";
  expect_frozen_because("permission denied for function");
}

TEST_F(Native, FreezesWhenTheSessionIsLost) {
  server_.rude = "pg_backup_stop";
  expect_frozen_because("the session ended");
}

TEST_F(Native, FreezesWhenWalWasRemoved) {
  server_.on_stop = [&] { stdfs::remove(source_dir() / "pg_wal" / segment(3)); };
  expect_frozen_because("/pg_wal: what is needed");
  server_.on_stop = [&] { stdfs::remove(source_dir() / "pg_wal" / segment(2)); };
  expect_frozen_because(segment(2) + " was removed");
}

TEST_F(Native, FreezesWhenItsWalIsExcluded) {
  BackupOptions options;
  options.exclude = {"pg_wal"};
  const BackupReport report = must(run(source_, options));
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("/pg_wal was left out"), std::string::npos);
}

TEST_F(Native, CapturesNothingOnceCancelled) {
  server_.on_start = [&] { cancel_ = true; };
  EXPECT_EQ(run_native().error().code, Code::cancelled);
  EXPECT_EQ(server_.open, 0);
  EXPECT_TRUE(engine_.calls().empty());
}

// WAL and cluster in volumes of their own, below their roots, and a volume of something else.
class NativeVolumes : public Native {
 protected:
  NativeVolumes() {
    const stdfs::path root = source_dir();
    for (const char* folder : {"cluster", "log", "config"}) {
      stdfs::create_directories(root / "v" / folder);
    }
    for (const auto& each : stdfs::directory_iterator(root)) {
      if (each.path().filename() == "v") continue;
      stdfs::create_directories(root / "v/cluster/main");
      stdfs::rename(each.path(), root / "v/cluster/main" / each.path().filename());
    }
    stdfs::rename(root / "v/cluster/main/pg_wal", root / "v/log/wal");
    stdfs::create_symlink("/wal/wal", root / "v/cluster/main/pg_wal");
    write_file(root / "v/config/pg_hba.conf", "local all all trust");
    source_.volumes.clear();
    add("cluster", "/srv/pg");
    add("log", "/wal");
    add("config", "/etc/postgresql");
    server_.data_directory = "/srv/pg/main";
  }
  void add(const std::string& name, const std::string& destination) {
    VolumeSource volume;
    volume.name = name;
    volume.origin = name;
    volume.destination = destination;
    volume.kind = store::VolumeKind::named;
    volume.host_path = source_dir() / "v" / name;
    source_.volumes.push_back(volume);
  }
  // A snapshot that has one volume alone.
  static store::Snapshot only(store::Snapshot snapshot, std::size_t volume) {
    snapshot.volumes = {snapshot.volumes.at(volume)};
    return snapshot;
  }
};

TEST_F(NativeVolumes, AreEditedEachForItself) {
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::native);
  EXPECT_TRUE(report.warnings.empty());
  const auto cluster = only(report.snapshot, 0);
  EXPECT_EQ(names(cluster, "main"), (Strings{"PG_VERSION", "backup_label", "base", "global",
                                             "pg_replslot", "pg_stat_tmp", "pg_wal"}));
  EXPECT_EQ(find(cluster, "main/pg_wal")->target, "/wal/wal");
  EXPECT_EQ(names(only(report.snapshot, 1), "wal"),
            (Strings{"00000001.history", segment(2), segment(3), segment(4), "archive_status",
                     "summaries"}));
  EXPECT_EQ(names(only(report.snapshot, 2), ""), Strings{"pg_hba.conf"});
}

TEST_F(NativeVolumes, FreezeWhenAnotherOneChanges) {
  int turn = 0;
  server_.on_stop = [&] {
    write_file(source_dir() / "v/config/pg_hba.conf", std::to_string(++turn));
  };
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("/etc/postgresql is not PostgreSQL's and changed"),
            std::string::npos);
  EXPECT_EQ(content(only(report.snapshot, 2), "pg_hba.conf"), "1");
  EXPECT_EQ(names(only(report.snapshot, 1), "wal").size(), 9u) << "now all of it";
  const BackupReport insisted = must(run_native(Wish::native));
  EXPECT_EQ(insisted.snapshot.consistency, store::Consistency::native);
  ASSERT_EQ(insisted.warnings.size(), 1u);
  EXPECT_EQ(content(only(insisted.snapshot, 2), "pg_hba.conf"), "1");
}

TEST_F(NativeVolumes, FreezeWhenOneIsMissing) {
  source_.volumes.erase(source_.volumes.begin() + 1);
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  EXPECT_NE(report.warnings.at(0).find("/wal/wal is in no volume"), std::string::npos);
}

TEST_F(Native, FreezesWhenAnotherBeginsToRun) {
  engine_.before = [this](const std::string& call) {
    if (call != "list" || engine_.binds.count("tool") != 0) return;
    engine_.binds["tool"] = {source_dir()};
    engine_.add("tool");
  };
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_EQ(report.warnings[0],
            "not captured natively: PostgreSQL: container tool has begun to run on its volumes");
  const auto calls = engine_.calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "pause tool"), 1);
}

TEST_F(Native, FreezesWhenAnotherBeginsToRunAtItsEnd) {
  server_.on_stop = [this] {
    engine_.binds["tool"] = {source_dir()};
    engine_.add("tool");
  };
  const BackupReport report = must(run_native());
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(server_.open, 0);
  expect_equal(report.snapshot);
}

// A database and an application that is frozen.
class NativeGroup : public Native {
 protected:
  std::vector<GroupMember> members(const Strings& writers) {
    stdfs::create_directories(folder_.path() + "/app");
    write_file(folder_.path() + "/app/number", "1");
    Source app = *folder_source("app", folder_.path() + "/app");
    for (const std::string& id : writers) {
      Writer writer;
      writer.id = id;
      writer.name = id;
      app.writers.push_back(writer);
      engine_.add(id);
    }
    BackupOptions options;
    options.state_folder = folder_.path() + "/state";
    options.clock = [this] { return system_now() + ahead_; };
    return {{source_, options}, {app, options}};
  }
  std::vector<Result<BackupReport>> run_group(const std::vector<GroupMember>& group) {
    auto session = store::Session::begin(*repository_, store::Compression::standard);
    EXPECT_TRUE(session.ok());
    return backup_group(**session, group, "shop", &engine_, {}, cancel_);
  }
};

TEST_F(NativeGroup, EndsItsBackupModeWhileTheOthersStandStill) {
  bool app_stood_still = false;
  bool db_ran = false;
  server_.on_stop = [&] {
    app_stood_still = engine_.is_paused("app");
    db_ran = !engine_.is_paused("c1");
  };
  const auto reports = run_group(members({"app"}));
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(app_stood_still);
  EXPECT_TRUE(db_ran);
  const store::Snapshot& db = reports[0]->snapshot;
  const store::Snapshot& app = reports[1]->snapshot;
  EXPECT_EQ(db.consistency, store::Consistency::native);
  EXPECT_EQ(app.consistency, store::Consistency::freeze);
  EXPECT_EQ(db.instant, app.instant);
  EXPECT_EQ(db.window, 0);
  EXPECT_GT(db.skew, 0);
  EXPECT_LE(db.skew, app.window);
}

TEST_F(NativeGroup, DoesNotKeepTheOthersFromTheirMomentWhenItIsSlow) {
  server_.on_stop = [] { std::this_thread::sleep_for(std::chrono::milliseconds(500)); };
  auto group = members({"app"});
  for (GroupMember& member : group) member.options.max_freeze = std::chrono::milliseconds(200);
  const auto reports = run_group(group);
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::native);
  EXPECT_EQ(reports[0]->warnings,
            Strings{"its backup mode ended after the rest of its group ran again"});
  EXPECT_EQ(reports[1]->snapshot.consistency, store::Consistency::freeze);
  EXPECT_TRUE(reports[1]->warnings.empty());
}

TEST_F(NativeGroup, HasAnInstantOfItsOwnWhenNobodyIsFrozen) {
  Nanoseconds stopped = 0;
  server_.on_stop = [&] { stopped = system_now() + ahead_; };
  const auto reports = run_group(members({}));
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::native);
  EXPECT_EQ(reports[0]->snapshot.instant, reports[1]->snapshot.instant);
  EXPECT_LE(reports[0]->snapshot.instant, stopped);
}

TEST_F(NativeGroup, FreezesADatabaseThatWritesToOthers) {
  const auto reports = run_group(members({"app", "c1"}));
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(reports[1]->snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(reports[0]->snapshot.instant, reports[1]->snapshot.instant);
  ASSERT_EQ(reports[0]->warnings.size(), 1u);
  EXPECT_NE(reports[0]->warnings[0].find("frozen for others"), std::string::npos);
}

// Two databases that an application writes to one after the other: of a group one is native.
class TwoDatabases : public NativeGroup {
 protected:
  // The second one, of container c2, with so much more to read.
  std::vector<GroupMember> databases(std::size_t more = 0) {
    const stdfs::path folder = folder_.path() + "/second";
    make_cluster(folder);
    write_file(folder / "base/1/more", random_text(more, 7));
    engine_.add("c2");
    engine_.processes["c2"] = engine_.processes["c1"];
    engine_.on_exec = [this](const docker::ExecRequest& request) {
      return (request.container == "c2" ? second_ : server_).exec(request);
    };
    second_.label = server_.label;
    second_.stop_lsn = server_.stop_lsn;
    Source second = *folder_source("second", folder);
    second.volumes[0].destination = kData;
    Writer writer;
    writer.id = writer.name = "c2";
    second.writers = {writer};
    std::vector<GroupMember> group = members({});
    group[1].source = std::move(second);
    return group;
  }
  test::FakePostgres second_;
};

TEST_F(TwoDatabases, OneEndsItsBackupModeWhileTheOtherStandsStill) {
  bool other_stood_still = false;
  second_.on_stop = [&] {
    other_stood_still = engine_.is_paused("c1") && !engine_.is_paused("c2");
  };
  const auto reports = run_group(databases(200'000));
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(reports[1]->snapshot.consistency, store::Consistency::native) << "it has more to read";
  EXPECT_EQ(reports[0]->snapshot.instant, reports[1]->snapshot.instant);
  EXPECT_TRUE(other_stood_still);
  ASSERT_EQ(reports[0]->warnings.size(), 1U);
  EXPECT_NE(reports[0]->warnings[0].find("second of its group is"), std::string::npos);
  EXPECT_TRUE(reports[1]->warnings.empty());
  EXPECT_EQ(server_.open + second_.open, 0);
}

// What stands still for the sake of the group stays in backup mode until that has worked.
TEST_F(TwoDatabases, AreBothNativeWhenTheFreezeFails) {
  engine_.fail("pause c1", Error{Code::io, 0, "unable to freeze"}, 10);
  const auto reports = run_group(databases(200'000));
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::native);
  EXPECT_EQ(reports[1]->snapshot.consistency, store::Consistency::native);
  ASSERT_EQ(reports[0]->warnings.size(), 1U);
  EXPECT_NE(reports[0]->warnings[0].find("its backup mode is to end a moment after"),
            std::string::npos);
  EXPECT_EQ(names(reports[0]->snapshot, "pg_wal").size(), 6u);
  EXPECT_EQ(server_.open + second_.open, 0);
}

TEST_F(TwoDatabases, AreBothNativeWhenTheFreezeDoesNotLast) {
  engine_.before = [this](const std::string& call) {
    if (call == "unpause c1") engine_.set_status("c1", docker::Status::running);
  };
  const auto reports = run_group(databases(200'000));
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::native);
  EXPECT_TRUE(find(reports[0]->snapshot, "backup_label").has_value());
  EXPECT_EQ(reports[0]->snapshot.instant, reports[1]->snapshot.instant);
  EXPECT_GT(reports[0]->snapshot.skew, 0);
}

TEST_F(TwoDatabases, TheOneThatInsistsIsNative) {
  auto group = databases(200'000);
  group[0].options.wish = Wish::native;
  const auto reports = run_group(group);
  for (const auto& report : reports) ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(reports[0]->snapshot.consistency, store::Consistency::native);
  EXPECT_EQ(reports[1]->snapshot.consistency, store::Consistency::freeze);
}

TEST_F(TwoDatabases, AreOneWhenOneServerHasBoth) {
  auto group = databases();
  group[1].source.writers = group[0].source.writers;
  engine_.processes["c1"] = engine_.processes["c2"];
  for (const auto& report : run_group(group)) {
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->snapshot.consistency, store::Consistency::native);
    EXPECT_TRUE(report->warnings.empty());
  }
}

TEST_F(TwoDatabases, BothAreAndItIsToldWhenBothInsist) {
  auto group = databases();
  for (GroupMember& member : group) member.options.wish = Wish::native;
  const auto reports = run_group(group);
  for (const auto& report : reports) {
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->snapshot.consistency, store::Consistency::native);
  }
  EXPECT_EQ(reports[0]->warnings.size() + reports[1]->warnings.size(), 1U);
}

TEST(Locate, FindsTheInnermostVolume) {
  Source source;
  for (const char* destination : {"", "/data", "/data/inner", "/"}) {
    VolumeSource volume;
    volume.destination = destination;
    source.volumes.push_back(volume);
  }
  EXPECT_EQ(locate(source, "/data/inner/x/y")->volume, 2u);
  EXPECT_EQ(locate(source, "/data/inner/x/y")->path, "x/y");
  EXPECT_EQ(locate(source, "/data/innermost")->volume, 1u);
  EXPECT_EQ(locate(source, "/data/innermost")->path, "innermost");
  EXPECT_EQ(locate(source, "/data")->path, "");
  EXPECT_EQ(locate(source, "/etc")->volume, 3u);
  EXPECT_EQ(locate(source, "/etc")->path, "etc");
  source.volumes.pop_back();
  EXPECT_FALSE(locate(source, "/etc").has_value());
}

}  // namespace
}  // namespace bygone::ingest
