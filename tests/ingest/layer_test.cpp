// SPDX-License-Identifier: Apache-2.0
//
// What overlayfs leaves in an upper folder is made by hand here; an overlay that the kernel writes
// is in tests/e2e/layer.sh.
#include "ingest/layer.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/ingest/backup_fixture.h"

namespace bygone::ingest {
namespace {

class LayerTest : public BackupTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "devices and trusted attributes need root";
    if (!set(source_dir(), "trusted.overlay.test", "y")) {
      GTEST_SKIP() << "this file system has no trusted attributes";
    }
    ::removexattr(source_dir().c_str(), "trusted.overlay.test");
  }

  static bool set(const stdfs::path& path, const char* name, std::string_view value) {
    return ::setxattr(path.c_str(), name, value.data(), value.size(), 0) == 0;
  }

  Source layer() {
    auto source = folder_source("db", source_dir());
    EXPECT_TRUE(source.ok());
    source->volumes[0].name = source->volumes[0].destination = kLayerName;
    source->volumes[0].kind = store::VolumeKind::layer;
    source->writers = writers_;
    return std::move(*source);
  }

  BackupReport must_back_up(BackupOptions options = {}) {
    auto report = run(layer(), std::move(options));
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? std::move(*report) : BackupReport{};
  }

  std::string deleted(const store::Snapshot& snapshot) {
    if (!snapshot.extra) return "";
    const auto entry = repository_->trees().lookup(*snapshot.extra, "layer-deleted");
    EXPECT_TRUE(entry.ok());
    return entry.ok() && *entry ? content(**entry) : "";
  }
};

TEST_F(LayerTest, ListsWhatWasDeletedAndKeepsItOutOfTheTree) {
  stdfs::create_directories(source_dir() / "etc");
  write_file(source_dir() / "etc/kept", "kept");
  ASSERT_EQ(::mknod((source_dir() / "etc/gone").c_str(), S_IFCHR, makedev(0, 0)), 0);
  ASSERT_EQ(::mknod((source_dir() / "null").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  stdfs::create_directories(source_dir() / "anew");
  ASSERT_TRUE(set(source_dir() / "anew", "trusted.overlay.opaque", "y"));
  const store::Snapshot snapshot = must_back_up().snapshot;
  EXPECT_EQ(deleted(snapshot), "/anew/\n/etc/gone\n");
  EXPECT_FALSE(find(snapshot, "etc/gone").has_value());
  EXPECT_TRUE(find(snapshot, "null").has_value());  // a device that the container made
  EXPECT_EQ(content(snapshot, "etc/kept"), "kept");
  EXPECT_EQ(snapshot.volumes[0].kind, store::VolumeKind::layer);
}

TEST_F(LayerTest, SaysTheSameInASecondSnapshotAndUnderAFreeze) {
  stdfs::create_directories(source_dir() / "etc");
  write_file(source_dir() / "etc/kept", "kept");
  ASSERT_EQ(::mknod((source_dir() / "etc/gone").c_str(), S_IFCHR, makedev(0, 0)), 0);
  const std::string before = deleted(must_back_up().snapshot);
  EXPECT_EQ(before, "/etc/gone\n");
  EXPECT_EQ(deleted(must_back_up().snapshot), before);
  add_writer();
  before_freeze([&] { ::mknod((source_dir() / "late").c_str(), S_IFCHR, makedev(0, 0)); });
  const store::Snapshot frozen = must_back_up().snapshot;
  EXPECT_EQ(frozen.consistency, store::Consistency::freeze);
  EXPECT_EQ(deleted(frozen), "/etc/gone\n/late\n");
}

TEST_F(LayerTest, LeavesOutOverlaysOwnAttributes) {
  write_file(source_dir() / "file", "content");
  ASSERT_TRUE(set(source_dir() / "file", "trusted.overlay.origin", "x"));
  ASSERT_TRUE(set(source_dir() / "file", "trusted.mine", "x"));
  const auto entry = find(must_back_up().snapshot, "file");
  ASSERT_TRUE(entry.has_value());
  ASSERT_EQ(entry->xattrs.size(), 1U);
  EXPECT_EQ(entry->xattrs[0].name, "trusted.mine");
}

TEST_F(LayerTest, NeverTakesHolesForAContentThatIsInTheImage) {
  write_file(source_dir() / "file", std::string(100, '\0'));
  ASSERT_TRUE(set(source_dir() / "file", "trusted.overlay.metacopy", ""));
  const BackupReport report = must_back_up();
  ASSERT_EQ(report.unreadable.size(), 1U);
  EXPECT_NE(report.unreadable[0].reason.find("in the image"), std::string::npos);
}

TEST_F(LayerTest, LeavesAVolumeThatIsAnOverlayAsItIs) {
  ASSERT_EQ(::mknod((source_dir() / "gone").c_str(), S_IFCHR, makedev(0, 0)), 0);
  write_file(source_dir() / "file", "content");
  ASSERT_TRUE(set(source_dir() / "file", "trusted.overlay.origin", "x"));
  const store::Snapshot snapshot = must_run().snapshot;
  EXPECT_TRUE(find(snapshot, "gone").has_value());
  const auto entry = find(snapshot, "file");
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->xattrs.size(), 1U);
  EXPECT_EQ(deleted(snapshot), "");
}

}  // namespace
}  // namespace bygone::ingest
