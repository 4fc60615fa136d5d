// SPDX-License-Identifier: Apache-2.0
//
// Writable layers that only their engine can see. The engine here is a file system written down by
// the test, shown as Docker shows a container's; a real one is in tests/e2e/remote.sh.
#include "ingest/layer_stream.h"

#include <mutex>
#include <thread>

#include "tests/ingest/backup_fixture.h"
#include "tests/support/pausable_engine.h"
#include "tests/support/tar_maker.h"

namespace bygone::ingest {
namespace {

using test::TarMaker;

constexpr std::size_t kImage = 5u << 20;  // bytes of a file that is the image's

struct WalkOrder {
  bool operator()(const std::string& a, const std::string& b) const { return before_in_walk(a, b); }
};

// What is at a path of the container.
struct File {
  char type = '0';           // as in a tar; 's' is a socket, which no archive has
  std::string content = {};  // or the target of a link
  unsigned mode = 0644;
};

class LayeredEngine final : public test::PausableEngine {
 public:
  std::map<std::string, File, WalkOrder> files;  // without a slash in front
  std::vector<docker::Change> listed;
  std::size_t cut_request = 0;  // the one of these that is cut off, counted from one, and
  std::size_t cut_at = 0;       // after how many bytes
  std::function<void()> on_pause = [] {};
  std::function<void(const std::string& path)> on_archive = [](const std::string&) {};
  std::vector<std::string> requests;
  std::size_t sent = 0;  // bytes
  bool gone = false;
  bool slow_when_paused = false;
  bool unsorted = false;  // archives begin with what is last

  void folder(const std::string& path) { files[path] = {'5', "", 0755}; }
  void added(const std::string& path) {
    listed.push_back({docker::Change::Kind::added, "/" + path});
  }
  void modified(const std::string& path) {
    listed.push_back({docker::Change::Kind::modified, "/" + path});
  }
  void deleted(const std::string& path) {
    listed.push_back({docker::Change::Kind::deleted, "/" + path});
  }

  Result<std::vector<docker::Change>> changes(const std::string&) override { return listed; }
  Result<docker::ContainerState> state(const std::string& id) override {
    if (gone) return missing("the container");
    return PausableEngine::state(id);
  }
  Result<docker::Paused> pause(const std::string& id, std::chrono::milliseconds wait) override {
    const auto done = PausableEngine::pause(id, wait);
    on_pause();
    return done;
  }
  Result<docker::Unpaused> unpause(const std::string& id) override {
    const std::lock_guard lock(container_);
    return PausableEngine::unpause(id);
  }
  Result<void> archive(const std::string& id, const std::string& path,
                       const std::function<Result<void>(ByteView)>& sink,
                       const std::atomic<bool>& cancel) override {
    const std::lock_guard lock(container_);
    EXPECT_EQ(id, "c1");
    requests.push_back(path);
    on_archive(path);
    if (gone) return missing("the container");
    while (slow_when_paused && paused && !cancel) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const std::string root = path == "/." ? "" : path.substr(1);
    const auto at = files.find(root);
    if (at == files.end()) return missing(path);
    const std::string base = root.empty() ? "." : root.substr(root.rfind('/') + 1);
    std::vector<decltype(files)::iterator> below;
    for (auto each = std::next(at); each != files.end(); ++each) {
      if (!root.empty() && !each->first.starts_with(root + "/")) break;
      below.push_back(each);
    }
    if (unsorted) std::reverse(below.begin(), below.end());
    TarMaker tar;
    put(tar, base, base, root, at->second);
    for (const auto& each : below) {
      const std::string name = each->first.substr(root.empty() ? 0 : root.size() + 1);
      put(tar, base + "/" + name, base, root, each->second);
    }
    std::string_view bytes = tar.end().bytes();
    if (requests.size() == cut_request) bytes = bytes.substr(0, cut_at);
    for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 10000))) {
      if (cancel) return Error{Code::cancelled, 0, "cancelled"};
      sent += std::min<std::size_t>(bytes.size(), 10000);
      TRY(sink(as_bytes(bytes.substr(0, 10000))));
    }
    return {};
  }

 private:
  std::mutex container_;  // Docker locks a container while it sends of it

  static Error missing(const std::string& what) {
    return {Code::not_found, 0, what + " is not there"};
  }
  static void put(TarMaker& tar, const std::string& name, const std::string& base,
                  const std::string& root, const File& file) {
    if (file.type == 's') return;
    if (file.type == '0') {
      tar.header(name, {.size = file.content.size(), .mode = file.mode}).padded(file.content);
      return;
    }
    std::string link = file.content;
    if (file.type == '1') link = base + "/" + link.substr(root.empty() ? 0 : root.size() + 1);
    tar.header(name, {.type = file.type, .link = link, .mode = file.mode});
  }
};

class LayerStreamTest : public BackupTest {
 protected:
  // An image with a folder for everything, large files in some of them.
  LayerStreamTest() {
    for (const char* path : {"", "bin", "data", "etc", "lib", "root", "usr", "usr/share"}) {
      engine_.folder(path);
    }
    engine_.files["lib/large"].content = std::string(kImage, 'i');
    engine_.files["usr/large"].content = std::string(kImage, 'i');
    engine_.files["etc/passwd"].content = "image";
    engine_.files["etc/zone"].content = "image";
  }

  Result<BackupReport> back_up(BackupOptions options = {}) {
    Source source;
    source.kind = store::SourceKind::container;
    source.name = "app";
    source.host_id = "engine";
    source.container_id = "c1";
    VolumeSource volume;
    volume.name = volume.destination = kLayerName;
    volume.access = Access::engine;
    volume.kind = store::VolumeKind::layer;
    volume.nested = mounts_;
    source.volumes.push_back(volume);
    source.writers = writers_;
    options.state_folder = folder_.path() + "/state";
    auto session = TRY(store::Session::begin(*repository_, options.compression));
    engine_.requests.clear();
    engine_.sent = 0;
    auto report = backup(*session, source, &engine_, options, {}, cancel_);
    EXPECT_EQ(engine_.containers_made, 0u) << "a layer is read through its own container";
    return report;
  }
  BackupReport must(BackupOptions options = {}) {
    auto report = back_up(std::move(options));
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }
  void must_fail(Code code) {
    const auto report = back_up();
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code, code) << report.error().message;
    EXPECT_TRUE(repository_->snapshots(nullptr)->empty());
  }

  // Every path of the layer, folders with a slash.
  std::vector<std::string> paths(const store::Snapshot& snapshot) {
    std::vector<std::string> out;
    gather(snapshot.volumes.at(0).root, "", out);
    return out;
  }
  std::string extra(const store::Snapshot& snapshot, const char* name) {
    if (!snapshot.extra) return "";
    const auto entry = repository_->trees().lookup(*snapshot.extra, name);
    return entry.ok() && *entry ? content(**entry) : "";
  }

  LayeredEngine engine_;
  std::vector<std::string> mounts_;

 private:
  void gather(const Entry& folder, const std::string& path, std::vector<std::string>& out) {
    auto leaves = repository_->trees().leaves(folder.node);
    ASSERT_TRUE(leaves.ok());
    for (const auto& leaf : *leaves) {
      auto entries = repository_->trees().leaf(leaf.node);
      ASSERT_TRUE(entries.ok());
      for (const Entry& entry : *entries) {
        out.push_back(path + entry.name + (entry.is_directory() ? "/" : ""));
        if (entry.is_directory()) gather(entry, path + entry.name + "/", out);
      }
    }
  }
};

using Paths = std::vector<std::string>;

TEST_F(LayerStreamTest, HasWhatIsListedAndTheFoldersAboveIt) {
  engine_.folder("root/work");
  engine_.files["root/work/a"].content = "one";
  engine_.files["root/work/b"] = {'2', "a"};
  engine_.files["root/work/fifo"] = {'6'};
  engine_.files["etc/passwd"] = {'0', "changed", 0600};
  engine_.files["usr/share/new"].content = random_text(300'000, 1);
  engine_.files["usr/share"].mode = 0700;
  for (const char* path : {"root/work/b", "usr/share/new", "root/work", "root/work/fifo"}) {
    engine_.added(path);
  }
  engine_.added("root/work/a");
  engine_.modified("etc/passwd");
  const BackupReport report = must();
  EXPECT_EQ(paths(report.snapshot),
            (Paths{"etc/", "etc/passwd", "root/", "root/work/", "root/work/a", "root/work/b",
                   "root/work/fifo", "usr/", "usr/share/", "usr/share/new"}));
  EXPECT_EQ(content(report.snapshot, "etc/passwd"), "changed");
  EXPECT_EQ(find(report.snapshot, "etc/passwd")->mode, 0600u);
  EXPECT_EQ(find(report.snapshot, "usr/share")->mode, 0700u);
  EXPECT_EQ(find(report.snapshot, "root/work/b")->target, "a");
  EXPECT_EQ(content(report.snapshot, "usr/share/new"), random_text(300'000, 1));
  EXPECT_TRUE(report.unreadable.empty());
}

TEST_F(LayerStreamTest, AsksForLittleOfTheImageAndSeldom) {
  for (int i = 0; i < 200; ++i) {
    engine_.files["etc/new" + std::to_string(i)].content = "new";
    engine_.added("etc/new" + std::to_string(i));
  }
  engine_.files["usr/share/z"].content = "new";
  engine_.added("usr/share/z");
  must();
  // Small things of the image are passed over; large ones end a request.
  EXPECT_EQ(engine_.requests, (Paths{"/.", "/usr", "/usr/share"}));
  EXPECT_LT(engine_.sent, 4u << 20);
}

TEST_F(LayerStreamTest, HasNothingFromAMount) {
  engine_.folder("new");
  engine_.folder("new/vol");
  for (int i = 0; i < 3000; ++i) engine_.files["new/vol/" + std::to_string(i)].content = "secret";
  engine_.folder("new/vol2");
  engine_.files["new/vol2/secret"].content = "secret";
  engine_.files["new/z"].content = "mine";
  engine_.files["data/secret"].content = "secret";
  engine_.files["etc/hosts"].content = "secret";
  engine_.files["etc/key"].content = "secret";
  // /run/vol is mounted as /var/run/vol.
  engine_.folder("var");
  engine_.folder("run");
  engine_.files["var/run"] = {'2', "../run"};
  engine_.folder("run/vol");
  engine_.files["run/vol/secret"].content = "secret";
  mounts_ = {"new/vol", "new/vol2", "data", "etc/key", "var/run/vol"};
  for (const char* path : {"new", "new/vol", "new/vol2", "new/z", "etc/hosts", "etc/key", "run/vol",
                           "run/vol/secret"}) {
    engine_.added(path);
  }
  engine_.deleted("new/vol/gone");
  engine_.deleted("etc/hosts");
  const BackupReport report = must();
  EXPECT_EQ(paths(report.snapshot), (Paths{"new/", "new/z"}));
  EXPECT_EQ(extra(report.snapshot, "layer-deleted"), "");
  EXPECT_LT(engine_.sent, 5u << 19) << "a volume is passed by";
}

TEST_F(LayerStreamTest, ListsWhatWasDeleted) {
  for (const char* path : {"usr/b", "usr/a.x", "usr/a/x", "bin/ls"}) engine_.deleted(path);
  const BackupReport report = must();
  EXPECT_EQ(extra(report.snapshot, "layer-deleted"), "/bin/ls\n/usr/a/x\n/usr/a.x\n/usr/b\n");
  EXPECT_EQ(paths(report.snapshot), (Paths{"bin/", "usr/"}));  // a has no folder any more
}

TEST_F(LayerStreamTest, PassesOverWhatIsGone) {
  engine_.folder("root/work");
  engine_.files["root/work/b"].content = "there";
  for (const char* path : {"root/work", "root/work/a", "root/work/b", "usr/share/gone",
                           "usr/share/gone/x", "lib/gone", "etc/gone"}) {
    engine_.added(path);
  }
  // A folder that became a file.
  engine_.files["root/was"].content = "file";
  engine_.added("root/was");
  engine_.added("root/was/x");
  const BackupReport report = must();
  EXPECT_EQ(paths(report.snapshot), (Paths{"etc/", "lib/", "root/", "root/was", "root/work/",
                                           "root/work/b", "usr/", "usr/share/"}));
  EXPECT_TRUE(report.unreadable.empty());
  // Where an archive has passed nobody asks again: what is there by now would be out of order.
  EXPECT_EQ(std::count(engine_.requests.begin(), engine_.requests.end(), "/etc/gone"), 0);
}

TEST_F(LayerStreamTest, FailsWhenTheContainerIsGone) {
  engine_.files["usr/share/new"].content = "new";
  engine_.added("usr/share/new");
  engine_.on_archive = [&](const std::string& path) { engine_.gone = path != "/."; };
  must_fail(Code::not_found);
  engine_.gone = true;
  engine_.on_archive = [](const std::string&) {};
  must_fail(Code::not_found);
}

TEST_F(LayerStreamTest, SaysWhichNamesTheEngineCannotBeAskedFor) {
  // An engine lists both as "x" and U+FFFD. What passes by is taken under its own name.
  engine_.files["etc/x\xff"].content = "small folder";
  engine_.added("etc/x\xef\xbf\xbd");
  engine_.folder("usr/share/x\xff");
  engine_.files["usr/share/x\xff/y"].content = "behind a large file";
  engine_.files["usr/share/a"].content = std::string(kImage, 'i');
  engine_.added("usr/share/x\xef\xbf\xbd");
  engine_.added("usr/share/x\xef\xbf\xbd/y");
  const BackupReport report = must();
  EXPECT_EQ(content(report.snapshot, "etc/x\xff"), "small folder");
  EXPECT_FALSE(find(report.snapshot, "usr/share/x\xff"));
  ASSERT_EQ(report.unreadable.size(), 1u);
  EXPECT_EQ(report.unreadable[0].path, "@layer/usr/share/x\xef\xbf\xbd");
  EXPECT_TRUE(report.snapshot.partial);
}

TEST_F(LayerStreamTest, TakesAnyNameThatCanBeTold) {
  const Paths names = {"new\nline",   "sp ace",           "q?a&b=c%41",
                       "back\\slash", "\xf0\x9f\x98\x80", "x\xef\xbf\xbd"};
  for (const std::string& name : names) {
    engine_.files["lib/" + name].content = name;  // some behind a large file
    engine_.added("lib/" + name);
  }
  const BackupReport report = must();
  for (const std::string& name : names) EXPECT_EQ(content(report.snapshot, "lib/" + name), name);
  EXPECT_TRUE(report.unreadable.empty());
}

TEST_F(LayerStreamTest, KeepsTheNamesOfAFile) {
  engine_.folder("root/work");
  engine_.files["root/work/one"].content = "shared";
  engine_.files["root/work/two"] = {'1', "root/work/one"};
  // Another name of a file of the image, which is not listed.
  engine_.files["etc/passwd2"] = {'1', "etc/passwd"};
  for (const char* path : {"root/work", "root/work/one", "root/work/two", "etc/passwd2"}) {
    engine_.added(path);
  }
  engine_.on_archive = [&](const std::string& path) {
    if (path == "/etc/passwd2") engine_.files["etc/passwd2"] = {'0', "image"};
  };
  const BackupReport report = must();
  EXPECT_EQ(paths(report.snapshot), (Paths{"etc/", "etc/passwd2", "root/", "root/work/",
                                           "root/work/one", "root/work/two"}));
  EXPECT_EQ(find(report.snapshot, "root/work/one")->links, 2u);
  EXPECT_EQ(content(report.snapshot, "root/work/two"), "shared");
  EXPECT_EQ(content(report.snapshot, "etc/passwd2"), "image");
}

TEST_F(LayerStreamTest, SaysThatASocketIsLeftOut) {
  engine_.files["usr/share/socket"].type = 's';
  engine_.added("usr/share/socket");
  engine_.files["usr/share/a"].content = std::string(kImage, 'i');
  const BackupReport report = must();
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_NE(report.skipped[0].find("@layer/usr/share/socket"), std::string::npos);
}

TEST_F(LayerStreamTest, CommitsNothingOfAnArchiveThatIsCutOff) {
  engine_.files["etc/new"].content = random_text(20'000, 1);
  engine_.added("etc/new");
  engine_.files["usr/share/new"].content = "new";
  engine_.added("usr/share/new");
  for (const std::size_t size : {0u, 512u, 1024u, 15000u}) {
    SCOPED_TRACE(size);
    engine_.cut_at = size;
    engine_.cut_request = 1;
    const auto report = back_up();  // tried again, whole this time
    EXPECT_TRUE(report.ok());
    EXPECT_EQ(engine_.requests, (Paths{"/.", "/.", "/usr", "/usr/share"}));
  }
  engine_.on_archive = [&](const std::string&) { engine_.cut_request = engine_.requests.size(); };
  EXPECT_FALSE(back_up().ok());
}

TEST_F(LayerStreamTest, AddsNothingForWhatIsAsBefore) {
  engine_.files["usr/share/new"].content = random_text(300'000, 1);
  engine_.added("usr/share/new");
  const BackupReport first = must();
  const BackupReport second = must();
  EXPECT_EQ(second.snapshot.added_bytes, 0u);
  EXPECT_EQ(second.snapshot.volumes[0].root, first.snapshot.volumes[0].root);
}

TEST_F(LayerStreamTest, TakesUnderTheFreezeWhatChanged) {
  writers_ = {{"c1", "app", false, ""}};
  engine_.files["usr/share/large"].content = random_text(300'000, 1);
  engine_.files["usr/share/same"].content = random_text(300'000, 2);
  for (const char* path : {"usr/share/large", "usr/share/same", "usr/share/brief"}) {
    engine_.added(path);
  }
  engine_.files["usr/share/brief"].content = "gone before the freeze";
  engine_.deleted("bin/ls");
  std::string changed = random_text(300'000, 1);
  changed[150'000] ^= 1;
  engine_.on_pause = [&] {
    engine_.files["usr/share/large"].content = changed;
    engine_.files.erase("usr/share/brief");
    engine_.listed.erase(engine_.listed.begin() + 2, engine_.listed.end());
    engine_.deleted("bin/cat");
    engine_.files["etc/late"].content = "late";
    engine_.added("etc/late");
  };
  const BackupReport report = must();
  EXPECT_FALSE(engine_.paused);
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::freeze);
  EXPECT_EQ(paths(report.snapshot), (Paths{"bin/", "etc/", "etc/late", "usr/", "usr/share/",
                                           "usr/share/large", "usr/share/same"}));
  EXPECT_TRUE(content(report.snapshot, "usr/share/large") == changed);
  EXPECT_TRUE(content(report.snapshot, "usr/share/same") == random_text(300'000, 2));
  EXPECT_EQ(extra(report.snapshot, "layer-deleted"), "/bin/cat\n");
}

TEST_F(LayerStreamTest, DoesNotKeepTheEngineFromThawing) {
  writers_ = {{"c1", "app", false, ""}};
  engine_.files["root/new"].content = "hot";
  engine_.added("root/new");
  engine_.slow_when_paused = true;
  BackupOptions options;
  // Long enough for the hot pass of a slow machine to look short beside it.
  options.max_freeze = std::chrono::milliseconds(1500);
  const auto begin = std::chrono::steady_clock::now();
  const BackupReport report = must(options);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(report.snapshot.consistency, store::Consistency::live);
  EXPECT_EQ(content(report.snapshot, "root/new"), "hot");
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("the time for it is over"), std::string::npos)
      << report.warnings[0];
  options.wish = Wish::freeze;
  EXPECT_FALSE(back_up(options).ok());
  EXPECT_FALSE(engine_.paused);
}

TEST_F(LayerStreamTest, AsksForNothingThatIsExcluded) {
  engine_.folder("usr/share/cache");
  for (const char* path : {"usr/share/cache/a", "lib/x.tmp", "root/kept"}) {
    engine_.files[path].content = "new";
    engine_.added(path);
  }
  engine_.deleted("usr/share/cache/gone");
  engine_.folder("root/tmp");
  engine_.added("root/tmp");
  BackupOptions options;
  options.exclude = {"/usr/share/cache/", "*.tmp", "tmp/"};
  const BackupReport report = must(options);
  EXPECT_EQ(paths(report.snapshot), (Paths{"root/", "root/kept"}));
  EXPECT_EQ(extra(report.snapshot, "layer-deleted"), "");
  EXPECT_EQ(engine_.requests, (Paths{"/.", "/root"}));
}

TEST_F(LayerStreamTest, IsCancelled) {
  writers_ = {{"c1", "app", false, ""}};
  engine_.files["root/new"].content = random_text(300'000, 1);
  engine_.added("root/new");
  for (const char* when : {"/.", "/root"}) {
    engine_.on_archive = [&](const std::string& path) { cancel_ = cancel_ || path == when; };
    must_fail(Code::cancelled);
    cancel_ = false;
  }
  engine_.on_archive = [&](const std::string&) { cancel_ = engine_.paused.load(); };
  must_fail(Code::cancelled);
  EXPECT_FALSE(engine_.paused);
}

TEST_F(LayerStreamTest, RefusesWhatIsNoList) {
  for (const char* path : {"etc/passwd", "", "//", "/etc/", "/etc//x", "/etc/../x", "/./etc"}) {
    SCOPED_TRACE(path);
    engine_.listed = {{docker::Change::Kind::added, path}};
    must_fail(Code::invalid);
  }
}

TEST_F(LayerStreamTest, RefusesWhatIsInNoOrder) {
  engine_.files["root/a"].content = "a";
  engine_.files["root/b"].content = "b";
  engine_.added("root/a");
  engine_.added("root/b");
  engine_.unsorted = true;
  must_fail(Code::invalid);
}

TEST_F(LayerStreamTest, HasALayerWithoutChanges) {
  const BackupReport report = must();
  EXPECT_EQ(paths(report.snapshot), Paths{});
  EXPECT_EQ(engine_.requests, Paths{"/."});
}

}  // namespace
}  // namespace bygone::ingest
