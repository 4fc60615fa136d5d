// SPDX-License-Identifier: Apache-2.0
//
// Every sync of a repair left out in turn, with the power gone at every moment after: each does
// harm that is seen here. Whoever adds a sync adds its line.
#include <filesystem>

#include <gtest/gtest.h>

#include "store/chunk_store.h"
#include "store/damage_marks.h"
#include "store/notes.h"
#include "store/repair.h"
#include "store/snapshot_notes.h"
#include "tests/support/damage.h"
#include "tests/support/expect.h"
#include "tests/support/faulty_files.h"
#include "tests/support/memory_tree.h"
#include "tests/support/sync_order.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torture.h"

namespace bygone::store {
namespace {

namespace filesystem = std::filesystem;
using test::Call;
using test::LeftOutSync;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

class SyncOrderOfRepair : public testing::Test {
 protected:
  enum class Of { pack, record_with_copy, record };

  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "the order is the same in each build, and this one slow";
  }

  SyncOrderOfRepair() {
    filesystem::create_directory(origin_);
    const std::string path = origin_ + "/repo";
    value_of(Repository::create(path, test::key_file()));
    filesystem::remove(path + "/reserve");  // 8 MiB to copy each time
    const auto repository = test::reopen(path);
    snapshot_ = value_of(test::back_up(*repository, tree_)).id;
    for (const PackId& id : value_of(repository->chunks().list_packs())) {
      const auto reader = value_of(repository->chunks().pack(id));
      if (reader->kind() != ChunkKind::data) continue;
      pack_ = id;
      records_ = reader->records();
    }
  }

  // What is damaged: a record in a pack and the pack's end, or the record of the snapshot, of which
  // the index has a copy or none.
  void damage(const std::string& path, Of what) {
    if (what == Of::pack) {
      const std::string file = pack_path(path, pack_);
      test::flip_bit(file, static_cast<std::int64_t>(records_[1].offset) + 200);
      test::flip_bit(file, -3);
      return;
    }
    const std::string file = path + "/snapshots/" + snapshot_.hex();
    test::flip_bit(file, 100);
    damaged_ = test::read_whole(file);
    if (what == Of::record) filesystem::remove_all(path + "/index");
  }

  Result<void> repair(Repository& repository, Of what) {
    if (what != Of::pack) {
      TRY(repair_record(repository, RecordKind::snapshot, snapshot_.hex()));
      return {};
    }
    const std::atomic<bool> cancel{false};
    const auto report = TRY(repair_packs(repository, {}, {}, cancel));
    if (!report.damaged.empty()) copy_ = report.damaged.front().copy;
    return {};
  }

  std::string fault_of_pack(Repository& repository, bool is_done) {
    const std::atomic<bool> cancel{false};
    const auto report = repair_packs(repository, {}, {}, cancel);
    if (!report) return report.error().message;
    if (is_done && !report->damaged.empty()) return "it is as damaged as before";
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const bool there = repository.chunks().get(ChunkKind::data, records_[i].id).ok();
      if (there != (i != 1)) return "record " + std::to_string(i) + (there ? " is" : " is not");
    }
    const DamageMarks marks(value_of(read_notes(repository)));
    if (!marks.is_damaged(records_[1].id, pack_)) return "nothing tells what is lost";
    return filesystem::is_empty(repository.path() + "/damaged") ? "the old pack is gone" : "";
  }

  std::string fault_of_record(Repository& repository, Of what, bool is_done) {
    const std::string file = repository.path() + "/snapshots/" + snapshot_.hex();
    if (what == Of::record_with_copy && !filesystem::exists(file)) return "the record is gone";
    bool is_kept = filesystem::exists(file) && test::read_whole(file) == damaged_;
    if (is_kept && is_done) return "it is as damaged as before";
    for (const auto& each : filesystem::directory_iterator(repository.path() + "/damaged")) {
      is_kept = is_kept || test::read_whole(each.path()) == damaged_;
    }
    if (!is_kept) return "the damaged bytes are gone";
    if (!is_done) {
      auto again = repair(repository, what);
      const bool was_done =
          !again && (again.error().code == Code::invalid || again.error().code == Code::not_found);
      if (!again && !was_done) return again.error().message;
    }
    const auto damaged = find_damaged(repository, RecordKind::snapshot);  // by the files
    if (!damaged) return damaged.error().message;
    if (!damaged->empty()) return damaged->front().fault;
    const auto snapshots = repository.snapshots();
    if (!snapshots) return snapshots.error().message;
    if (what == Of::record) {
      if (!snapshots->empty()) return "it should not be there";
      const bool explained = gone(value_of(read_notes(repository)), snapshot_).has_value();
      return explained ? "" : "that it is gone is not explained";
    }
    if (snapshots->size() != 1) return "the snapshot is gone";
    const auto tree = test::read_back(repository, snapshots->front());
    if (!tree) return tree.error().message;
    return *tree == tree_ ? "" : "another tree than backed up";
  }

  // What is wrong at any moment of a repair or after it; empty when nothing is.
  std::string fault_without(Of what, const LeftOutSync& left_out) {
    const std::string root = folder_ / "disk";
    const std::string after = folder_ / "after";
    filesystem::copy(origin_, root, filesystem::copy_options::recursive);
    damage(root + "/repo", what);
    std::string fault;
    {
      PowerCutFiles disk(system_files(), root);
      disk.lie_about(left_out.lies());
      test::ChangingFiles files(disk);
      const auto look = [&](bool is_done) {
        if (!fault.empty()) return;
        disk.cut(after, PowerCutFiles::Unsynced::nothing);
        // LMDB syncs what it commits.
        filesystem::remove_all(after + "/repo/index");
        filesystem::copy(root + "/repo/index", after + "/repo/index");
        {
          const auto repository = value_of(Repository::open(after + "/repo", test::key_file()));
          fault = what == Of::pack ? fault_of_pack(*repository, is_done)
                                   : fault_of_record(*repository, what, is_done);
        }
        filesystem::remove_all(after);
      };
      const auto repository =
          value_of(Repository::open(root + "/repo", test::key_file(), {.files = &files}));
      files.look = [&] { look(false); };
      value_of(repair(*repository, what));
      files.look = nullptr;
      look(true);
    }
    filesystem::remove_all(root);
    return fault;
  }

  // Names of objects are random, but for that of the pack that is damaged.
  std::string name_of(Call call, const std::string& path) {
    std::string name = path.substr(path.find("/repo") + 5);
    const std::string bucket = parent_folder(pack_path("", pack_));
    if (name.starts_with("/packs/")) name = name == bucket ? "/packs/OLD" : "/packs/NEW";
    if (name.starts_with("/tmp/pack-")) name = "/tmp/pack";
    if (name == "/tmp/" + snapshot_.hex()) name = "/tmp/SNAPSHOT";
    if (name == "/tmp/snapshot-" + snapshot_.hex()) name = "/tmp/snapshot-SNAPSHOT";
    if (name.size() > 32 && name.starts_with("/tmp/") && name.find("SNAP") == std::string::npos) {
      name = "/tmp/NOTE";
    }
    return LeftOutSync::whole_name(call, name);
  }

  void expect_harm(Of what, const std::vector<std::string>& syncs) {
    const auto named = [&](Call call, const std::string& path) { return name_of(call, path); };
    EXPECT_EQ(fault_without(what, LeftOutSync(0, named)), "");
    for (std::size_t n = 1; n <= syncs.size() + 1; ++n) {
      std::string fault, name;
      do {  // the copy is now and then in the bucket of the old one, whose sync then is for both
        const LeftOutSync left_out(n, named);
        copy_.reset();
        fault = fault_without(what, left_out);
        name = left_out.what();
      } while (copy_ && copy_->bytes[0] == pack_.bytes[0]);
      EXPECT_EQ(name, n <= syncs.size() ? syncs[n - 1] : "");
      EXPECT_EQ(fault.empty(), n > syncs.size()) << name << ": " << fault;
    }
  }

  test::TempFolder folder_;
  const std::string origin_ = folder_ / "origin";
  const MemoryTree tree_ = {
      {"a", test::noise(70'000, 1)}, {"b", test::noise(30'000, 2)}, {"c", test::noise(20'000, 3)}};
  SnapshotId snapshot_;
  PackId pack_;
  std::vector<Record> records_;
  std::optional<PackId> copy_;  // of the pack, that the last repair made
  Bytes damaged_;
};

TEST_F(SyncOrderOfRepair, HasNoSyncTooMany) {
  expect_harm(Of::pack, {"data of /tmp/pack", "folder /packs/NEW", "data of /tmp/NOTE",
                         "folder /notes", "folder /damaged", "folder /packs/OLD"});
  expect_harm(Of::record_with_copy, {"data of /tmp/snapshot-SNAPSHOT", "folder /damaged",
                                     "data of /tmp/SNAPSHOT", "folder /snapshots"});
  expect_harm(Of::record,
              {"data of /tmp/NOTE", "folder /notes", "folder /damaged", "folder /snapshots"});
}

}  // namespace
}  // namespace bygone::store
