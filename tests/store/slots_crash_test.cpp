// SPDX-License-Identifier: Apache-2.0
//
// Changes of key slots, attacked: a fault, a death and a power cut at every call, and each sync
// left out in turn. Whoever could open the repository before can until the change is done, and who
// can afterwards does from then on; never is there nobody, and the snapshots stay what they are.
#include <cerrno>
#include <filesystem>

#include <gtest/gtest.h>

#include "store/slots.h"
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
using test::FaultyFiles;
using test::MemoryTree;
using test::PowerCutFiles;
using test::value_of;

class SlotsCrash : public testing::Test {
 protected:
  static constexpr const char* kOwn = "the key file of the tests";
  static constexpr const char* kOther = "of another slot";
  static constexpr const char* kComing = "of a slot to come";

  // Where a change is made, and through what; from `begin` on calls may fail.
  struct Place {
    std::string path;
    Files& files;
    std::string index;
    std::function<void()> begin;
  };
  using Work = Result<void> (SlotsCrash::*)(const Place& at);

  // A change, and who opens the repository: always; from the moment on that it is done; until then
  // at the most. Of `either` one does always.
  struct Change {
    std::string name;
    std::function<void(const std::string& path)> prepare;  // what stands before
    Work work;
    std::vector<const char*> always, after, never_after, either;
  };

  SlotsCrash() {
    const std::string path = folder_ / "origin";
    value_of(Repository::create(path, test::key_file(kOwn)));
    auto repository = test::reopen(path, folder_ / "index");
    value_of(test::back_up(*repository, tree_));
    value_of(add_slot(*repository, test::key_file(kOther), "second"));
    slot_ = repository->slot();
    paper_ = value_of(export_slot(*repository, slot_));
    repository.reset();
    other_slot_ = test::value_of(Repository::open(path, test::key_file(kOther),
                                                  {.index_dir = folder_ / "index"}))
                      ->slot();
    // Who looks meanwhile has an index of his own: a process opens one once.
    filesystem::copy(folder_ / "index", folder_ / "index-of-looks");
    // Copied for each attack: nothing here looks at them.
    filesystem::remove(path + "/reserve");
    for (const auto& bucket : filesystem::directory_iterator(path + "/packs")) {
      if (filesystem::is_empty(bucket.path())) filesystem::remove(bucket.path());
    }
  }

  Result<std::unique_ptr<Repository>> open(const Place& at, const char* secret) {
    return Repository::open(at.path, test::key_file(secret),
                            {.index_dir = folder_ / at.index, .files = &at.files});
  }
  static Place quiet(const std::string& path) {
    return {.path = path, .files = system_files(), .index = "index-of-looks", .begin = [] {}};
  }

  Result<void> add(const Place& at) {
    const auto repository = TRY(open(at, kOwn));
    at.begin();
    TRY(add_slot(*repository, test::key_file(kComing), "coming"));
    return {};
  }
  Result<void> remove(const Place& at) {
    const auto repository = TRY(open(at, kOwn));
    at.begin();
    auto removed = remove_slot(*repository, other_slot_);
    if (removed || removed.error().code != Code::not_found) return removed;
    return filesystem::exists(at.path + "/keys/" + other_slot_) ? removed : Result<void>();
  }
  // As bygone key passwd does.
  Result<void> replace(const Place& at) {
    auto repository = open(at, kOwn);
    if (!repository && repository.error().code == Code::denied) {
      TRY(open(at, kComing));
      return {};
    }
    if (!repository) return std::move(repository).error();
    at.begin();
    TRY(add_slot(**repository, test::key_file(kComing), "coming"));
    const std::string before = (*repository)->slot();
    repository->reset();
    return remove_slot(*TRY(open(at, kComing)), before);
  }
  Result<void> rotate(const Place& at) {
    const auto repository = TRY(open(at, kOwn));
    at.begin();
    std::vector<Secret> secrets;
    secrets.push_back(test::key_file(kOwn));
    TRY(rotate_keys(*repository, secrets, Others::drop));
    return {};
  }
  Result<void> import(const Place& at) {
    at.begin();
    TRY(import_slot(at.path, test::key_file(kOwn), paper_, at.files));
    return {};
  }

  std::vector<Change> changes() {
    const auto as_it_is = [](const std::string&) {};
    const auto lose = [this](const std::string& path) {
      filesystem::remove(path + "/keys/" + slot_);
    };
    const auto damage = [this](const std::string& path) {
      test::flip_bit(path + "/keys/" + slot_, 80);
    };
    const auto lose_all = [](const std::string& path) {
      filesystem::remove_all(path + "/keys");
      filesystem::create_directory(path + "/keys");
    };
    return {{.name = "add",
             .prepare = as_it_is,
             .work = &SlotsCrash::add,
             .always = {kOwn, kOther},
             .after = {kComing}},
            {.name = "remove",
             .prepare = as_it_is,
             .work = &SlotsCrash::remove,
             .always = {kOwn},
             .never_after = {kOther}},
            {.name = "passwd",
             .prepare = as_it_is,
             .work = &SlotsCrash::replace,
             .always = {kOther},
             .after = {kComing},
             .never_after = {kOwn},
             .either = {kOwn, kComing}},
            {.name = "rotate",
             .prepare = as_it_is,
             .work = &SlotsCrash::rotate,
             .always = {kOwn},
             .never_after = {kOther}},
            {.name = "import of one that was lost",
             .prepare = lose,
             .work = &SlotsCrash::import,
             .always = {kOther},
             .after = {kOwn}},
            {.name = "import over a damaged one",
             .prepare = damage,
             .work = &SlotsCrash::import,
             .always = {kOther},
             .after = {kOwn}},
            {.name = "import where none is left",
             .prepare = lose_all,
             .work = &SlotsCrash::import,
             .after = {kOwn}}};
  }

  void prepare(const std::string& root, const Change& change) {
    filesystem::remove_all(root);
    filesystem::create_directory(root);
    filesystem::copy(folder_ / "origin", root + "/repo", filesystem::copy_options::recursive);
    change.prepare(root + "/repo");
  }

  // What is wrong when it is opened so; empty when nothing is.
  std::string fault_with(const std::string& path, const char* secret) {
    const auto repository = open(quiet(path), secret);
    if (!repository) return std::string(secret) + ": " + repository.error().message;
    const auto snapshots = (*repository)->snapshots();
    if (!snapshots) return snapshots.error().message;
    if (snapshots->size() != 1) return "a snapshot is gone";
    const auto tree = test::read_back(**repository, snapshots->front());
    if (!tree) return tree.error().message;
    return *tree == tree_ ? "" : "another tree than backed up";
  }

  // What is wrong after the change, or a part of it; empty when nothing is.
  std::string fault_of(const std::string& path, const Change& change, bool is_done) {
    for (const bool again : {false, true}) {
      if (again) {
        const auto work = (this->*change.work)(quiet(path));
        if (!work) return "again: " + work.error().message;
      }
      for (const char* secret : change.always) {
        if (const auto fault = fault_with(path, secret); !fault.empty()) return fault;
      }
      std::string fault;
      for (const char* secret : change.either) {
        fault = fault_with(path, secret);
        if (fault.empty()) break;
      }
      if (!fault.empty()) return "neither opens it: " + fault;
      if (!is_done && !again) continue;
      for (const char* secret : change.after) {
        if (const auto late = fault_with(path, secret); !late.empty()) return "done: " + late;
      }
      for (const char* secret : change.never_after) {
        if (open(quiet(path), secret)) return std::string("done, and still opens: ") + secret;
      }
    }
    return "";
  }

  test::TempFolder folder_;
  const MemoryTree tree_ = {{"a", test::noise(3000, 1)}, {"b/c", test::prose(9000, 2)}};
  std::string slot_, other_slot_, paper_;
};

TEST_F(SlotsCrash, LeavesTheOldOrTheNewAtAnyCall) {
  const std::string root = folder_ / "disk";
  const std::string after = folder_ / "after";
  for (const Change& change : changes()) {
    for (const auto then : {FaultyFiles::Then::recover, FaultyFiles::Then::stay_dead}) {
      for (std::size_t n = 1;; n += test::kCallStride) {
        SCOPED_TRACE(change.name + ", call " + std::to_string(n));
        prepare(root, change);
        PowerCutFiles disk(system_files(), root);
        FaultyFiles files(disk);
        const auto done = (this->*change.work)(
            {.path = root + "/repo", .files = files, .index = "index", .begin = [&] {
               files.fail_at(n, n % 2 == 0 ? EIO : ENOSPC, then);
             }});
        const std::string where = files.failed_call().second;
        for (const auto unsynced : PowerCutFiles::kCuts) {
          if (then == FaultyFiles::Then::recover) break;  // the power goes at each call as well
          disk.cut(after, unsynced);
          ASSERT_EQ(fault_of(after + "/repo", change, done.ok()), "") << where;
          filesystem::remove_all(after);
        }
        ASSERT_EQ(fault_of(root + "/repo", change, done.ok()), "") << where;
        if (files.fired()) continue;
        ASSERT_OK(done);
        EXPECT_GT(n, 10u);
        break;
      }
    }
  }
}

// Mutations of the code: with any one sync left out a power cut does harm, and this test sees it.
class SlotsSyncOrder : public SlotsCrash {
 protected:
  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "the order is the same in each build, and this one slow";
  }

  // What is wrong at any moment of a change, or after it; empty when nothing is.
  std::string fault_without(const Change& change, const test::LeftOutSync& left_out) {
    const std::string root = folder_ / "disk";
    const std::string after = folder_ / "after";
    prepare(root, change);
    PowerCutFiles disk(system_files(), root);
    disk.lie_about(left_out.lies());
    test::ChangingFiles files(disk);
    std::string fault;
    const auto look = [&](bool is_done) {
      for (const bool with_removals : {false, true}) {
        if (!fault.empty()) return;
        disk.cut(after, PowerCutFiles::Unsynced::nothing);
        if (with_removals) files.apply_removals(root, after);
        fault = fault_of(after + "/repo", change, is_done);
        filesystem::remove_all(after);
      }
    };
    files.look = [&] { look(false); };
    value_of((this->*change.work)(
        {.path = root + "/repo", .files = files, .index = "index", .begin = [] {}}));
    look(true);
    return fault;
  }
};

TEST_F(SlotsSyncOrder, IsSufficient) {
  for (const Change& change : changes()) {
    EXPECT_EQ(fault_without(change, test::LeftOutSync(0)), "") << change.name;
  }
}

TEST_F(SlotsSyncOrder, HasNoSyncTooMany) {
  for (const Change& change : changes()) {
    std::size_t syncs = 0;
    for (;; ++syncs) {
      const test::LeftOutSync left_out(syncs + 1);
      const std::string fault = fault_without(change, left_out);
      if (!left_out.is_told()) break;
      EXPECT_NE(fault, "") << change.name << " without sync " << syncs + 1 << ", "
                           << left_out.what();
    }
    EXPECT_GE(syncs, 1u) << change.name;
  }
}

}  // namespace
}  // namespace bygone::store
