// SPDX-License-Identifier: Apache-2.0
#include "ingest/tar_pass.h"

#include <thread>

#include <gtest/gtest.h>

#include "tests/ingest/backup_fixture.h"
#include "tests/support/fake_exec.h"
#include "tests/support/pausable_engine.h"
#include "tests/support/tar_maker.h"

namespace bygone::ingest {
namespace {

using test::TarMaker;

// An engine whose only volume is what a test says, one archive a transfer.
class ArchiveEngine final : public test::PausableEngine {
 public:
  std::vector<std::string> archives;  // the last one from then on
  std::function<void(std::size_t transfer)> before = [](std::size_t) {};
  std::size_t transfers = 0;
  std::size_t containers_removed = 0;
  std::function<test::Said(const docker::ExecRequest&)> on_exec;

  Result<std::unique_ptr<docker::Exec>> exec(const docker::ExecRequest& request) override {
    return std::unique_ptr<docker::Exec>(std::make_unique<test::FakeExec>(on_exec(request)));
  }
  Result<docker::Volume> volume(const std::string& name) override {
    docker::Volume volume;
    volume.name = name;
    return volume;
  }
  Result<void> remove_container(const std::string&, docker::RemoveVolumes, docker::Force) override {
    ++containers_removed;
    return {};
  }
  Result<void> remove_image(const std::string&) override { return {}; }
  Result<void> archive(const std::string&, const std::string& path,
                       const std::function<Result<void>(ByteView)>& sink,
                       const std::atomic<bool>&) override {
    EXPECT_EQ(path, "/v0");
    before(transfers);
    const std::string& bytes = archives[std::min(transfers++, archives.size() - 1)];
    for (std::size_t at = 0; at < bytes.size(); at += 10000) {
      TRY(sink(as_bytes(std::string_view(bytes).substr(at, 10000))));
    }
    return {};
  }
};

class TarPassTest : public BackupTest {
 protected:
  Result<BackupReport> back_up(BackupOptions options = {}) {
    Source source;
    source.kind = store::SourceKind::volume;
    source.name = "vol";
    source.host_id = "engine";
    VolumeSource volume;
    volume.access = Access::engine;
    volume.origin = "vol";
    volume.kind = store::VolumeKind::named;
    source.volumes.push_back(volume);
    source.writers = writers_;
    source.container_id = container_;
    options.state_folder = folder_.path() + "/state";
    auto session = TRY(store::Session::begin(*repository_, options.compression));
    elsewhere_.transfers = 0;
    return backup(*session, source, &elsewhere_, options, {}, cancel_);
  }
  BackupReport must(BackupOptions options = {}) {
    auto report = back_up(std::move(options));
    EXPECT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(elsewhere_.containers_made, elsewhere_.containers_removed);
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  void must_fail(Code code) {
    const auto report = back_up();
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code, code) << report.error().message;
    EXPECT_EQ(elsewhere_.containers_made, elsewhere_.containers_removed);
    EXPECT_TRUE(repository_->snapshots(nullptr)->empty());
  }

  ArchiveEngine elsewhere_;
  std::string container_;
};

TarMaker tree() {
  TarMaker tar;
  tar.folder("v0")
      .folder("v0/a")
      .file("v0/a/f", "content")
      .file("v0/a/small", random_text(5000, 1));
  tar.folder("v0/a.b").file("v0/a.b/x", "x").file("v0/large", random_text(3'000'000, 2));
  tar.file("v0/none", "").file("v0/zeros", std::string(1 << 20, '\0'));
  return tar;
}

TEST_F(TarPassTest, KeepsATree) {
  elsewhere_.archives = {tree().end().bytes()};
  const BackupReport report = must();
  EXPECT_EQ(report.snapshot.files, 6u);
  EXPECT_EQ(report.snapshot.folders, 3u);
  EXPECT_EQ(content(report.snapshot, "a/f"), "content");
  EXPECT_EQ(content(report.snapshot, "a/small"), random_text(5000, 1));
  EXPECT_EQ(content(report.snapshot, "a.b/x"), "x");
  EXPECT_EQ(content(report.snapshot, "large"), random_text(3'000'000, 2));
  EXPECT_EQ(content(report.snapshot, "zeros"), std::string(1 << 20, '\0'));
}

TEST_F(TarPassTest, AddsNothingForWhatIsAsBefore) {
  TarMaker tar = tree();
  tar.file("v0/zlink1", "one file").link("v0/zlink2", "v0/zlink1").end();
  elsewhere_.archives = {tar.bytes()};
  const BackupReport first = must();
  const BackupReport second = must();
  EXPECT_EQ(second.snapshot.added_bytes, 0u);
  EXPECT_EQ(second.snapshot.volumes[0].root, first.snapshot.volumes[0].root);
  EXPECT_EQ(second.changed_files, 0u);
}

TEST_F(TarPassTest, SeesChangesThatNoTimeShows) {
  TarMaker one, two;
  one.folder("v0").file("v0/f", "aaaa").file("v0/g", random_text(200'000, 1)).end();
  std::string other = random_text(200'000, 1);
  other[100'000] ^= 1;
  two.folder("v0").file("v0/f", "bbbb").file("v0/g", other).end();
  elsewhere_.archives = {one.bytes()};
  must();
  elsewhere_.archives = {two.bytes()};
  const BackupReport report = must();
  EXPECT_EQ(content(report.snapshot, "f"), "bbbb");
  EXPECT_EQ(content(report.snapshot, "g"), other);
}

TEST_F(TarPassTest, CountsTheNamesOfAFile) {
  TarMaker tar;
  tar.folder("v0").folder("v0/a").file("v0/a/one", "shared").folder("v0/b");
  tar.link("v0/b/two", "v0/a/one").link("v0/three", "v0/a/one").end();
  elsewhere_.archives = {tar.bytes()};
  for (int round = 0; round < 2; ++round) {
    const BackupReport report = must();
    EXPECT_EQ(report.snapshot.files, 3u);
    const auto one = find(report.snapshot, "a/one");
    for (const char* name : {"a/one", "b/two", "three"}) {
      const auto entry = find(report.snapshot, name);
      ASSERT_TRUE(entry) << name;
      EXPECT_EQ(entry->links, 3u);
      EXPECT_EQ(entry->inode, one->inode);
      EXPECT_EQ(content(*entry), "shared");
    }
  }
  // One name fewer, then none but the first.
  for (const unsigned left : {2u, 1u}) {
    TarMaker fewer;
    fewer.folder("v0").folder("v0/a").file("v0/a/one", "shared").folder("v0/b");
    if (left == 2) fewer.link("v0/b/two", "v0/a/one");
    elsewhere_.archives = {fewer.end().bytes()};
    const BackupReport report = must();
    EXPECT_EQ(find(report.snapshot, "a/one")->links, left);
    EXPECT_EQ(report.snapshot.files, left);
  }
}

TEST_F(TarPassTest, CommitsNothingOfATreeThatIsCutOff) {
  const std::string whole = tree().end().bytes();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{512}, std::size_t{1024}, std::size_t{2'000'000},
        whole.size() - (1 << 20) - 1024, whole.size() - 1024, whole.size() - 512}) {
    SCOPED_TRACE(size);
    elsewhere_.archives = {whole.substr(0, size)};
    must_fail(Code::io);
    EXPECT_EQ(elsewhere_.transfers, 3u);
  }
  // A transfer that fails once is tried again.
  elsewhere_.archives = {whole.substr(0, 2'000'000), whole};
  EXPECT_EQ(content(must().snapshot, "large"), random_text(3'000'000, 2));
}

TEST_F(TarPassTest, RefusesTreesThatAreNone) {
  const auto refuse = [&](TarMaker tar) {
    elsewhere_.archives = {tar.end().bytes()};
    must_fail(Code::invalid);
  };
  refuse(TarMaker().folder("v0").file("v0/b", "").file("v0/a", ""));
  refuse(TarMaker().folder("v0").file("v0/a", "").file("v0/a", ""));
  refuse(TarMaker().folder("v0").file("v0/a/f", ""));
  refuse(TarMaker().folder("v0").file("v0/a", "").file("v0/a/f", ""));
  refuse(TarMaker().folder("v0").folder("v0"));
  refuse(TarMaker().folder("v0").link("v0/a", "v0/b"));
  refuse(TarMaker().folder("v0").folder("v0/a").link("v0/b", "v0/a"));
  refuse(TarMaker().folder("v0").file("v0/a", "x").link("v0/b/c", "v0/a"));
  refuse(TarMaker().file("v0", "x").file("v0/a", "x"));
}

TEST_F(TarPassTest, KeepsASingleFile) {
  elsewhere_.archives = {TarMaker().file("v0", "key = value").end().bytes()};
  const BackupReport report = must();
  EXPECT_EQ(report.snapshot.files, 1u);
  EXPECT_EQ(content(report.snapshot.volumes[0].root), "key = value");
}

TEST_F(TarPassTest, LeavesOutWhatIsExcluded) {
  TarMaker tar = tree();
  tar.link("v0/zz", "v0/a/f").end();
  elsewhere_.archives = {tar.bytes()};
  BackupOptions options;
  options.exclude = {"/a/", "large"};
  const BackupReport report = must(options);
  EXPECT_FALSE(find(report.snapshot, "a"));
  EXPECT_FALSE(find(report.snapshot, "large"));
  EXPECT_TRUE(find(report.snapshot, "a.b/x"));
  // Another name of what was left out: its content is nowhere else in the archive.
  ASSERT_EQ(report.unreadable.size(), 1u);
  EXPECT_EQ(report.unreadable[0].path, "zz");
}

TEST_F(TarPassTest, TakesUnderTheFreezeWhatChanged) {
  writers_ = {{"c1", "db", false, ""}};
  std::string changed = random_text(3'000'000, 2);
  changed.replace(1'000'000, 10, "0123456789");
  TarMaker hot = tree(), frozen;
  hot.link("v0/zz", "v0/a/f").end();
  frozen.folder("v0")
      .folder("v0/a")
      .file("v0/a/f", "changed")
      .file("v0/a/small", random_text(5000, 1));
  frozen.folder("v0/a.b").file("v0/a.b/x", "x").file("v0/large", changed).file("v0/new", "new");
  frozen.file("v0/zeros", std::string(1 << 20, '\0')).link("v0/zz", "v0/a/f").end();
  elsewhere_.archives = {hot.bytes(), frozen.bytes()};
  std::vector<bool> paused;
  elsewhere_.before = [&](std::size_t) { paused.push_back(elsewhere_.paused); };
  const BackupReport report = must();
  EXPECT_EQ(paused, (std::vector<bool>{false, true}));
  EXPECT_FALSE(elsewhere_.paused);
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(report.snapshot.files, 7u);
  EXPECT_EQ(content(report.snapshot, "a/f"), "changed");
  EXPECT_EQ(content(report.snapshot, "zz"), "changed");
  EXPECT_EQ(find(report.snapshot, "zz")->links, 2u);
  EXPECT_EQ(content(report.snapshot, "a/small"), random_text(5000, 1));
  EXPECT_EQ(content(report.snapshot, "large"), changed);
  EXPECT_EQ(content(report.snapshot, "new"), "new");
  EXPECT_EQ(content(report.snapshot, "zeros"), std::string(1 << 20, '\0'));
  EXPECT_FALSE(find(report.snapshot, "none"));
}

TEST_F(TarPassTest, KeepsTheHotPassWhenTheTransferUnderTheFreezeFails) {
  writers_ = {{"c1", "db", false, ""}};
  const std::string whole = tree().end().bytes();
  elsewhere_.archives = {whole, whole.substr(0, 2'000'000)};
  const BackupReport report = must();
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::live);
  EXPECT_EQ(report.warnings.size(), 1u);
  EXPECT_EQ(report.snapshot.files, 6u);
  EXPECT_EQ(content(report.snapshot, "large"), random_text(3'000'000, 2));
  EXPECT_FALSE(elsewhere_.paused);
  BackupOptions insisting;
  insisting.wish = Wish::freeze;
  EXPECT_FALSE(back_up(insisting).ok());
  EXPECT_FALSE(elsewhere_.paused);
}

TEST_F(TarPassTest, FreezesNobodyForATransferThatTakesTooLong) {
  writers_ = {{"c1", "db", false, ""}};
  elsewhere_.archives = {tree().end().bytes()};
  bool frozen = false;
  elsewhere_.before = [&](std::size_t) {
    frozen = frozen || elsewhere_.paused;
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  };
  BackupOptions options;
  options.max_freeze = std::chrono::milliseconds(50);
  const BackupReport report = must(options);
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::live);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("longer than a freeze may be"), std::string::npos);
  EXPECT_EQ(content(report.snapshot, "a/f"), "content");
  options.wish = Wish::freeze;
  EXPECT_FALSE(back_up(options).ok());
  EXPECT_FALSE(frozen);
}

// What the pre hook prepares is what is to be captured, whether or not anybody stands still.
TEST_F(TarPassTest, RunsItsHooksWhereNobodyIsFrozenForATransferThatTakesTooLong) {
  writers_ = {{"c1", "db", false, ""}};
  container_ = "c1";
  const std::string before = tree().end().bytes();
  TarMaker prepared;
  prepared.folder("v0").folder("v0/a").file("v0/a/f", "prepared");
  elsewhere_.archives = {before};
  elsewhere_.before = [](std::size_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  };
  std::string ran;
  elsewhere_.on_exec = [&](const docker::ExecRequest& request) {
    ran += request.command.front() + "@" + std::to_string(elsewhere_.transfers) + " ";
    elsewhere_.archives = {before, prepared.bytes()};
    return test::Said{};
  };
  prepared.end();
  BackupOptions options;
  options.max_freeze = std::chrono::milliseconds(50);
  options.pre = Hook{.command = {"pre"}};
  options.post = Hook{.command = {"post"}};
  const BackupReport report = must(options);
  EXPECT_EQ(ran, "pre@1 post@2 ");
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::live);
  EXPECT_NE(report.live_because, "");
  EXPECT_EQ(content(report.snapshot, "a/f"), "prepared");
  EXPECT_EQ(report.snapshot.files, 1U);
}

// A log that shrinks during a transfer is enough to end it.
TEST_F(TarPassTest, LosesNothingToATransferThatFailsAfterItsHook) {
  writers_ = {{"c1", "db", false, ""}};
  container_ = "c1";
  const std::string before = tree().end().bytes();
  const std::string cut = before.substr(0, 2'000'000);
  const std::string prepared =
      TarMaker().folder("v0").folder("v0/a").file("v0/a/f", "prepared").end().bytes();
  elsewhere_.before = [](std::size_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  };
  elsewhere_.on_exec = [](const docker::ExecRequest&) { return test::Said{}; };
  BackupOptions options;
  options.max_freeze = std::chrono::milliseconds(50);
  options.pre = Hook{.command = {"pre"}};
  elsewhere_.archives = {before, cut, cut, prepared};
  const BackupReport third = must(options);
  EXPECT_EQ(elsewhere_.transfers, 4U);
  EXPECT_EQ(content(third.snapshot, "a/f"), "prepared");
  EXPECT_EQ(third.warnings.size(), 1U);
  elsewhere_.archives = {before, cut};
  const BackupReport none = must(options);
  EXPECT_EQ(elsewhere_.transfers, 4U);
  EXPECT_EQ(content(none.snapshot, "a/f"), "content");
  EXPECT_EQ(content(none.snapshot, "large"), random_text(3'000'000, 2));
  EXPECT_EQ(none.snapshot.consistency, store::Consistency::live);
  ASSERT_EQ(none.warnings.size(), 2U);
  EXPECT_NE(none.warnings[1].find("ended too early: it is not whole: it is kept as it was read"),
            std::string::npos)
      << none.warnings[1];
}

TEST_F(TarPassTest, IsCancelled) {
  elsewhere_.archives = {tree().end().bytes()};
  elsewhere_.before = [&](std::size_t) { cancel_ = true; };
  const auto report = back_up();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_EQ(elsewhere_.containers_made, elsewhere_.containers_removed);
}

}  // namespace
}  // namespace bygone::ingest
